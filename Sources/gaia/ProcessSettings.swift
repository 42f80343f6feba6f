import FleetConfiguration
import ProcessSubsystem

extension FleetConfiguration {
    /// What the settings `process.…` say to the subsystem.
    var processSettings: ProcessSettings {
        var settings = ProcessSettings()
        settings.executables = process.executables
        settings.variables = Set(process.variables)
        settings.user = process.user == "root" || process.user.isEmpty ? nil : process.user
        settings.timeoutMax = process.timeoutMax
        settings.graceMax = process.graceMax
        settings.outputBytesMax = process.outputBytesMax
        settings.memoryBytesMax = process.memoryBytesMax
        settings.addressSpaceBytesMax = process.addressSpaceBytesMax
        settings.cpuSecondsMax = process.cpuSecondsMax
        settings.fileBytesMax = process.fileBytesMax
        settings.openFilesMax = process.openFilesMax
        settings.processesMax = process.processesMax
        settings.userProcessesMax = process.userProcessesMax
        settings.niceness = process.niceness
        return settings
    }
}
