import FleetModel

/// Gives the plan's jobs to the fleet. An answer that does not come is unknown, never failed: it gives the job again
/// under the same key until it has the fleet's word.
final class SimulatedProducer: Process {
    private(set) var open = 0

    override func start() {
        super.start()
        var origin = 0
        for (key, job) in world.plan.jobs.enumerated() {
            for publish in job.publishes {
                let number = origin
                origin += 1
                open += 1
                after(publish.at) { [self] in give(publish, key: key, origin: number) }
            }
            if let time = job.cancelAt { callOff(key, at: max(time, 0)) }
        }
    }

    private func give(_ publish: Publish, key: Int, origin: Int) {
        let content = JobContent(type: 0, payload: publish.payload)
        let replyTo = publish.wantsReply ? origin : nil
        world.note(.published, self, key, number: Int64(origin))
        let again = { [self] in
            patiently(failures: 3) { [self] in give(publish, key: key, origin: origin) }
        }
        if let delay = publish.delay {
            return world.database.ask(self, .other) {
                $0.schedule(key, content, replyTo: replyTo, delay: delay)
            } then: { [self] answer in
                guard let answer else { return again() }
                // A repeat is told that it is one, and whose result it is to wait for is its own affair.
                acknowledged(key, content, replyTo: answer == .scheduled ? replyTo : nil, origin, answer != .conflict)
            }
        }
        let delivery = JobDelivery(key: key, content: content, replyTo: replyTo, origin: origin)
        world.broker.publish([.job(delivery)], by: self) { [self] confirmed in
            if confirmed == [true] { acknowledged(key, content, replyTo: replyTo, origin, true) } else { again() }
        }
    }

    private func acknowledged(_ key: Int, _ content: JobContent, replyTo: Int?, _ origin: Int, _ isTaken: Bool) {
        open -= 1
        world.note(.acknowledged, self, key, number: Int64(origin))
        if isTaken { world.witness.acknowledged(key, content, replyTo: replyTo, origin: origin) }
    }

    private func callOff(_ key: Int, at time: Int64) {
        open += 1
        after(time) { [self] in
            world.database.ask(
                self, .cancel(key), { $0.cancel(key) },
                then: { [self] answer in
                    open -= 1
                    guard answer != nil else { return callOff(key, at: 300) }
                    world.note(.calledOff, self, key)
                })
        }
    }
}
