import FleetModel
import FleetStore

/// What must hold when the faults are over and nothing is left to be done.
extension Witness {
    /// Jobs that some producer was told are taken and that have no final state yet.
    func unfinished(_ ledger: LedgerModel) -> [Int] {
        accounts.indices.filter { !accounts[$0].acknowledged.isEmpty && ledger.jobs[$0]?.state.isFinal != true }
    }

    mutating func conclude(_ ledger: LedgerModel, at time: Int64) {
        now = time
        for key in unfinished(ledger) {
            violate(.finishes, key, "it is \(ledger.jobs[key].map { "\($0.state)" } ?? "not in the ledger")")
        }
        for key in accounts.indices {
            guard let row = ledger.jobs[key], row.state.isFinal else { continue }
            concludeEffects(key, row)
            if accounts[key].resultIDs.isEmpty { violate(.resultsArePublished, key, "there is none") }
            concludeRepeats(key, row)
        }
    }

    /// Each token with an effect but the last was lost, claimed anew by its own epoch, or postponed.
    private mutating func concludeEffects(_ key: Int, _ row: JobRow) {
        let account = accounts[key]
        let explained = account.lostTokens.union(account.passedTokens)
        let open = account.effects.filter { !explained.contains($0) }
        if open.count > 1 { violate(.effectsAreExplained, key, "nothing explains those of tokens \(open)") }
        if row.state == .succeeded, account.effects.isEmpty { violate(.successHasEffect, key, "it has had none") }
    }

    private mutating func concludeRepeats(_ key: Int, _ row: JobRow) {
        for repeated in accounts[key].acknowledged {
            if repeated.content != row.content {
                if !accounts[key].setAside.contains(repeated.origin) {
                    violate(.conflictIsSetAside, key, "publish \(repeated.origin) is not")
                }
            } else if let replyTo = repeated.replyTo, !accounts[key].replied.contains(replyTo) {
                violate(.repliesArePublished, key, "publish \(replyTo) has none")
            }
        }
    }

    /// A dead worker's epoch must have ended by now.
    mutating func rescued(_ owner: WorkerEpoch, _ name: String, _ ledger: LedgerModel, at time: Int64) {
        now = time
        let row = ledger.workers[Int(owner.worker) - 1]
        if row.epoch == owner.epoch, !row.isGone { violate(.rescueInTime, nil, "\(owner) of \(name) stands") }
    }
}
