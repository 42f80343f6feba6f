/// What happened in a world, for comparing two runs and for telling a failure.
struct History: Sendable {
    enum Fact: String, Sendable, CaseIterable {
        case published = "producer publishes"
        case acknowledged = "the producer has its word"
        case delivered = "is delivered"
        case claimed = "claims it, token"
        case answered = "is told"
        case begun = "begins its handler, token"
        case effect = "has its effect, token"
        case settling = "has an outcome for token"
        case settled = "has it settled, token"
        case fenced = "is fenced, token"
        case result = "has its result published"
        case reply = "has a reply published, to publish"
        case setAside = "has a message set aside, of publish"
        case staged = "publishes it from the agenda"
        case struckOut = "strikes out what it published, rows"
        case calledOff = "is called off"
        case lock = "holds a lock, token"
        case guarded = "has a guarded write taken, token"
        case registered = "is registered as"
        case epoch = "begins epoch"
        case lost = "has lost its lease, epoch"
        case epochEnded = "ends the epoch of worker"
        case leads = "leads, term"
        case crashed = "crashes"
        case paused = "is paused"
        case continued = "goes on"
        case cut = "is cut off"
        case mended = "is connected again"
        case drained = "has drained"
        case fault = "fault number"
    }

    struct Line: Sendable {
        let time: Int64
        let actor: String
        let fact: Fact
        let key: Int
        let number: Int64
    }

    private(set) var lines: [Line] = []
    /// FNV-1a of all that was noted.
    private(set) var hash: UInt64 = 0xCBF2_9CE4_8422_2325

    mutating func note(_ line: Line) {
        lines.append(line)
        mix(UInt64(bitPattern: line.time))
        mix(UInt64(bitPattern: Int64(line.key)))
        mix(UInt64(bitPattern: line.number))
        for byte in line.actor.utf8 { mix(UInt64(byte)) }
        for byte in line.fact.rawValue.utf8 { mix(UInt64(byte)) }
    }

    private mutating func mix(_ value: UInt64) { hash = (hash ^ value) &* 0x100_0000_01B3 }

    /// The lines that bear on a job: its own, and those of the world.
    func timeline(of key: Int?) -> String {
        lines.filter { key == nil || $0.key == key || $0.key < 0 }.map { line in
            let time = String(line.time)
            let job = line.key < 0 ? "" : "job \(line.key): "
            let pad = String(repeating: " ", count: max(0, 7 - time.count))
            return "\(pad)\(time) ms  \(job)\(line.actor) \(line.fact.rawValue) \(line.number)"
        }.joined(separator: "\n")
    }
}
