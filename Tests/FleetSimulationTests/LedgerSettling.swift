import FleetModel
import FleetStore

/// An attempt's end, as complete.sql takes it.
struct ModelCompletion: Sendable {
    var key: Int
    var token: Int64
    var settlement: Settlement
}

enum ModelCompletionAnswer: Sendable, Equatable {
    case settled(attempt: Int, waiters: Set<Int>)
    case fenced
}

/// A row of the agenda that is due, with the job's message as the ledger keeps it.
struct ModelDue: Sendable, Equatable {
    var key: Int
    var dueAt: Int64
    var reason: AgendaReason
    var content: JobContent
    var replyTo: Int?
}

enum ModelScheduling: Sendable, Equatable {
    case scheduled, duplicate, conflict
}

extension LedgerModel {
    // MARK: Completing

    /// complete.sql and waiters.sql, one transaction.
    mutating func complete(_ completions: [ModelCompletion]) -> [ModelCompletionAnswer] {
        var answers: [ModelCompletionAnswer] = []
        for completion in completions {
            guard let row = jobs[completion.key], owns(row, completion) else {
                answers.append(.fenced)
                continue
            }
            let settled = settled(row, completion.settlement)
            jobs[completion.key] = settled
            oweAgain(completion.key, settled)
            let isFinal = settled.state.isFinal
            if isFinal { forgetRecheck(completion.key) }
            answers.append(
                .settled(attempt: settled.attempt, waiters: isFinal ? waiters[completion.key] : []))
        }
        return answers
    }

    private func owns(_ row: JobRow, _ completion: ModelCompletion) -> Bool {
        row.state == .running && (row.token == completion.token || mutants.contains(.completeIgnoresToken))
    }

    private func settled(_ row: JobRow, _ settlement: Settlement) -> JobRow {
        var row = row
        row.state = settlement.state
        row.notBefore = delay(settlement).map { now + $0 }
        if !spendsAttempt(settlement) { row.attempt -= 1 }
        switch settlement {
        case .retry, .discard, .cancel, .doubt: row.noteError()
        case .succeed, .snooze, .handBack: break
        }
        return row
    }

    private func delay(_ settlement: Settlement) -> Int64? {
        switch settlement {
        case .retry(_, let delay, _), .snooze(let delay): delay.milliseconds
        case .succeed, .discard, .cancel, .doubt, .handBack: nil
        }
    }

    private func spendsAttempt(_ settlement: Settlement) -> Bool {
        switch settlement {
        case .retry(_, _, let spendsAttempt): spendsAttempt || mutants.contains(.throttleSpendsAttempt)
        case .snooze, .handBack: mutants.contains(.handBackSpendsAttempt)
        case .succeed, .discard, .cancel, .doubt: true
        }
    }

    /// A retry is on the agenda by the same commit.
    private mutating func oweAgain(_ key: Int, _ row: JobRow) {
        guard let time = row.notBefore, !mutants.contains(.retryForgotten) else { return }
        agenda[key] = AgendaRow(dueAt: time, reason: .retry)
    }

    /// A repeat that was parked stays owed, although nobody waits for it: its delivery may have been this attempt's own,
    /// and whoever owns the attempt may die before it has published the result.
    private mutating func forgetRecheck(_ key: Int) {
        if mutants.contains(.recheckForgottenAtEnd), agenda[key]?.reason == .recheck, waiters[key].isEmpty {
            agenda[key] = nil
        }
    }

    /// read-back.sql: what an earlier try has written under its token.
    func readBack(_ completion: ModelCompletion) -> JobRow? {
        guard let row = jobs[completion.key], row.token == completion.token, row.state != .running else { return nil }
        return row
    }

    /// answered.sql
    mutating func answered(_ key: Int, _ replyTo: Int) {
        waiters[key].remove(replyTo)
        if agenda[key]?.reason == .recheck { agenda[key] = nil }
    }

    // MARK: The agenda

    /// schedule.sql and compare.sql
    mutating func schedule(
        _ key: Int, _ content: JobContent, replyTo: Int?, delay: Int64, attemptsMax: Int = 0
    ) -> ModelScheduling {
        if let row = jobs[key] { return row.content == content ? .duplicate : .conflict }
        jobs[key] = JobRow(
            content: content, state: .scheduled, attemptsMax: attemptsMax, replyTo: replyTo, createdAt: now,
            notBefore: now + delay)
        agenda[key] = AgendaRow(dueAt: now + delay, reason: .scheduled)
        return .scheduled
    }

    /// due.sql
    func due() -> [ModelDue] {
        var due: [ModelDue] = []
        for key in agenda.indices {
            guard let row = agenda[key], row.dueAt <= now, let job = jobs[key] else { continue }
            due.append(
                ModelDue(key: key, dueAt: row.dueAt, reason: row.reason, content: job.content, replyTo: job.replyTo))
        }
        return due.sorted { ($0.dueAt, $0.key) < ($1.dueAt, $1.key) }
    }

    /// next-due.sql
    func nextDue() -> Int64? { agenda.compactMap { $0?.dueAt }.min().map { $0 - now } }

    /// staged.sql
    ///
    /// - Returns: how many rows were struck out.
    mutating func staged(_ deliveries: [ModelDue], term: Int64) -> Int {
        guard leads(term) else { return 0 }
        var count = 0
        for delivery in deliveries {
            if let row = jobs[delivery.key], row.state == .scheduled || row.state == .retrying,
                let time = row.notBefore, time <= now
            {
                jobs[delivery.key]?.state = .queued
                jobs[delivery.key]?.notBefore = nil
                if row.token == 0 { jobs[delivery.key]?.dueAt = row.dueAt ?? time }
            }
            guard let row = agenda[delivery.key], isStruckOut(row, by: delivery) else { continue }
            agenda[delivery.key] = nil
            count += 1
        }
        return count
    }

    /// A row whose time has changed meanwhile is owed anew and stays.
    private func isStruckOut(_ row: AgendaRow, by delivery: ModelDue) -> Bool {
        row.dueAt == delivery.dueAt || mutants.contains(.strikeOutIgnoresTime)
    }

    // MARK: Calling off

    /// gaia.cancel
    mutating func cancel(_ key: Int) -> CancelAnswer {
        if let row = jobs[key], row.state.isFinal { return .finished }
        cancellations.insert(key)
        guard let row = jobs[key] else { return .noted }
        if row.state == .running { return .requested }
        jobs[key]?.state = .cancelled
        jobs[key]?.token += 1
        jobs[key]?.notBefore = nil
        jobs[key]?.noteError()
        if !mutants.contains(.cancelOwesNoAnswer) { agenda[key] = AgendaRow(dueAt: now, reason: .answer) }
        return .cancelled
    }
}
