/// The settings `browser.…`, as they were read. What their texts mean, the subsystem says.
public struct BrowserConfiguration: Sendable {
    public var executable: String?
    public var user: String
    public var sandbox: String
    public var instancesMax: Int
    public var tabsMax: Int
    public var tabsPerInstanceMax: Int
    public var warmTabs: Int
    public var leasesPerInstanceMax: Int
    public var instanceBytesMax: Int
    public var instanceAgeMax: Duration
    public var waitingMax: Int
    public var leaseWait: Duration
    public var extensions: [String]
    public var profileParent: String
    /// Addresses, ranges of them and host names.
    public var allow: [String]
    public var egressBytesMax: Int
    public var inlineBytesMax: Int
    public var fileBytesMax: Int
    public var downloadsMax: Int

    init(_ values: SettingValues) throws(ConfigurationError) {
        executable = values.text("browser.executable")
        user = values.text("browser.user") ?? ""
        sandbox = try values.choice("browser.sandbox")
        instancesMax = try values.number("browser.instances")
        tabsMax = try values.number("browser.tabs")
        tabsPerInstanceMax = try values.number("browser.tabs_per_instance")
        warmTabs = try values.number("browser.warm_tabs")
        leasesPerInstanceMax = try values.number("browser.leases_per_instance")
        instanceBytesMax = try values.number("browser.instance_bytes")
        instanceAgeMax = .seconds(try values.number("browser.instance_age_s"))
        waitingMax = try values.number("browser.waiting")
        leaseWait = .milliseconds(try values.number("browser.lease_wait_ms"))
        extensions = values.list("browser.extensions")
        profileParent = values.text("browser.profile_parent") ?? ""
        allow = values.list("browser.allow")
        egressBytesMax = try values.number("browser.egress_bytes")
        inlineBytesMax = try values.number("browser.inline_bytes")
        fileBytesMax = try values.number("browser.file_bytes")
        downloadsMax = try values.number("browser.downloads")
    }
}
