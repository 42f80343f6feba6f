import FoundationEssentials

extension FleetConfiguration {
    /// Reads the file that `GAIA_CONFIG` names, if it does, and the environment of this process.
    public static func load(
        _ environment: [String: String] = ProcessInfo.processInfo.environment
    ) throws(ConfigurationError) -> FleetConfiguration {
        guard let path = environment["GAIA_CONFIG"], !path.isEmpty else {
            return try FleetConfiguration(environment: environment)
        }
        guard let content = FileManager.default.contents(atPath: path) else {
            throw ConfigurationError("the settings file \(path) that GAIA_CONFIG names cannot be read")
        }
        return try FleetConfiguration(
            file: (name: path, text: String(decoding: content, as: UTF8.self)), environment: environment)
    }
}
