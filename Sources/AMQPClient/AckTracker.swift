/// What to tell the broker about settled deliveries.
package enum AckCommand: Equatable, Sendable {
    case acknowledge(UInt64, multiple: Bool)
    case reject(UInt64, requeue: Bool)
}

/// Turns single settlements, in any order, into few acknowledgements of one channel. Pure.
///
/// A finished prefix of the deliveries goes out as one `multiple` acknowledgement. What finished behind an unfinished one
/// is held back, in the hope that the gap closes, until ``takeCommands(force:into:)`` is forced to: a long job must not keep
/// its neighbours unacknowledged. Holds as many entries as there are unsettled deliveries, at most twice that for a
/// moment, so the prefetch bounds it.
package struct AckTracker {
    private enum Standing: UInt8 { case unsettled, acknowledged, told }
    private struct Entry {
        let tag: UInt64
        var standing: Standing
    }

    private var entries: [Entry] = []
    /// Entries before it are told and gone.
    private var head = 0
    /// Where the last settlement was found: the next is most often right after it.
    private var hint = 0
    private var untoldAcks = 0
    private var toldBehindGap = 0
    private var rejects: [AckCommand] = []

    package init() {}

    /// Deliveries that are not settled yet.
    package private(set) var unsettled = 0
    /// Whether settlements wait for the gap before them to close.
    package var isHolding: Bool { untoldAcks > 0 }

    /// A delivery came; tags rise.
    package mutating func delivered(_ tag: UInt64) {
        if let last = entries.last, tag <= last.tag { return }
        entries.append(Entry(tag: tag, standing: .unsettled))
        unsettled += 1
    }

    /// - Returns: false when the tag was never delivered here or is settled already.
    package mutating func acknowledge(_ tag: UInt64) -> Bool {
        guard let place = unsettledPlace(of: tag) else { return false }
        entries[place].standing = .acknowledged
        untoldAcks += 1
        unsettled -= 1
        return true
    }

    /// - Returns: false when the tag was never delivered here or is settled already.
    package mutating func reject(_ tag: UInt64, requeue: Bool) -> Bool {
        guard let place = unsettledPlace(of: tag) else { return false }
        entries[place].standing = .told
        toldBehindGap += 1
        unsettled -= 1
        rejects.append(.reject(tag, requeue: requeue))
        return true
    }

    /// Appends what is to be sent now. With `force` nothing is held back.
    package mutating func takeCommands(force: Bool, into commands: inout [AckCommand]) {
        if !rejects.isEmpty {
            commands += rejects
            rejects.removeAll(keepingCapacity: true)
        }
        takePrefix(into: &commands)
        if force, untoldAcks > 0 {
            for place in head..<entries.count where entries[place].standing == .acknowledged {
                commands.append(.acknowledge(entries[place].tag, multiple: false))
                entries[place].standing = .told
                toldBehindGap += 1
            }
            untoldAcks = 0
        }
        compact()
    }

    private mutating func takePrefix(into commands: inout [AckCommand]) {
        var last: UInt64?
        var count = 0
        while head < entries.count, entries[head].standing != .unsettled {
            if entries[head].standing == .acknowledged {
                last = entries[head].tag
                count += 1
            } else {
                toldBehindGap -= 1
            }
            head += 1
        }
        // The tag named must itself be open at the broker, so it is the last acknowledged one, not the last of the prefix.
        if let last { commands.append(.acknowledge(last, multiple: count > 1)) }
        untoldAcks -= count
    }

    private mutating func compact() {
        if head == entries.count {
            entries.removeAll(keepingCapacity: true)
            head = 0
            hint = 0
        } else if head + toldBehindGap > entries.count / 2 {
            entries.removeSubrange(..<head)
            entries.removeAll { $0.standing == .told }
            toldBehindGap = 0
            head = 0
            hint = 0
        }
    }

    private mutating func unsettledPlace(of tag: UInt64) -> Int? {
        var place = hint
        if place < head || place >= entries.count || entries[place].tag != tag {
            var low = head
            var high = entries.count
            while low < high {
                let middle = (low + high) / 2
                if entries[middle].tag < tag { low = middle + 1 } else { high = middle }
            }
            place = low
        }
        guard place < entries.count, entries[place].tag == tag, entries[place].standing == .unsettled else {
            return nil
        }
        hint = place + 1
        return place
    }
}
