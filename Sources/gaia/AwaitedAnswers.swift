import AMQPClient
import Synchronization

/// Answers that somebody waits for, by correlation id. One that nobody expects is dropped, so it holds no more than was
/// asked for.
final class AwaitedAnswers: Sendable {
    private enum Place {
        case expected
        case arrived(AMQPDelivery)
        case awaited(CheckedContinuation<AMQPDelivery?, Never>)
    }

    private let places = Mutex<[String: Place]>([:])

    /// Must be said before the question is sent, or the answer may come first.
    func expect(_ id: String) {
        places.withLock { if $0[id] == nil { $0[id] = .expected } }
    }

    func arrived(_ delivery: AMQPDelivery) {
        guard let id = delivery.properties.correlationID else { return }
        let waiter = places.withLock { places -> CheckedContinuation<AMQPDelivery?, Never>? in
            switch places[id] {
            case nil, .arrived: return nil
            case .expected:
                places[id] = .arrived(delivery)
                return nil
            case .awaited(let waiter):
                places[id] = nil
                return waiter
            }
        }
        waiter?.resume(returning: delivery)
    }

    /// The answer to something that was expected; nil when it does not come in time.
    func answer(_ id: String, within limit: Duration) async -> AMQPDelivery? {
        var alarm: Task<Void, Never>?
        defer { alarm?.cancel() }
        return await withCheckedContinuation { continuation in
            let arrived = places.withLock { places -> AMQPDelivery? in
                if case .arrived(let delivery) = places[id] {
                    places[id] = nil
                    return delivery
                }
                places[id] = .awaited(continuation)
                return nil
            }
            if let arrived { return continuation.resume(returning: arrived) }
            // Not before it can find the waiter: an alarm that goes off too early does not go off again.
            alarm = Task {
                // Woken by cancellation too: then the answer is there.
                try? await Task.sleep(for: limit)
                giveUp(id)
            }
        }
    }

    private func giveUp(_ id: String) {
        let waiter = places.withLock { places -> CheckedContinuation<AMQPDelivery?, Never>? in
            guard case .awaited(let waiter) = places[id] else { return nil }
            places[id] = nil
            return waiter
        }
        waiter?.resume(returning: nil)
    }
}
