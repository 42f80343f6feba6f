/// What a dispatcher does at a moment.
public struct DispatcherTasks: Codable, Sendable {
    public struct Duty: Codable, Sendable {
        /// Since its last good round, in seconds; nil before the first.
        public let age: Double?
        /// Of its last round, if that failed.
        public let error: String?

        enum CodingKeys: String, CodingKey {
            case error
            case age = "age_s"
        }
    }

    public struct Pool: Codable, Sendable {
        public let connected, busy, waiting: Int
    }

    public let leads: Bool
    /// The number of the present leader's term, if it leads.
    public let term: Int64?
    public let duties: [String: Duty]
    public let database: Pool
}

extension Dispatcher {
    /// What it does now.
    public var tasks: DispatcherTasks {
        let (term, duties) = leadership.now
        let pool = pool.status
        return DispatcherTasks(
            leads: term != nil, term: term,
            duties: duties.mapValues { duty in
                DispatcherTasks.Duty(age: duty.lastSuccess.map { (.now - $0) / .seconds(1) }, error: duty.error)
            }, database: .init(connected: pool.connected, busy: pool.busy, waiting: pool.waiting))
    }
}
