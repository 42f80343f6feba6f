/// Something that has to be done by a time, and may be done long before.
package protocol DeadlineHeld: AnyObject {
    /// Nanoseconds of the monotonic clock. Must not change while held by a heap.
    var deadline: Int64 { get }
    /// Where the heap holds it, for it to be taken out at any time; -1 outside. The heap's own business.
    var heapIndex: Int { get set }
}

/// The nearest deadline of many. A member that is done early is taken out for good, so the size is that of what is pending
/// and not of what was asked for in the last half minute.
package struct DeadlineHeap<Element: DeadlineHeld> {
    private var items: [Element] = []

    package var nearest: Int64? { items.first?.deadline }
    package var count: Int { items.count }

    package init() {}

    package mutating func insert(_ element: Element) {
        precondition(element.heapIndex == -1, "an element is held once")
        items.append(element)
        element.heapIndex = items.count - 1
        siftUp(items.count - 1)
    }

    /// Nothing happens if it is not held.
    package mutating func remove(_ element: Element) {
        let index = element.heapIndex
        guard index >= 0 else { return }
        let last = items.removeLast()
        element.heapIndex = -1
        guard index < items.count else { return }
        place(last, index)
        siftDown(index)
        siftUp(index)
    }

    /// One element whose deadline is not after `now`.
    package mutating func popDue(_ now: Int64) -> Element? {
        guard let first = items.first, first.deadline <= now else { return nil }
        remove(first)
        return first
    }

    private mutating func siftUp(_ start: Int) {
        var index = start
        while index > 0 {
            let parent = (index - 1) / 2
            guard items[index].deadline < items[parent].deadline else { return }
            exchange(index, parent)
            index = parent
        }
    }

    private mutating func siftDown(_ start: Int) {
        var index = start
        while true {
            var least = index
            for child in [2 * index + 1, 2 * index + 2]
            where child < items.count && items[child].deadline < items[least].deadline {
                least = child
            }
            guard least != index else { return }
            exchange(index, least)
            index = least
        }
    }

    private mutating func exchange(_ a: Int, _ b: Int) {
        let (first, second) = (items[a], items[b])
        place(second, a)
        place(first, b)
    }

    private mutating func place(_ element: Element, _ index: Int) {
        items[index] = element
        element.heapIndex = index
    }
}
