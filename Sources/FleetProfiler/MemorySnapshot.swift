import CProfiler
import Glibc

/// What the memory of this process is at a moment. Sizes are in bytes; what the kernel does not tell is nil.
public struct MemorySnapshot: Codable, Sendable {
    public struct Heap: Codable, Sendable {
        /// Handed out by the allocator and not given back, single mappings included.
        public let inUse: Int
        /// Within the allocator's areas and handed out to nobody: it is used again, and only partly goes back to the kernel.
        public let free: Int
        /// Mapped for single large blocks; part of `inUse`.
        public let mapped: Int
        public let mappedBlocks: Int
        /// Of the areas, used or not.
        public let areas: Int

        enum CodingKeys: String, CodingKey {
            case inUse = "in_use_bytes"
            case free = "free_bytes"
            case mapped = "mapped_bytes"
            case mappedBlocks = "mapped_blocks"
            case areas = "areas_bytes"
        }
    }

    /// All parts of the address space that one file, or one use, has.
    public struct Use: Codable, Sendable, Equatable {
        public let name: String
        public var parts = 0
        public var size = 0
        public var resident = 0
        public var proportional = 0
        public var dirty = 0
        public var swapped = 0

        enum CodingKeys: String, CodingKey {
            case name, parts
            case size = "size_bytes"
            case resident = "resident_bytes"
            case proportional = "proportional_bytes"
            case dirty = "private_dirty_bytes"
            case swapped = "swap_bytes"
        }
    }

    /// In memory, pages that others share included.
    public let resident: Int?
    /// The same, a page that n processes share counted for an nth.
    public let proportional: Int?
    /// Of its own and written to: what its end would free.
    public let dirty: Int?
    public let swapped: Int?
    /// The most that was ever resident.
    public let peak: Int?
    public let heap: Heap
    /// Of threads but the first: what is resident of them.
    public let stacks: Int
    public let threads: Int
    public let descriptors: Int
    /// The largest by what is resident.
    public let uses: [Use]

    /// How many uses are told.
    static let usesMax = 16

    enum CodingKeys: String, CodingKey {
        case heap, threads, descriptors, uses
        case resident = "resident_bytes"
        case proportional = "proportional_bytes"
        case dirty = "private_dirty_bytes"
        case swapped = "swap_bytes"
        case peak = "peak_resident_bytes"
        case stacks = "stacks_resident_bytes"
    }

    /// Looks now; for some milliseconds, since the kernel counts pages.
    public static func take() -> MemorySnapshot {
        let rollup = ProcFile.fields("/proc/self/smaps_rollup")
        var heap = gaia_heap()
        gaia_heap_look(&heap)
        let uses = Self.uses(ProcFile.text("/proc/self/smaps") ?? "")
        return MemorySnapshot(
            resident: bytes(rollup["Rss"]), proportional: bytes(rollup["Pss"]), dirty: bytes(rollup["Private_Dirty"]),
            swapped: bytes(rollup["Swap"]), peak: bytes(ProcFile.fields("/proc/self/status")["VmHWM"]),
            heap: Heap(
                inUse: Int(heap.in_use + heap.mapped), free: Int(heap.free), mapped: Int(heap.mapped),
                mappedBlocks: Int(heap.mapped_blocks), areas: Int(heap.areas)),
            stacks: uses.first { $0.name == stacksName }?.resident ?? 0,
            threads: ProcFile.names("/proc/self/task").count,
            // Without the descriptor that is read from.
            descriptors: ProcFile.names("/proc/self/fd").count - 1,
            uses: Array(uses.sorted { ($0.resident, $0.size) > ($1.resident, $1.size) }.prefix(usesMax)))
    }

    /// Of `1234 kB`.
    private static func bytes(_ text: String?) -> Int? {
        text?.split(separator: " ").first.flatMap { Int($0) }.map { $0 * 1_024 }
    }

    private static let stacksName = "stacks of threads"
    /// What is kept free below a stack is no larger.
    private static let guardBytesMax: UInt = 64 << 10
    /// glibc's allocator has areas beside the first one, each at an address that this divides.
    private static let areaBytes: UInt = 64 << 20

    /// - Parameter smaps: as `/proc/self/smaps` is written.
    static func uses(_ smaps: String) -> [Use] {
        var uses: [String: Use] = [:]
        var name = ""
        var followsGuard = false
        for line in smaps.split(separator: "\n") {
            if let mapping = Mapping.all(String(line)).first {
                name = use(of: mapping, followsGuard: followsGuard)
                followsGuard =
                    mapping.path.isEmpty && mapping.permissions.hasPrefix("---")
                    && mapping.end - mapping.start <= guardBytesMax
                uses[name, default: Use(name: name)].parts += 1
                uses[name]?.size += Int(mapping.end - mapping.start)
                continue
            }
            guard let colon = line.firstIndex(of: ":") else { continue }
            let value = bytes(line[line.index(after: colon)...].split(separator: " ").first.map { "\($0)" }) ?? 0
            switch line[..<colon] {
            case "Rss": uses[name]?.resident += value
            case "Pss": uses[name]?.proportional += value
            case "Private_Dirty": uses[name]?.dirty += value
            case "Swap": uses[name]?.swapped += value
            default: break
            }
        }
        return Array(uses.values)
    }

    private static func use(of mapping: Mapping, followsGuard: Bool) -> String {
        if !mapping.path.isEmpty {
            return mapping.path.hasPrefix("/") ? String(mapping.path.split(separator: "/").last ?? "/") : mapping.path
        }
        if mapping.permissions.hasPrefix("---") { return "reserved" }
        if mapping.start % areaBytes == 0 { return "heap areas of threads" }
        // glibc puts a page that nobody may touch below each stack.
        return followsGuard && mapping.permissions.hasPrefix("rw") ? stacksName : "anonymous"
    }
}
