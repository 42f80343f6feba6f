/// A bug for the simulator to find: one rule of the fleet, broken.
enum Mutant: String, CaseIterable, Sendable {
    // Claim
    case tokenNotRaised
    case claimIgnoresLiveLease
    case finishedRunsAgain
    case conflictRuns
    case calledOffRuns
    case retryBeforeItsTime
    // Lease
    case renewAfterEnd
    case epochNotRaised
    // Rescue
    case rescueIgnoresGrace
    case rescueForgotten
    /// What a dispatcher saw missing in an earlier term of its own counts in the next.
    case graceOutlivesTerm
    case orphansForgotten
    case unrepeatableRerun
    case crashLimitIgnored
    /// A job that has taken workers down is run beside others.
    case suspectRunsInCompany
    // Leadership
    case termNotChecked
    case termNotRaised
    /// A leader whose term is over holds on to its lock.
    case deposedLeaderGoesOn
    // Retry
    case retryChargesLostWorker
    case throttleSpendsAttempt
    case handBackSpendsAttempt
    /// A failure is retried however many there were.
    case attemptsWithoutEnd
    case retryForgotten
    // Settle
    case completeIgnoresToken
    case ackBeforeCommit
    case ackBeforePublish
    case fencedOutcomePublished
    /// Each publishing of a result has an id of its own.
    case resultIdFromDelivery
    case downstreamKeyFromToken
    /// A waiting job that is called off is not put on the agenda.
    case cancelOwesNoAnswer
    // Park and stage
    case parkForgotten
    case waiterForgotten
    /// A repeat that claims the job is not noted as one who waits.
    case repeatsForgottenByClaim
    /// A parked delivery that nobody waits for is struck out when the job ends, before its result is published.
    case recheckForgottenAtEnd
    /// A running job takes the redelivery of any of its repeats for its own.
    case adoptsAnyRepeat
    case strikeOutBeforePublish
    /// What has become due anew meanwhile is struck out with the old.
    case strikeOutIgnoresTime
    // Locks
    case lockTokenNotRaised
    case lockTakenFromTheLiving
    case lockCheckIgnoresToken
}

extension Mutant {
    /// The rules that the fleet's own code breaks. The simulation runs with them kept; `ConformanceTests` reckons with those
    /// of the database.
    static let ofTheFleet: Set<Mutant> = []

    static let ofTheDatabase = ofTheFleet.filter(\.isOfTheLedger)

    /// Whether it breaks a rule of the database's; the others break one of a process's.
    var isOfTheLedger: Bool {
        switch self {
        case .rescueIgnoresGrace, .rescueForgotten, .graceOutlivesTerm, .suspectRunsInCompany, .deposedLeaderGoesOn,
            .attemptsWithoutEnd, .ackBeforeCommit, .ackBeforePublish, .fencedOutcomePublished, .resultIdFromDelivery,
            .downstreamKeyFromToken, .adoptsAnyRepeat, .strikeOutBeforePublish:
            false
        default: true
        }
    }
}
