import FleetModel
import FleetObservability
import FleetStore

/// What a worker does with a claimed job until its outcome is on its way into the ledger.
extension Worker {
    func start(_ owned: [(Arrival, Ownership)], _ owner: WorkerEpoch) {
        if owned.isEmpty { return }
        counters.count { $0.claimed += owned.count }
        let now = ContinuousClock.now
        for (arrival, _) in owned {
            if let queued = arrival.queued { arrival.metrics.took(queued, .queued) }
            arrival.metrics.took(now - arrival.delivered, .claim)
        }
        running.start(
            owned.map { arrival, ownership in
                let trace = tracing?.claimed(arrival, ownership, at: now)
                let timeout = arrival.definition.timeout
                let isShort = ownership.remaining.map { $0 < timeout } ?? false
                return RunningJobs.Run(
                    arrival, ownership, begun: now, expiry: now + min(timeout, ownership.remaining ?? timeout),
                    expiryKind: isShort ? .deadline : .timeout, trace: trace
                ) {
                    let outcome = await self.execute(arrival, ownership, owner, trace)
                    self.settle(arrival.identity, ownership.token, outcome)
                    self.intake.release(arrival.identity.subsystem)
                }
            })
    }

    private func execute(
        _ arrival: Arrival, _ ownership: Ownership, _ owner: WorkerEpoch, _ trace: AttemptTrace?
    ) async -> Outcome {
        if ownership.attempt > ownership.attemptsMax {
            return .failed(
                JobFailure(
                    .permanent, code: "attempts-spent",
                    message:
                        "all \(ownership.attemptsMax) attempts were begun and none ended: its workers died or were stopped"
                ))
        }
        configuration.fault?.reach(.running, CollectionOfOne(arrival.job.key))
        let claimant = LockClaimant(job: arrival.identity, token: ownership.token, owner: owner)
        let context = JobContext(
            type: arrival.job.type, key: arrival.job.key, attempt: ownership.attempt, token: ownership.token,
            subject: arrival.job.subject, traceparent: trace?.running ?? arrival.job.traceparent,
            locks: AttemptLocks(keeper: locks, claimant: claimant), limits: limits,
            confirm: { [store] in try await store.confirm(claimant) },
            report: { [running] in running.note($0, of: arrival.identity, token: ownership.token) })
        do {
            let output = try await AttemptTrace.within(trace, context) { try await arrival.run(context) }
            guard output.utf8.count <= configuration.outputBytesMax else {
                return .failed(
                    JobFailure(
                        .permanent, code: "output.too-large",
                        message:
                            "the output has \(output.utf8.count) bytes, at most \(configuration.outputBytesMax) are stored (limits.output_bytes)"
                    ))
            }
            return .succeeded(output: output)
        } catch let snooze as JobSnooze {
            return .snoozed(snooze)
        } catch {
            return .failed(arrival.run.failure(of: error))
        }
    }

    /// Decides what an outcome means and sends it on its way.
    ///
    /// - Parameter outcome: nil when the handler was given up.
    func settle(_ identity: JobIdentity, _ token: Int64, _ outcome: Outcome?) {
        guard let (arrival, ownership, interruption, begun, trace) = running.beginSettling(identity, token: token)
        else { return }
        var outcome = outcome ?? .failed(arrival.run.failure(of: CancellationError()))
        // A handler that succeeded in spite of its interruption has succeeded.
        if case .failed(let failure) = outcome, let interruption {
            switch interruption {
            case .calledOff(let reason):
                outcome = .cancelled(JobFailure(.permanent, code: "cancelled", message: reason))
            // It may have had its effect: whatever broke it off, nobody may just run it again.
            case _ where failure.kind == .unsafe: break
            case .handBack: outcome = .handedBack
            case .timeout:
                outcome = .failed(
                    JobFailure(
                        .transient, code: "timeout",
                        message:
                            "the attempt took longer than \(arrival.definition.timeout) and was cancelled (\(failure.code))"
                    ))
            case .deadline:
                outcome = .failed(
                    JobFailure(.permanent, code: "deadline", message: "the job's time was over before it was done"))
            }
        }
        var random = SystemRandomNumberGenerator()
        var policy = arrival.definition.retry
        if let backoff = arrival.job.backoff { policy.backoff = backoff }
        let settlement = Settlement(
            outcome, attempt: ownership.attempt, attemptsMax: ownership.attemptsMax, age: ownership.age, policy: policy,
            using: &random)
        let ended = ContinuousClock.now
        arrival.metrics.took(ended - begun, .run)
        trace?.ran(settlement, at: ended)
        settler.endings.append(
            Ending(
                arrival: arrival, ownership: ownership, begun: begun, ended: ended, settlement: settlement, trace: trace
            ))
    }

    /// Ends what has run too long; the handler is told by cancellation, and given up when it does not listen.
    func sweep() async {
        while !Task.isCancelled {
            for (identity, token) in running.interruptExpired(now: .now, grace: Self.stubbornGrace) {
                logger.error(
                    "the handler of \(identity) ignores its cancellation; its job is settled, its slot stays taken",
                    metadata: .job(identity))
                settle(identity, token, nil)
            }
            // Woken by cancellation too, which ends the loop.
            try? await Task.sleep(for: Self.sweepInterval)
        }
    }
}
