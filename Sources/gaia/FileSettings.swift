import FileSubsystem
import FleetConfiguration
import RootedFiles

extension FleetConfiguration {
    /// What the settings `file.…` say to the subsystem.
    ///
    /// - Throws: `ConfigurationError` for roots that are none.
    func fileSettings() throws -> FileSettings {
        var settings = FileSettings()
        do { settings.roots = try FileRoot.list(file.roots ?? "") } catch {
            throw ConfigurationError("file.roots (\(Setting.variable(of: "file.roots"))): \(error)")
        }
        settings.followsSymlinks = file.followsSymlinks
        settings.allowsHardLinks = file.allowsHardLinks
        settings.threads = file.threads
        settings.parseThreads = file.parseThreads
        settings.readBytesMax = file.readBytesMax
        settings.fileBytesMax = Int64(file.fileBytesMax)
        settings.documentBytesMax = Int64(file.documentBytesMax)
        settings.selectionBytesMax = file.selectionBytesMax
        settings.documentDepthMax = file.documentDepthMax
        settings.entriesMax = file.entriesMax
        settings.entriesExaminedMax = file.entriesExaminedMax
        settings.depthMax = file.depthMax
        settings.syncs = file.syncs
        return settings
    }
}
