/// A queue that takes from the front without moving what is behind.
package struct FIFO<Element> {
    package init() {}

    private var storage: [Element?] = []
    private var head = 0

    package var count: Int { storage.count - head }
    package var isEmpty: Bool { count == 0 }
    package var first: Element? { isEmpty ? nil : storage[head] }

    package mutating func append(_ element: Element) { storage.append(element) }

    package mutating func prepend(_ element: Element) {
        if head > 0 {
            head -= 1
            storage[head] = element
        } else {
            storage.insert(element, at: 0)
        }
    }

    package mutating func popFirst() -> Element? {
        guard !isEmpty else { return nil }
        let element = storage[head]
        storage[head] = nil
        head += 1
        if head == storage.count {
            storage.removeAll(keepingCapacity: true)
            head = 0
        } else if head > 64, head * 2 > storage.count {
            storage.removeFirst(head)
            head = 0
        }
        return element
    }

    package mutating func modifyFirst(_ change: (inout Element) -> Void) {
        guard !isEmpty else { return }
        // From `head` on every place is filled; changing it there spares a copy of what the element holds.
        change(&storage[head]!)
    }

    package mutating func modifyAll(_ change: (inout Element) -> Void) {
        // From `head` on every place is filled.
        for index in head..<storage.count { change(&storage[index]!) }
    }

    /// Takes out and returns the first that matches.
    package mutating func remove(where matches: (Element) -> Bool) -> Element? {
        for index in head..<storage.count {
            guard let element = storage[index], matches(element) else { continue }
            storage.remove(at: index)
            return element
        }
        return nil
    }

    package mutating func removeAll() -> [Element] {
        let all = storage[head...].compactMap { $0 }
        storage.removeAll()
        head = 0
        return all
    }
}

extension FIFO: Sendable where Element: Sendable {}
