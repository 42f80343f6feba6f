/// What is to happen, in the order of time; of two at one time chance decides, by a number drawn with the seed.
struct EventQueue {
    struct Event {
        let time: Int64
        let tie: UInt64
        /// Whom it happens to, and in which life; nil for the world itself.
        let process: Process?
        let life: Int
        let action: () -> Void

        fileprivate func isBefore(_ other: Event) -> Bool {
            time != other.time ? time < other.time : tie < other.tie
        }
    }

    private var heap: [Event] = []

    mutating func insert(_ event: Event) {
        heap.append(event)
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child].isBefore(heap[parent]) else { return }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    mutating func next() -> Event? {
        guard let first = heap.first, let last = heap.popLast() else { return nil }
        if heap.isEmpty { return first }
        heap[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && heap[child].isBefore(heap[least])
            {
                least = child
            }
            if least == parent { return first }
            heap.swapAt(least, parent)
            parent = least
        }
    }

    mutating func clear() { heap = [] }
}
