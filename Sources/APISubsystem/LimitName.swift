import FleetModel

/// How the fleet's limits for calls are called.
enum LimitName {
    static let all = "api.all"

    /// For the calls to one host, whatever the port.
    static func host(_ host: String) -> String { named("api.host.", host) }

    /// Closed while some worker's circuit breaker for a service is open; nobody sets a limit of that name.
    static func breaker(_ service: String) -> String { named("api.breaker.", service) }

    /// A name too long to be a limit's keeps its end, which is the part that its owner cannot choose at will.
    private static func named(_ prefix: String, _ host: String) -> String {
        prefix + String(decoding: host.utf8.suffix(LimitBound.nameBytesMax - prefix.utf8.count), as: UTF8.self)
    }
}
