import ArgumentParser
import FleetStore

/// `gaia lock list` and `gaia lock release`
struct LockCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lock", abstract: "Look at the fleet's locks, or take one away.",
        subcommands: [List.self, Release.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show the locks that are held, and how many wait for each.",
            discussion: """
                A lock whose holder is 'gone' is free: whoever asks next has it. UNTIL is when the holder's lease ends
                unless it is renewed; for a worker that is the lease of the whole worker.
                """)

        @OptionGroup var settings: SettingsOptions
        @Flag(name: .long, help: "Print JSON.")
        var json = false

        func run() async throws {
            try await report {
                let locks = try await settings.load().withStore("gaia lock list") { store in
                    try await store.requireLocks()
                    return try await store.locks()
                }
                if json { return Terminal.print(try Terminal.json(locks.map(LockView.init))) }
                if locks.isEmpty { return Terminal.print("no lock is held") }
                Terminal.print(
                    Terminal.table(
                        ["lock", "token", "holder", "worker", "since", "until", "waiters"],
                        locks.map { lock in
                            [
                                lock.name, "\(lock.token)", lock.holder.isEmpty ? "-" : lock.holder,
                                lock.worker ?? "-", lock.acquiredAt, lock.isLive ? lock.until ?? "-" : "gone",
                                "\(lock.waiters)",
                            ]
                        }))
                if locks.count == FleetStore.locksListedMax {
                    Terminal.error("gaia: only the first \(Terminal.grouped(locks.count)) locks are shown")
                }
            }
        }
    }

    struct Release: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take a lock away from its holder.",
            discussion: """
                The next in line has it at once. The former holder is not told: its token is stale from now on, so that
                its guarded writes are refused, but what it does without a guard goes on. Waits for a guarded write that
                is under way. Exit status 66 when the lock is not held, or not under the token given.
                """)

        @OptionGroup var settings: SettingsOptions
        @Argument(help: "The lock's name.")
        var name: String
        @Option(name: .long, help: "Only if it is held under this token, as 'gaia lock list' shows it.")
        var token: Int64?

        func run() async throws {
            try await report {
                let taken = try await settings.load().withStore("gaia lock release") { [name, token] store in
                    try await store.requireLocks()
                    if let taken = try await store.forceLock(name, token: token) { return taken }
                    guard let held = try await store.locks(named: name).first else {
                        throw CommandFailure(.notFound, "nobody holds the lock '\(name)'; gaia lock list shows all")
                    }
                    throw CommandFailure(
                        .notFound,
                        "the lock '\(name)' is not held under this token: \(held.holder) has token \(held.token)"
                    )
                }
                let worker = taken.worker.map { " on \($0)" } ?? ""
                Terminal.print(
                    "taken from \(taken.holder)\(worker): token \(taken.token), held since \(taken.acquiredAt)")
                if let heir = taken.heir, let token = taken.heirToken {
                    Terminal.print("now held by \(heir): token \(token)")
                } else {
                    Terminal.print("now free")
                }
            }
        }
    }
}

extension FleetStore {
    /// Says what to do where the schema has no locks yet.
    fileprivate func requireLocks() async throws {
        guard case .behind = try await schemaStatus() else { return }
        throw CommandFailure(.unavailable, "the database has no current schema; run: gaia migrate")
    }
}

/// A lock as it is printed.
private struct LockView: Encodable {
    let name: String
    let token: Int64
    let holder: String
    let worker: String?
    let acquiredAt: String
    let until: String?
    let live: Bool
    let waiters: Int

    enum CodingKeys: String, CodingKey {
        case name, token, holder, worker, until, live, waiters
        case acquiredAt = "acquired_at"
    }

    init(_ record: LockRecord) {
        (name, token, holder, worker) = (record.name, record.token, record.holder, record.worker)
        (acquiredAt, until, live, waiters) = (record.acquiredAt, record.until, record.isLive, record.waiters)
    }
}
