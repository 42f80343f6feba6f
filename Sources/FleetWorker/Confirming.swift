import FleetModel
import FleetStore

extension FleetStore {
    /// Asks whether an attempt still owns its job.
    ///
    /// - Throws: ``ClaimLost`` when it does not, or when the ledger cannot be asked.
    func confirm(_ claimant: LockClaimant) async throws {
        let isOurs: Bool
        do {
            isOurs = try await confirmClaim(claimant.job, token: claimant.token, by: claimant.owner)
        } catch {
            try Task.checkCancellation()
            throw ClaimLost("it is not known whether \(claimant.job) is still ours: \(error)")
        }
        if !isOurs {
            throw ClaimLost("\(claimant.job) is no longer this attempt's (token \(claimant.token)): another may run it")
        }
    }
}
