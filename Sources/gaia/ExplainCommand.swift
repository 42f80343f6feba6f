import AMQPClient
import ArgumentParser
import FleetBroker
import FleetConfiguration
import FleetModel
import FleetStore
import Foundation

extension JobCommand {
    /// `gaia job explain`
    struct Explain: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say why a job is where it is, and what happened to it so far.",
            discussion: """
                A job that nobody has claimed yet is only in its queue, where it cannot be looked for; with its subsystem
                (SUBSYSTEM/KEY or --subsystem) the queue's state is explained. Exit status 66 when there is no trace of it
                and no queue in which it could wait.
                """)

        @OptionGroup var settings: SettingsOptions
        @Argument(help: "The idempotency key, or SUBSYSTEM/KEY.")
        var key: String
        @Option(name: .long, help: "The subsystem, when the key is used in several or nowhere yet.")
        var subsystem: String?
        @Flag(name: .long, help: "Print JSON.")
        var json = false

        func run() async throws {
            try await report {
                let found = try await DeadDesk.use(settings.load(), "gaia job explain") { [key, subsystem] desk in
                    try await Explainer(desk: desk, key: key, subsystem: subsystem).explanations()
                }
                if found.isEmpty {
                    throw CommandFailure(
                        .notFound,
                        "there is no trace of '\(key)': it is not in the ledger, not set aside, and no queue holds messages"
                    )
                }
                Terminal.print(
                    json ? try Terminal.json(found) : found.map(\.text).joined(separator: "\n\n"))
            }
        }
    }
}

/// Why a job is where it is.
struct JobExplanation: Encodable {
    struct Moment: Encodable {
        let at: String
        let what: String
    }

    let job: String
    /// In a word, for scripts.
    let cause: String
    let sentence: String
    let timeline: [Moment]

    var text: String {
        ([job, "  " + sentence] + timeline.map { "    \($0.at)  \($0.what)" }).joined(separator: "\n")
    }
}

/// Looks at ledger, queues and what was set aside.
private struct Explainer {
    let desk: DeadDesk
    let key: String
    let subsystem: String?

    func explanations() async throws -> [JobExplanation] {
        let records = try await JobCommand.find(key, subsystem, desk.store)
        let setAside = try await setAside()
        if records.isEmpty {
            if !setAside.isEmpty { return setAside }
            return try await waitingUnclaimed()
        }
        var explanations: [JobExplanation] = []
        for record in records {
            guard let circumstances = try await desk.store.circumstances(of: record.identity) else { continue }
            let (cause, sentence) = try await verdict(record, circumstances)
            explanations.append(
                JobExplanation(
                    job: "\(record.identity)", cause: cause, sentence: sentence,
                    timeline: try timeline(record, circumstances)))
        }
        return explanations + setAside
    }

    // MARK: In the ledger

    private func verdict(
        _ record: JobRecord, _ job: JobCircumstances
    ) async throws -> (cause: String, sentence: String) {
        switch job.state {
        case .succeeded:
            return ("succeeded", "It succeeded\(by(job)) with attempt \(job.attempt).")
        case .discarded:
            return (
                "discarded",
                "It was given up after \(job.attempt) of \(job.attemptsMax) attempts: \(lastError(record)). "
                    + "To run it again: gaia dead replay \(record.identity)"
            )
        case .cancelled: return ("cancelled", "It was called off: \(lastError(record)).")
        case .indeterminate:
            return (
                "indeterminate",
                "Nobody knows whether it took effect, and it must not be repeated blindly: \(lastError(record)). "
                    + "Find out, then: gaia job resolve \(record.identity)"
            )
        case .running: return running(record, job)
        case .scheduled, .retrying, .queued: return try await waiting(record, job)
        }
    }

    private func by(_ job: JobCircumstances) -> String { job.owner.map { " on \($0.name)" } ?? "" }

    private func running(_ record: JobRecord, _ job: JobCircumstances) -> (cause: String, sentence: String) {
        guard let owner = job.owner, owner.isOwner else {
            let held = job.owed == "held" ? ", which waits while it rests" : ""
            return (
                "worker-lost",
                "Its worker \(job.owner?.name ?? "") was lost while it ran attempt \(job.attempt); whoever is delivered "
                    + "it next runs it again\(held)."
            )
        }
        if let called = job.calledOff {
            return (
                "called-off", "It runs on \(owner.name) and was told to stop at \(called.at): \(called.reason)."
            )
        }
        if !owner.isConnected {
            return (
                "worker-silent",
                "It runs on \(owner.name), whose process is not connected to the database: unless it comes back "
                    + "within moments, another runs the job."
            )
        }
        if let lock = job.awaitedLock {
            let holder = lock.holder.map { "held by \($0)\(lock.worker.map { " on \($0)" } ?? "")" } ?? "just freed"
            return ("waiting-for-lock", "It runs on \(owner.name) and waits for the lock '\(lock.name)', \(holder).")
        }
        var sentence = "It runs on \(owner.name), attempt \(job.attempt) of \(job.attemptsMax)"
        if let (fraction, note) = job.progress {
            sentence += ", \(Int((Double(fraction) ?? 0) * 100)) % done\(note.map { " (\($0))" } ?? "")"
        }
        if let locks = job.heldLocks { sentence += ", holding \(locks)" }
        if job.waiters > 0 { sentence += "; \(job.waiters) repeats wait for its result" }
        return ("running", sentence + ".")
    }

    private func waiting(
        _ record: JobRecord, _ job: JobCircumstances
    ) async throws -> (cause: String, sentence: String) {
        if let pause = job.pause {
            let reason = pause.reason.isEmpty ? "" : " (\(pause.reason))"
            let scope = pause.scope == Pauses.fleet ? "all" : pause.scope
            return (
                "paused",
                "\(PauseScope.text(pause.scope)) rests since \(pause.since)\(reason). To let it go on: gaia resume \(scope)"
            )
        }
        let leads = try await desk.store.leader()?.leads == true
        let orphan = leads ? "" : " No dispatcher leads, so nobody will publish it: start gaia dispatcher."
        if let wait = job.wait, wait > .zero, let time = job.notBefore, job.owed != "held" {
            let pause = Terminal.seconds(wait)
            if job.state == .scheduled, !record.errors.contains(#""kind""#) {
                return ("scheduled", "It is for later: in \(pause), at \(time).\(orphan)")
            }
            let isThrottled = lastKind(record) == "throttled"
            return (
                isThrottled ? "rate-limited" : "retrying",
                "It waits for its next attempt (\(job.attempt + 1) of \(job.attemptsMax)), in \(pause), at \(time), after "
                    + "\(isThrottled ? "it was rate limited" : "it failed"): \(lastError(record)).\(orphan)"
            )
        }
        if job.owed != nil, !leads { return ("no-leader", "It is due.\(orphan)") }
        let queue = try await queue(record.identity.subsystem, isUrgent: job.isUrgent)
        if job.owed != nil, queue.cause == "queued" {
            return ("due", "It is due, and the dispatcher publishes it with its next round.")
        }
        return queue
    }

    private func lastError(_ record: JobRecord) -> String {
        guard let error = errors(record).last else { return "nothing is known of it" }
        return "\(error["code"] ?? ""), \(error["message"] ?? "")"
    }

    private func lastKind(_ record: JobRecord) -> String? { errors(record).last?["kind"] }

    private func errors(_ record: JobRecord) -> [[String: String]] {
        // The ledger's own text; damaged, it is left out of an explanation and shown raw by `gaia job show`.
        guard case .list(let list)? = try? JSONDecoder().decode(JSONValue.self, from: Data(record.errors.utf8)) else {
            return []
        }
        return list.compactMap { error in
            guard case .object(let members) = error else { return nil }
            return members.compactMapValues { try? $0.plain }
        }
    }

    private func timeline(_ record: JobRecord, _ job: JobCircumstances) throws -> [JobExplanation.Moment] {
        var moments = [
            JobExplanation.Moment(
                at: record.createdAt, what: "created\(record.producer.map { " by \($0)" } ?? "")")
        ]
        for error in errors(record) {
            let kind = error["kind"] ?? ""
            let worker = error["worker"].map { $0.isEmpty ? "" : " on \($0)" } ?? ""
            let subject =
                ["replayed", "resolved", "cancelled"].contains(kind)
                ? kind : "attempt \(error["attempt"] ?? "")\(worker): \(kind)"
            moments.append(
                JobExplanation.Moment(
                    at: error["at"] ?? "", what: "\(subject) \(error["code"] ?? ""): \(error["message"] ?? "")"))
        }
        if let at = job.claimedAt { moments.append(JobExplanation.Moment(at: at, what: "claimed\(by(job))")) }
        if let (reason, at) = job.calledOff, !job.state.isFinal {
            moments.append(JobExplanation.Moment(at: at, what: "called off: \(reason)"))
        }
        if let at = job.finishedAt {
            moments.append(JobExplanation.Moment(at: at, what: job.state.rawValue))
        } else if let at = job.notBefore, job.owed != "held" {
            moments.append(JobExplanation.Moment(at: at, what: "may run"))
        }
        if let at = job.deadlineAt {
            moments.append(JobExplanation.Moment(at: at, what: job.isLate ? "its deadline was over" : "its deadline"))
        }
        return moments.sorted { $0.at < $1.at }
    }

    // MARK: Not in the ledger, or beside it

    private func setAside() async throws -> [JobExplanation] {
        try await desk.setAside(key, subsystem).map { message in
            let name = message.identity.map { "\($0)" } ?? message.key ?? key
            return JobExplanation(
                job: name, cause: message.reason,
                sentence: "A message with this key was set aside (\(message.reason)): \(message.explanation). "
                    + "See it: gaia dead show \(name)",
                timeline: [])
        }
    }

    private func waitingUnclaimed() async throws -> [JobExplanation] {
        var named = subsystem
        if named == nil, let slash = key.firstIndex(of: "/") { named = String(key[..<slash]) }
        var explanations: [JobExplanation] = []
        for subsystem in named.map({ [$0] }) ?? Catalogue.subsystems {
            for isUrgent in [true, false] {
                let waiting = try await desk.broker.queueStatus(Self.name(subsystem, isUrgent))?.messages ?? 0
                // Of a subsystem that was named the queue is explained in any case: workers may have taken all of it.
                guard waiting > 0 || named != nil && !isUrgent else { continue }
                let (cause, sentence) = try await queue(subsystem, isUrgent: isUrgent)
                explanations.append(
                    JobExplanation(
                        job: "\(subsystem)/?", cause: cause,
                        sentence: "Nobody has claimed '\(key)' yet. If it was published: \(sentence)", timeline: []))
            }
        }
        return explanations
    }

    private static func name(_ subsystem: String, _ isUrgent: Bool) -> String {
        isUrgent ? FleetBroker.urgentQueue(subsystem) : FleetBroker.jobsQueue(subsystem)
    }

    private func queue(_ subsystem: String, isUrgent: Bool) async throws -> (cause: String, sentence: String) {
        let name = Self.name(subsystem, isUrgent)
        guard let status = try await desk.broker.queueStatus(name) else {
            return ("no-queue", "there is no queue \(name); no worker has ever served \(subsystem): start one.")
        }
        let pauses = try await desk.store.pauses()
        if let pause = pauses.first(where: { $0.scope == Pauses.fleet || $0.scope == subsystem }) {
            return (
                "paused",
                "\(PauseScope.text(pause.scope)) rests since \(pause.since); \(status.messages) messages wait in \(name)."
            )
        }
        if status.consumers == 0 {
            return (
                "no-consumer",
                "it waits in \(name) with \(status.messages) messages, and no worker consumes from it: start gaia worker."
            )
        }
        if status.messages == 0 {
            return (
                "queued",
                "no message waits in \(name), so it is with one of its \(status.consumers) workers, which has no free slot."
            )
        }
        return ("queued", "it is in \(name) behind at most \(status.messages) messages, or with a worker that is full.")
    }
}
