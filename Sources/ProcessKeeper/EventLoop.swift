import CSpawn
import Glibc

/// The thread that serves all runs: their pipes, their lines, their clocks, and the keeper that they live below.
///
/// Nothing here blocks but the wait for the next event. A keeper is started with the first run, and again when one has
/// died: the runs below it end then, later ones go to the next.
final class EventLoop {
    private struct Keeper {
        let process: Int32
        let socket: Int32
    }

    /// What an event belongs to; the ticket of a run stands in front of it.
    private enum Source: UInt64 {
        case line, output, error
        /// Of no run: ticket 0.
        static let bell: UInt64 = 0
        static let keeper: UInt64 = 1
    }

    private let inbox: Inbox
    private let watch: Duration
    private let watched: Int32
    private let root: Int32
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)

    private var keeper: Keeper?
    private var runs: [UInt64: Run] = [:]
    /// Orders for which the keeper's socket has no room yet, in order.
    private var waiting: [Order] = []
    /// No run has to be looked at sooner.
    private var nextDeadline: ContinuousClock.Instant?
    private var isClosing = false
    private var closers: [CheckedContinuation<Void, Never>] = []

    /// How soon an order is tried again.
    private static let orderRetry: Duration = .milliseconds(1)
    /// How long the end waits for a keeper that was told to end.
    private static let keeperEndMilliseconds: Int32 = 10_000

    init(_ inbox: Inbox, watch: Duration) {
        self.inbox = inbox
        self.watch = watch
        watched = gaia_watch()
        root = open("/", gaia_open_path | O_DIRECTORY | O_CLOEXEC)
        precondition(watched >= 0 && root >= 0, "no descriptor is left for the thread that runs processes")
        add(inbox.bell.number, Source.bell)
    }

    deinit {
        close(watched)
        close(root)
        buffer.deallocate()
    }

    func run() {
        var tokens = [UInt64](repeating: 0, count: Int(GAIA_WATCH_TOKENS_MAX))
        while !(isClosing && runs.isEmpty) {
            let count = gaia_watch_wait(watched, &tokens, Int32(tokens.count), waitMilliseconds)
            for token in tokens.prefix(Int(count)) { handle(token) }
            for message in inbox.take() { handle(message) }
            placeWaiting()
            lookAtClocks()
        }
        loseKeeper()
        inbox.end()
        for closer in closers { closer.resume() }
    }

    // MARK: Messages

    private func handle(_ message: Message) {
        switch message {
        case .start(let ticket, let command, let promise):
            if isClosing {
                promise.fulfil(.failure(ProcessError(.closed, "the keeper of processes is closed")))
            } else {
                start(ticket, command, promise)
            }
        case .stop(let ticket, let cause): stop(ticket, cause, isPolite: true)
        case .pull(let ticket, let pipe, let continuation):
            guard let run = runs[ticket] else { return continuation.resume(returning: nil) }
            run.reader(pipe).pull(continuation, buffer)
            use(run.reader(pipe), ticket, pipe)
        case .discard(let ticket, let pipe):
            guard let run = runs[ticket] else { return }
            run.reader(pipe).discard(buffer)
            use(run.reader(pipe), ticket, pipe)
        case .identify(let continuation): continuation.resume(returning: keeper?.process)
        case .close(let continuation):
            isClosing = true
            if let continuation { closers.append(continuation) }
            for ticket in runs.keys { stop(ticket, .cancelled, isPolite: false) }
        }
    }

    private func start(_ ticket: UInt64, _ command: ProcessCommand, _ promise: Promise) {
        guard let order = Order(ticket, command, watch: watch) else {
            let reason = errorText(errno)
            return promise.fulfil(
                .failure(
                    ProcessError(
                        .exhausted, "no pipes could be made for it: \(reason); raise the limit of open files")))
        }
        let run = Run(command, order, promise)
        runs[ticket] = run
        add(run.line, token(ticket, .line))
        use(run.output, ticket, .output)
        use(run.error, ticket, .error)
        noteDeadline(run.stages.deadline)
        waiting.append(order)
    }

    private func stop(_ ticket: UInt64, _ cause: ProcessEnd.Cause, isPolite: Bool) {
        guard let action = runs[ticket]?.stages.stop(cause, isPolite: isPolite, at: .now) else { return }
        carryOut(ticket, action)
    }

    private func carryOut(_ ticket: UInt64, _ action: RunStages.Action) {
        guard let run = runs[ticket] else { return }
        run.carryOut(action)
        noteDeadline(run.stages.deadline)
        if action == .giveUp {
            finish(
                ticket,
                .failure(ProcessError(.unkillable, "it was killed \(RunStages.patience) ago and has not ended")))
        }
    }

    // MARK: Events

    private func handle(_ token: UInt64) {
        let ticket = token >> 2
        guard ticket > 0 else {
            if token == Source.keeper { readKeeper() }
            return
        }
        switch Source(rawValue: token & 3) {
        case .line: readLine(ticket)
        case .output: read(ticket, .output)
        case .error: read(ticket, .error)
        case nil: break
        }
    }

    private func read(_ ticket: UInt64, _ pipe: OutputPipe) {
        guard let reader = runs[ticket]?.reader(pipe), reader.isWanted else { return }
        reader.read(buffer)
        use(reader, ticket, pipe)
    }

    private func readLine(_ ticket: UInt64) {
        guard let run = runs[ticket], run.report == nil else { return }
        var report = gaia_job_report()
        switch gaia_line_report(run.line, &report) {
        case 1:
            run.report = report
            forget(run.line)
            // Nothing that could write is left.
            run.output.finish(buffer)
            run.error.finish(buffer)
            finishIfOver(ticket)
        case 0:
            finish(
                ticket,
                .failure(
                    ProcessError(.lost, "its supervisor ended without a report; somebody killed it, or the keeper")))
        default: break
        }
    }

    /// Has a pipe watched, or not, as its reader wants now. The end of a pipe is told unasked, so one whose next piece
    /// nobody waits for must not be among the watched.
    private func use(_ reader: OutputReader, _ ticket: UInt64, _ pipe: OutputPipe) {
        if reader.isOpen && reader.isWanted != reader.isWatched {
            reader.isWatched = reader.isWanted
            if reader.isWatched {
                add(reader.descriptor, token(ticket, pipe == .output ? .output : .error))
            } else {
                forget(reader.descriptor)
            }
        }
        finishIfOver(ticket)
    }

    private func finishIfOver(_ ticket: UInt64) {
        guard let run = runs[ticket], let report = run.report, !run.output.isOpen, !run.error.isOpen else { return }
        finish(ticket, run.result(report, .now))
    }

    private func finish(_ ticket: UInt64, _ result: Promise.Value) {
        guard let run = runs.removeValue(forKey: ticket) else { return }
        run.output.close()
        run.error.close()
        // To the supervisor the end of the line means: kill what is left.
        close(run.line)
        waiting.removeAll { $0.ticket == ticket }
        run.promise.fulfil(result)
    }

    // MARK: The keeper

    private func placeWaiting() {
        while let order = waiting.first {
            guard let keeper = keeper ?? startKeeper() else { return }
            switch order.place(keeper.socket, root: root) {
            case .sent: waiting.removeFirst()
            case .later: return
            case .keeperGone: loseKeeper()
            }
        }
    }

    /// Nil when there is none to be had; what waits for it has failed then.
    private func startKeeper() -> Keeper? {
        var socket: Int32 = -1
        var failure = gaia_spawn_failure()
        let process = gaia_keeper_start(&socket, &failure)
        guard process > 0 else {
            let error = ProcessError(
                .notStarted(.prepare, errno: failure.error),
                "the keeper of processes could not be started: \(errorText(failure.error)) (errno \(failure.error))")
            for order in waiting { finish(order.ticket, .failure(error)) }
            return nil
        }
        let keeper = Keeper(process: process, socket: socket)
        self.keeper = keeper
        add(socket, Source.keeper)
        return keeper
    }

    private func readKeeper() {
        // It never says anything: what is readable is its end.
        var byte: UInt8 = 0
        guard let keeper, recv(keeper.socket, &byte, 1, Int32(MSG_DONTWAIT)) >= 0 || errno != EAGAIN else {
            return
        }
        loseKeeper()
    }

    /// Its supervisors end by themselves, and their lines tell.
    private func loseKeeper() {
        guard let keeper else { return }
        self.keeper = nil
        close(keeper.socket)
        collect(keeper.process)
    }

    private func collect(_ process: Int32) {
        // It ends at once when its socket does, after having killed what is below it.
        let descriptor = gaia_pidfd_open(process)
        if descriptor >= 0 {
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            _ = poll(&entry, 1, Self.keeperEndMilliseconds)
            close(descriptor)
        }
        waitpid(process, nil, WNOHANG)
    }

    // MARK: Clocks

    private var waitMilliseconds: Int32 {
        if !waiting.isEmpty { return Int32(Self.orderRetry.wholeMilliseconds) }
        guard let nextDeadline else { return -1 }
        return Int32((nextDeadline - .now).wholeMilliseconds)
    }

    private func noteDeadline(_ deadline: ContinuousClock.Instant) {
        nextDeadline = min(nextDeadline ?? deadline, deadline)
    }

    private func lookAtClocks() {
        let now = ContinuousClock.now
        guard let deadline = nextDeadline, now >= deadline else { return }
        nextDeadline = nil
        for ticket in Array(runs.keys) {
            if let action = runs[ticket]?.stages.tick(now) { carryOut(ticket, action) }
            if let run = runs[ticket], run.report == nil { noteDeadline(run.stages.deadline) }
        }
    }

    // MARK: What is watched

    private func token(_ ticket: UInt64, _ source: Source) -> UInt64 { ticket << 2 | source.rawValue }

    private func add(_ descriptor: Int32, _ token: UInt64) { _ = gaia_watch_add(watched, descriptor, token) }

    private func forget(_ descriptor: Int32) { _ = gaia_watch_remove(watched, descriptor) }
}
