import FoundationEssentials

extension FleetConfiguration {
    /// A secret that a file holds, as Docker and Kubernetes hand them out, without the blanks and line ends around it.
    ///
    /// It is read whenever it is needed and kept nowhere, so that no settings that are shown or logged can show it.
    ///
    /// - Parameter key: the setting that names the file, for errors.
    /// - Throws: an error that names setting and file, when it cannot be read, is no UTF-8, or holds nothing.
    public static func secret(_ key: String, in path: String) throws(ConfigurationError) -> String {
        let place = "\(key) (\(Setting.variable(of: key))): \(path)"
        guard let content = FileManager.default.contents(atPath: path) else {
            throw ConfigurationError("\(place) cannot be read; is it there, and may this user read it?")
        }
        guard let text = String(validating: content, as: UTF8.self) else {
            throw ConfigurationError("\(place) is not UTF-8")
        }
        let secret = text.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed()
        guard !secret.isEmpty else { throw ConfigurationError("\(place) holds nothing") }
        return String(secret)
    }
}
