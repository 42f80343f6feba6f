import AddressPolicy
import BrowserPool
import BrowserSubsystem
import FleetConfiguration

extension FleetConfiguration {
    /// What the settings `browser.…` say to the subsystem.
    ///
    /// - Throws: `ConfigurationError` for an allowed address that is none.
    func browserSettings() throws -> BrowserSettings {
        var settings = BrowserSettings()
        settings.pool.executable = browser.executable
        settings.pool.user = browser.user == "root" || browser.user.isEmpty ? nil : browser.user
        settings.pool.sandbox = browser.sandbox == "off" ? .off : .required
        settings.pool.instancesMax = browser.instancesMax
        settings.pool.tabsMax = browser.tabsMax
        settings.pool.tabsPerInstanceMax = browser.tabsPerInstanceMax
        settings.pool.warmTabs = browser.warmTabs
        settings.pool.leasesPerInstanceMax = browser.leasesPerInstanceMax
        settings.pool.instanceMemoryBytesMax = browser.instanceBytesMax
        settings.pool.instanceAgeMax = browser.instanceAgeMax
        settings.pool.waitingMax = browser.waitingMax
        settings.pool.extensions = browser.extensions
        settings.pool.profileParent = browser.profileParent
        settings.pool.egress.bytesMax = browser.egressBytesMax
        do {
            settings.pool.addresses = try AddressPolicy(allowing: browser.allow)
        } catch {
            throw ConfigurationError("browser.allow: \(error.description)")
        }
        settings.leaseWait = browser.leaseWait
        settings.inlineBytesMax = browser.inlineBytesMax
        settings.fileBytesMax = browser.fileBytesMax
        settings.downloadsMax = browser.downloadsMax
        return settings
    }

    /// Why this machine cannot serve browser jobs; nil when it can.
    ///
    /// - Throws: `ConfigurationError` for a setting that no machine can be served with.
    func browserLack() throws -> String? {
        guard let lack = BrowserPool.lack(try browserSettings().pool) else { return nil }
        if lack.reason == .badSetting { throw ConfigurationError(lack.message) }
        return lack.message
    }
}
