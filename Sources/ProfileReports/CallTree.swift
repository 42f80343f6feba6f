/// Stacks merged where they begin alike.
struct CallTree: Equatable {
    var name: String
    var total = 0
    var children: [CallTree] = []

    init(_ stacks: FoldedStacks) {
        self.init("all", stacks.stacks.map { (frames: $0.frames[...], count: $0.count) })
    }

    private init(_ name: String, _ stacks: [(frames: ArraySlice<String>, count: Int)]) {
        self.name = name
        total = stacks.reduce(0) { $0 + $1.count }
        var inner: [String: [(frames: ArraySlice<String>, count: Int)]] = [:]
        for stack in stacks {
            guard let first = stack.frames.first else { continue }
            inner[first, default: []].append((stack.frames.dropFirst(), stack.count))
        }
        // By name, so that two graphs of one program can be laid side by side.
        children = inner.sorted { $0.key < $1.key }.map { CallTree($0.key, $0.value) }
    }
}
