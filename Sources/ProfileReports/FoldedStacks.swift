/// # ProfileReports
///
/// Makes what a person reads of what a process told: a flame graph and a table of a CPU profile, a report of how memory went
/// on over time. It asks nobody and draws by itself: what it writes is opened by any browser, with no network and no other
/// program.
///
/// ```
///  folded stacks ──▶ FoldedStacks ──▶ FlameGraph ──▶ SVG
///                         └─────────▶ hottest functions
///  samples over time ──▶ Growth ── StraightLine, verdict ──▶ GrowthReport ──▶ HTML
/// ```

/// Stacks and how many samples found each, in the text that `stackcollapse-perf.pl`, inferno and speedscope have in common: a
/// line for each stack, frames from outside in parted by semicolons, a blank, the count.
public struct FoldedStacks: Sendable, Equatable {
    public struct Stack: Sendable, Equatable {
        public let frames: [String]
        public let count: Int

        public init(_ frames: [String], _ count: Int) { (self.frames, self.count) = (frames, count) }
    }

    public var stacks: [Stack]

    public init(_ stacks: [Stack]) { self.stacks = stacks }

    /// Reads the text; empty lines count for nothing.
    ///
    /// - Throws: ``FoldedError``
    public init(parsing text: String) throws(FoldedError) {
        stacks = []
        var total = 0
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            if line.allSatisfy(\.isWhitespace) { continue }
            guard let blank = line.lastIndex(of: " "), let count = Int(line[line.index(after: blank)...]), count > 0
            else {
                throw FoldedError(line: index + 1, reason: "it does not end in a blank and a count")
            }
            let frames = line[..<blank].split(separator: ";", omittingEmptySubsequences: false).map(String.init)
            guard !frames.contains("") else { throw FoldedError(line: index + 1, reason: "a frame has no name") }
            let (sum, isOver) = total.addingReportingOverflow(count)
            guard !isOver else { throw FoldedError(line: index + 1, reason: "the counts are too large to be summed") }
            total = sum
            stacks.append(Stack(frames, count))
        }
    }

    public var samples: Int { stacks.reduce(0) { $0 + $1.count } }

    /// A function, whichever way it was called.
    public struct Function: Sendable, Equatable {
        public let name: String
        /// Samples in which it ran itself, and in which it was on the stack.
        public let own, total: Int
    }

    /// By what they spent themselves, the hottest first. Threads, which are the outermost frames, are no functions.
    public var functions: [Function] {
        var own: [String: Int] = [:]
        var total: [String: Int] = [:]
        for stack in stacks {
            let frames = stack.frames.dropFirst()
            if let last = frames.last { own[last, default: 0] += stack.count }
            // Once, however often it calls itself.
            for frame in Set(frames) { total[frame, default: 0] += stack.count }
        }
        return total.map { Function(name: $0.key, own: own[$0.key] ?? 0, total: $0.value) }.sorted {
            ($1.own, $1.total, $0.name) < ($0.own, $0.total, $1.name)
        }
    }
}

/// A line that is no stack.
public struct FoldedError: Error, Equatable, CustomStringConvertible {
    public let line: Int
    public let reason: String
    public var description: String { "line \(line) is no stack with its count ('outer;inner 12'): \(reason)" }
}
