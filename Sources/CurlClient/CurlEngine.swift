internal import CCurl
internal import Glibc

/// The thread's work: owns every curl handle, and everything about transfers that is not decided before they come here.
///
/// A turn is: sleep, let libcurl do what has become ready, end what has ended, hand over what has come in for receivers, take
/// new letters, start what may start, and only then resume the tasks that wait for a result, so that none of them runs while
/// half a turn is done.
final class CurlEngine {
    /// Easy handles kept for reuse; each costs some 6 KiB.
    static let maxPooledHandles = 256
    /// Connections kept after use whatever the load was.
    static let minKeptConnections = 16
    /// libcurl's timer is set again while it is served; this many times in one turn, then the others get theirs.
    private static let maxTimersPerTurn = 4

    private let shared: Shared
    private let configuration: CurlConfiguration
    private let idleTimeout: Nanoseconds
    private let easySettings: Easy.Settings
    private let watcher: MultiWatcher
    private var multi: MultiHandle
    private let news = TurnNews()

    private var transfers: [UInt64: Transfer] = [:]
    private var admission: Admission
    private var deadlines = DeadlineHeap<Transfer>()
    private var pool: [Easy] = []
    private var load = RecentLoad()
    private var keptConnections = minKeptConnections
    private var idleSince: Nanoseconds?
    private var statistics = CurlStatistics()
    private var answers: [(Shared.Answer, Result<CurlResponse, CurlError>)] = []

    init(_ shared: Shared, _ configuration: CurlConfiguration) throws(CurlError) {
        try CurlLibrary.start()
        self.shared = shared
        self.configuration = configuration
        idleTimeout = configuration.idleConnectionTimeout.nanosecondsClamped
        easySettings = Easy.Settings(
            userAgent: configuration.userAgent, maxHeaderBytes: configuration.maxResponseHeaderBytes,
            guardian: configuration.resolveGuard,
            idleConnectionSeconds: max(1, Int(idleTimeout / 1_000_000_000)))
        watcher = try MultiWatcher()
        multi = try Self.makeMulti(watcher, configuration)
        admission = Admission(
            limits: .init(
                inFlight: min(configuration.maxInFlight, configuration.maxConnections),
                perHost: configuration.maxConnectionsPerHost))
        try watcher.poller.watch(shared.bellDescriptor, EPOLLIN.rawValue, isWatched: false)
        try multi.keep(connections: keptConnections)
    }

    private static func makeMulti(_ watcher: MultiWatcher, _ configuration: CurlConfiguration) throws(CurlError)
        -> MultiHandle
    {
        let multi = try MultiHandle(watcher: watcher)
        try multi.configure(
            maxConnections: configuration.maxConnections, maxConnectionsPerHost: configuration.maxConnectionsPerHost)
        return multi
    }

    /// Until the client is closed.
    func run() {
        while true {
            var isRung = false
            watcher.poller.wait(atMost: sleepTime()) { descriptor, mask in
                if descriptor == shared.bellDescriptor { isRung = true } else { multi.socketReady(descriptor, mask) }
            }
            serveTimer()
            collectFinished()
            handOver()
            if isRung, takeLetters() { break }
            expire()
            startWaiting()
            tidy()
            resumeTasks()
        }
        endAll(CurlError(.closed, "the client was closed during the request"))
        resumeTasks()
    }

    private func sleepTime() -> Nanoseconds? {
        if !news.received.isEmpty { return 0 }
        let wakes = [watcher.timerDue, deadlines.nearest, idleSince.map { $0 + idleTimeout }].compactMap { $0 }
        return wakes.min().map { max(0, $0 - monotonicNow()) }
    }

    private func serveTimer() {
        for _ in 0..<Self.maxTimersPerTurn {
            guard let due = watcher.timerDue, due <= monotonicNow() else { return }
            watcher.timerTaken()
            multi.timerDue()
        }
    }

    // MARK: Coming in

    /// True when the client is to be closed.
    private func takeLetters() -> Bool {
        let letters = shared.takeLetters()
        for ask in letters.asks {
            let transfer = Transfer(ask)
            transfers[transfer.id] = transfer
            deadlines.insert(transfer)
            admission.arrive(transfer.id, host: transfer.hop.url.origin, needsLookup: transfer.hop.needsLookup)
        }
        let now = monotonicNow()
        for id in letters.resumes { transfers[id]?.resumed(now) }
        for id in letters.cancels {
            guard let transfer = transfers[id] else { continue }
            end(
                transfer,
                .failure(
                    CurlError(
                        .cancelled, mayHaveBeenSent: transfer.mayHaveBeenSent,
                        "\(transfer.hop.url.origin): the task was cancelled")))
        }
        return letters.mustClose
    }

    private func startWaiting() {
        noteLookups()
        let now = monotonicNow()
        while let id = admission.startNext() {
            guard let transfer = transfers[id] else { preconditionFailure("who stands in line has a transfer") }
            do throws(CurlError) {
                try start(transfer, now)
            } catch {
                end(transfer, .failure(error))
            }
        }
        load.note(admission.inFlight)
    }

    private func start(_ transfer: Transfer, _ now: Nanoseconds) throws(CurlError) {
        let easy =
            if let pooled = pool.popLast() { pooled } else { try Easy(settings: easySettings, news: news) }
        do throws(CurlError) {
            let left = transfer.deadline - now
            try easy.configure(
                transfer.hop, of: transfer.request, transfer: transfer.id,
                connectTimeout: min(left, transfer.connectTimeout), isStreamed: transfer.answer.stream != nil)
            try multi.add(easy)
        } catch {
            recycle(easy)
            throw error
        }
        transfer.started(on: easy, now)
    }

    private func noteLookups() {
        for id in news.lookedUp { admission.lookedUp(id) }
        news.lookedUp.removeAll(keepingCapacity: true)
    }

    // MARK: Going out

    private func collectFinished() {
        noteLookups()
        while let (easy, code) = multi.nextFinished() {
            guard let transfer = transfers[easy.transfer] else { preconditionFailure("what runs has a transfer") }
            finished(transfer, easy, code)
        }
    }

    /// A hop is over: the end, or on to the next.
    private func finished(_ transfer: Transfer, _ easy: Easy, _ code: CURLcode) {
        if var error = easy.error(code) {
            error.mayHaveBeenSent = error.mayHaveBeenSent || transfer.mayHaveBeenSent
            return end(transfer, .failure(error))
        }
        do throws(CurlError) {
            if let next = try RedirectRules.next(
                after: transfer.hop, status: easy.sink.status, location: easy.sink.location)
            {
                leave(transfer)
                transfer.redirected(to: next)
                admission.arrive(transfer.id, host: next.url.origin, needsLookup: next.needsLookup)
            } else {
                end(transfer, .success(transfer.response(from: easy, now: monotonicNow())))
            }
        } catch {
            var error = error
            error.mayHaveBeenSent = true
            end(transfer, .failure(error))
        }
    }

    /// Gives receivers what has come in for them since the last turn, and holds up the senders of those who are behind.
    private func handOver() {
        let received = news.received
        news.received.removeAll(keepingCapacity: true)
        for id in received {
            // One that has ended has got all of it.
            guard let transfer = transfers[id], let stream = transfer.answer.stream, let easy = transfer.easy else {
                continue
            }
            do throws(CurlError) {
                if try transfer.handOver(easy, to: stream) {
                    transfer.pause()
                } else if easy.isHeldUp {
                    // What libcurl kept comes in at once, and is news of the next turn.
                    easy.goOn()
                }
            } catch {
                var error = error
                error.mayHaveBeenSent = true
                end(transfer, .failure(error))
            }
        }
    }

    private func expire() {
        let now = monotonicNow()
        while let transfer = deadlines.popDue(now) {
            guard let reason = transfer.expired(now) else {
                deadlines.insert(transfer)
                continue
            }
            end(
                transfer,
                .failure(
                    CurlError(
                        .timeout, mayHaveBeenSent: transfer.mayHaveBeenSent,
                        "\(transfer.hop.url.origin): \(reason)")))
        }
    }

    /// The only way out of `transfers`, so that each continuation is resumed once.
    private func end(_ transfer: Transfer, _ result: Result<CurlResponse, CurlError>) {
        guard transfers.removeValue(forKey: transfer.id) != nil else { preconditionFailure("a transfer ends once") }
        deadlines.remove(transfer)
        if let stream = transfer.answer.stream, let easy = transfer.easy {
            // What it says about pausing or ending comes too late to matter.
            do throws(CurlError) { _ = try transfer.handOver(easy, to: stream) } catch {}
        }
        leave(transfer)
        answers.append((transfer.answer, result))
    }

    /// Gives back the turn and the handle.
    private func leave(_ transfer: Transfer) {
        if let easy = transfer.stopped() {
            note(easy)
            multi.remove(easy)
            recycle(easy)
        }
        admission.leave(transfer.id)
    }

    private func note(_ easy: Easy) {
        let traffic = easy.traffic
        statistics.exchanges += 1
        statistics.connectionsOpened += traffic.opened
        statistics.bytesSent += traffic.sent
        statistics.bytesReceived += traffic.received
    }

    private func recycle(_ easy: Easy) {
        easy.clear()
        if pool.count < Self.maxPooledHandles { pool.append(easy) }
    }

    private func resumeTasks() {
        guard !answers.isEmpty else { return }
        shared.answered(answers.count, statistics)
        for (answer, result) in answers { answer.give(result) }
        answers.removeAll(keepingCapacity: answers.count <= 1024)
    }

    private func endAll(_ error: CurlError) {
        for transfer in Array(transfers.values) {
            var error = error
            error.mayHaveBeenSent = transfer.mayHaveBeenSent
            end(transfer, .failure(error))
        }
    }

    // MARK: Keeping small

    /// Follows the load with the number of connections kept, and lets go of all of them when nothing has run for long: libcurl
    /// itself looks at idle connections only when there is something to do.
    private func tidy() {
        if let failure = watcher.failure { endAll(failure) }
        let now = monotonicNow()
        let wanted = min(
            configuration.maxConnections, max(Self.minKeptConnections, load.peak(now, window: idleTimeout)))
        if wanted != keptConnections {
            keptConnections = wanted
            do throws(CurlError) { try multi.keep(connections: wanted) } catch {
                preconditionFailure("libcurl takes any number here")
            }
        }
        guard transfers.isEmpty else {
            idleSince = nil
            return
        }
        let since = idleSince ?? now
        idleSince = load.isUsed ? since : nil
        if watcher.failure != nil || (load.isUsed && now - since >= idleTimeout) { startOver() }
    }

    /// A fresh multi handle in place of this one, and no connections.
    private func startOver() {
        do throws(CurlError) {
            let fresh = try Self.makeMulti(watcher, configuration)
            multi = fresh
        } catch {
            // Out of memory for a few KiB: the old one still serves.
            return
        }
        watcher.clear()
        load = RecentLoad()
        keptConnections = 0
        idleSince = nil
        pool.removeAll()
    }
}

/// The most transfers at once of late, by two windows of time: the running one and the one before.
struct RecentLoad {
    private var current = 0
    private var previous = 0
    private var windowEnd: Nanoseconds?

    /// Whether there was any load at all since this was made.
    private(set) var isUsed = false

    mutating func note(_ inFlight: Int) {
        current = max(current, inFlight)
        if inFlight > 0 { isUsed = true }
    }

    mutating func peak(_ now: Nanoseconds, window: Nanoseconds) -> Int {
        let end = windowEnd ?? now + window
        windowEnd = end
        if now >= end {
            previous = current
            current = 0
            windowEnd = now + window
        }
        return max(current, previous)
    }
}
