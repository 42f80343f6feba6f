import CoreMetrics
import FleetModel
import Synchronization

/// Ended spans until they are sent: never more than so many, whoever makes them how fast.
final class SpanQueue: Sendable {
    private let spans = Mutex<[EndedSpan]>([])
    private let bell = Bell()
    private let limit: Int
    private let batch: Int
    private let dropped: Counter

    /// - Parameters:
    ///   - limit: spans that are kept; what is beyond is dropped, and counted by `dropped`.
    ///   - batch: spans that are sent together.
    init(limit: Int, batch: Int, dropped: Counter) {
        self.limit = limit
        self.batch = batch
        self.dropped = dropped
    }

    func add(_ span: EndedSpan) {
        let count = spans.withLock { spans -> Int? in
            guard spans.count < limit else { return nil }
            spans.append(span)
            return spans.count
        }
        guard let count else { return dropped.increment() }
        if count == batch { bell.ring() }
    }

    /// Waits until a batch is full, or for so long.
    func wait(atMost pause: Duration) async { await bell.wait(atMost: pause) }

    /// What was taken and could not be sent yet.
    func putBack(_ batch: [EndedSpan]) { spans.withLock { $0.insert(contentsOf: batch, at: 0) } }

    /// The oldest, at most a batch.
    func take() -> [EndedSpan] {
        spans.withLock { spans in
            let taken = Array(spans.prefix(batch))
            spans.removeFirst(taken.count)
            return taken
        }
    }
}
