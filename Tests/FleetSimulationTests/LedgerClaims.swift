import FleetModel
import FleetStore

/// One arrival, as claim.sql and classify.sql take it.
struct ClaimQuestion: Sendable {
    var key: Int
    var content: JobContent
    var attemptsMax: Int
    var isRepeatable = true
    var replyTo: Int?
}

enum ModelAnswer: Sendable, Equatable {
    case claimed(token: Int64, attempt: Int, attemptsMax: Int, crashes: Int, age: Int64)
    case ended(JobState, attempt: Int)
    case finished(JobState, attempt: Int)
    case parked
    case conflict
    case again
    case fenced

    var isSuspect: Bool {
        if case .claimed(_, _, _, let crashes, _) = self { crashes >= Ownership.crashesBeforeAlone } else { false }
    }
}

extension LedgerModel {
    /// claim.sql: an answer for what was claimed or ended by it, nil for what is still to be classified.
    mutating func claim(_ questions: [ClaimQuestion], by owner: WorkerEpoch) -> [ModelAnswer?] {
        guard isLive(owner) else { return questions.map { _ in nil } }
        var answers: [ModelAnswer?] = []
        for question in questions { answers.append(claim(question, by: owner)) }
        return answers
    }

    private mutating func claim(_ question: ClaimQuestion, by owner: WorkerEpoch) -> ModelAnswer? {
        let isCalledOff = cancellations.contains(question.key) && !mutants.contains(.calledOffRuns)
        var row: JobRow
        if let standing = jobs[question.key] {
            guard isSame(standing, question), isTakeable(standing, by: owner) else { return nil }
            row = reclaimed(standing, by: owner, question, isCalledOff)
            noteRepeat(question, of: standing)
        } else {
            row = JobRow(
                content: question.content, state: isCalledOff ? .cancelled : .running, attempt: isCalledOff ? 0 : 1,
                attemptsMax: question.attemptsMax, token: 1, owner: owner, replyTo: question.replyTo, createdAt: now,
                isRepeatable: question.isRepeatable)
            if isCalledOff { row.noteError() }
        }
        jobs[question.key] = row
        if row.state != .running { return .ended(row.state, attempt: row.attempt) }
        return .claimed(
            token: row.token, attempt: row.attempt, attemptsMax: row.attemptsMax, crashes: row.crashes,
            age: now - (row.dueAt ?? row.createdAt))
    }

    private func isSame(_ row: JobRow, _ question: ClaimQuestion) -> Bool {
        row.content == question.content || mutants.contains(.conflictRuns)
    }

    /// Which standing rows a claim may take.
    private func isTakeable(_ row: JobRow, by owner: WorkerEpoch) -> Bool {
        switch row.state {
        case .queued: true
        case .scheduled, .retrying: row.notBefore.map { $0 <= now } ?? false || mutants.contains(.retryBeforeItsTime)
        case .running: row.owner == owner || !ownerLives(row) || mutants.contains(.claimIgnoresLiveLease)
        case .succeeded: mutants.contains(.finishedRunsAgain)
        case .discarded, .cancelled, .indeterminate: false
        }
    }

    private func ownerLives(_ row: JobRow) -> Bool { row.owner.map(isLive) ?? false }

    /// The row that is taken once more, with what the claim before it left.
    private func reclaimed(
        _ old: JobRow, by owner: WorkerEpoch, _ question: ClaimQuestion, _ isCalledOff: Bool
    ) -> JobRow {
        let isLost = old.state == .running && old.owner != owner
        var row = old
        row.state = claimedState(old, isLost: isLost, isCalledOff)
        if old.attemptsMax == 0 { row.attemptsMax = question.attemptsMax }
        row.attempt += chargedAttempt(old, isCalledOff)
        row.token = nextToken(old)
        row.owner = owner
        if old.token == 0 { row.dueAt = old.dueAt ?? old.notBefore }
        row.notBefore = nil
        row.isRepeatable = question.isRepeatable
        row.isAlone = false
        row.crashes += isLost ? 1 : 0
        if row.state != .running || isLost { row.noteError() }
        return row
    }

    /// A repeat has claimed the job: if this attempt is postponed its delivery is acknowledged all the same, and the
    /// delivery that is owed to the first may be struck out when this attempt ends. So both are noted.
    private mutating func noteRepeat(_ question: ClaimQuestion, of row: JobRow) {
        guard question.replyTo != row.replyTo, !mutants.contains(.repeatsForgottenByClaim) else { return }
        for replyTo in [question.replyTo, row.replyTo] {
            if let replyTo { waiters[question.key].insert(replyTo) }
        }
    }

    /// gaia.claimed_state
    private func claimedState(_ old: JobRow, isLost: Bool, _ isCalledOff: Bool) -> JobState {
        if isCalledOff { return .cancelled }
        if !isLost { return .running }
        if !old.isRepeatable && !mutants.contains(.unrepeatableRerun) { return .indeterminate }
        if old.isAlone && !mutants.contains(.crashLimitIgnored) { return .discarded }
        return .running
    }

    /// A lost worker, and an answer that was lost, cost no attempt.
    private func chargedAttempt(_ old: JobRow, _ isCalledOff: Bool) -> Int {
        if mutants.contains(.retryChargesLostWorker) { return isCalledOff ? 0 : 1 }
        return old.state == .running || isCalledOff ? 0 : 1
    }

    private func nextToken(_ old: JobRow) -> Int64 { mutants.contains(.tokenNotRaised) ? old.token : old.token + 1 }

    /// classify.sql
    mutating func classify(_ questions: [ClaimQuestion], by owner: WorkerEpoch) -> [ModelAnswer] {
        let isMe = isLive(owner)
        var answers: [ModelAnswer] = []
        for question in questions { answers.append(classify(question, isMe: isMe)) }
        return answers
    }

    private mutating func classify(_ question: ClaimQuestion, isMe: Bool) -> ModelAnswer {
        guard let row = jobs[question.key] else { return isMe ? .again : .fenced }
        if !isSame(row, question) { return .conflict }
        if row.state.isFinal { return .finished(row.state, attempt: row.attempt) }
        if !isMe { return .fenced }
        if row.state == .scheduled || row.state == .retrying, let time = row.notBefore, time > now {
            wait(question)
            return .parked
        }
        guard row.state == .running, ownerLives(row) else { return .again }
        wait(question)
        park(question.key, on: row.owner)
        return .parked
    }

    private mutating func wait(_ question: ClaimQuestion) {
        guard let replyTo = question.replyTo, !mutants.contains(.waiterForgotten) else { return }
        waiters[question.key].insert(replyTo)
    }

    /// A delivery is owed in place of the one that is acknowledged.
    private mutating func park(_ key: Int, on owner: WorkerEpoch?) {
        if mutants.contains(.parkForgotten) { return }
        agenda[key] = AgendaRow(dueAt: now + recheckAfter, reason: .recheck, owner: owner)
    }

    /// run-alone.sql
    mutating func runAlone(_ key: Int, token: Int64) -> Bool {
        guard let row = jobs[key], row.token == token, row.state == .running else { return false }
        jobs[key]?.isAlone = true
        return true
    }

    /// called-off.sql
    func calledOff(_ owner: WorkerEpoch) -> [Int] {
        cancellations.sorted().filter { jobs[$0]?.state == .running && jobs[$0]?.owner == owner }
    }
}
