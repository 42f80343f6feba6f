/// Something that runs, can be stopped for a while, and can die and be started again with nothing in its memory.
class Process {
    unowned let world: World
    let name: String
    /// Rises with each death: what was under way for an earlier life does not happen.
    private(set) var life = 0
    private(set) var isUp = false
    private(set) var isPaused = false
    private var deferred: [EventQueue.Event] = []

    init(_ world: World, name: String) {
        self.world = world
        self.name = name
    }

    /// Begins with an empty memory.
    func start() { isUp = true }

    /// Everything in memory is gone.
    func forget() {}

    /// The server, or the network, has ended a session of this process.
    func sessionLost(_ session: Int) {}

    /// Dies without a word, as by SIGKILL.
    ///
    /// - Parameter pause: until it is started again.
    final func crash(restartAfter pause: Int64) {
        guard isUp else { return }
        world.note(.crashed, self)
        end(restartAfter: pause)
    }

    /// Ends; what it held of servers falls free.
    final func end(restartAfter pause: Int64) {
        isUp = false
        isPaused = false
        life += 1
        deferred = []
        forget()
        world.database.forget(self)
        world.broker.forget(self)
        world.after(max(pause, 50), nil) { [self] in
            if !isUp { start() }
        }
    }

    /// Stops as by SIGSTOP: the machine keeps its connections, nothing else happens.
    final func pause(for length: Int64) {
        guard isUp, !isPaused else { return }
        isPaused = true
        world.note(.paused, self)
        let life = life
        world.after(length, nil) { [self] in
            if self.life == life { resume() }
        }
    }

    private func resume() {
        isPaused = false
        world.note(.continued, self)
        for event in deferred { world.reinsert(event) }
        deferred = []
    }

    /// The world is over: what waits in memory holds on to the process.
    final func discard() {
        deferred = []
        forget()
    }

    func postpone(_ event: EventQueue.Event) { deferred.append(event) }

    /// Does something after a while, unless this life ends before.
    final func after(_ delay: Int64, _ action: @escaping () -> Void) { world.after(delay, self, action) }

    /// Does something until it succeeds, with a growing jittered pause between tries, as `Patience` does.
    final func patiently(failures: Int = 0, initial: Int64 = 50, cap: Int64 = 500, _ attempt: @escaping () -> Void) {
        let ceiling = min(initial << Int64(min(max(failures - 1, 0), 6)), cap)
        after(world.draw(max(ceiling / 2, 1)...max(ceiling, 1)), attempt)
    }
}
