/// A generator that gives the same numbers from the same seed, on every machine and for ever, so that what was drawn
/// from it can be had again: faults, fates of requests, test cases.
///
/// SplitMix64 of Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014), with the constants of
/// Stafford's thirteenth mixer. Not for secrets.
public struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    public init(seed: UInt64) { state = seed }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// One element of a list that is not empty.
    public mutating func pick<Element>(_ list: [Element]) -> Element {
        list[Int.random(in: list.indices, using: &self)]
    }

    /// A generator of its own for something that is drawn in whatever order, such as one key among many.
    public func split(_ name: some StringProtocol) -> SplitMix64 {
        // FNV-1a, as Swift's own hashing differs from process to process.
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        var own = self
        return SplitMix64(seed: own.next() ^ hash)
    }
}
