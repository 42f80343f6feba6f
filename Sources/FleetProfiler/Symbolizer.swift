import CProfiler
import Glibc

/// Names the functions that addresses of this process lie in.
struct Symbolizer {
    private var names: [UInt: String] = [:]
    private let mappings: [Mapping]
    private static let addressesOfNothing = "[unknown]"

    init() { mappings = Mapping.all(ProcFile.text("/proc/self/maps") ?? "") }

    /// - Returns: the function's name, `module+0xoffset` where the module does not tell it, `[unknown]` for what lies in no
    ///   module.
    func name(of address: UInt) -> String { names[address] ?? Self.addressesOfNothing }

    mutating func resolve(_ addresses: Set<UInt>) {
        var byModule: [String: [(address: UInt, offset: UInt64)]] = [:]
        for address in addresses {
            guard let mapping = Mapping.containing(address, in: mappings), !mapping.path.isEmpty else { continue }
            byModule[mapping.path, default: []].append(
                (address, UInt64(address - mapping.start) + mapping.offset))
        }
        for (path, places) in byModule { resolve(places, in: path) }
    }

    private mutating func resolve(_ places: [(address: UInt, offset: UInt64)], in path: String) {
        let module = Self.harmless(String(path.split(separator: "/").last ?? "module"))
        var inFile: [UInt64: UInt64] = [:]
        var functions: [UInt64: String] = [:]
        do throws(ELFError) {
            let file = try ELFFile(path: Mapping.isProgram(path) ? "/proc/self/exe" : path)
            for place in places { inFile[place.offset] = file.address(ofFileOffset: place.offset) }
            functions = try file.functions(at: Set(inFile.values))
        } catch {
            // A library that was replaced meanwhile, or no file at all, such as [vdso]: its name and the place say what there
            // is to say.
        }
        var readable: [String: String] = [:]
        for place in places {
            let inModule = inFile[place.offset] ?? place.offset
            guard let symbol = functions[inModule] else {
                // By its first byte, so that what one function does stands together.
                let start = gaia_function_start(place.address)
                let back = start > 0 && start <= place.address ? UInt64(place.address - start) : 0
                names[place.address] = "\(module)+0x\(String(inModule &- min(back, inModule), radix: 16))"
                continue
            }
            let name = readable[symbol] ?? Self.harmless(FrameName.readable(symbol))
            readable[symbol] = name
            names[place.address] = name
        }
    }

    /// Without what parts frames and lines from each other.
    static func harmless(_ name: String) -> String {
        let clean = String(name.map { $0 == ";" ? "," : $0.isNewline ? " " : $0 })
        return clean.isEmpty ? "?" : clean
    }
}

/// A part of this process's addresses, as `/proc/self/maps` tells of it.
struct Mapping: Equatable {
    let start, end: UInt
    let permissions: String
    /// In the file.
    let offset: UInt64
    /// Empty when there is no file, in brackets what the kernel calls it.
    let path: String

    /// By address. Lines that are none are left out.
    static func all(_ text: String) -> [Mapping] {
        text.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
            guard fields.count >= 5 else { return nil }
            let ends = fields[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
            guard ends.count == 2, ends[0] < ends[1], let offset = UInt64(fields[2], radix: 16) else { return nil }
            let path = fields.count > 5 ? String(fields[5].drop { $0 == " " }) : ""
            return Mapping(start: ends[0], end: ends[1], permissions: String(fields[1]), offset: offset, path: path)
        }
    }

    static func containing(_ address: UInt, in mappings: [Mapping]) -> Mapping? {
        var (low, high) = (0, mappings.count)
        while low < high {
            let middle = (low + high) / 2
            if mappings[middle].end <= address { low = middle + 1 } else { high = middle }
        }
        guard low < mappings.count, mappings[low].start <= address else { return nil }
        return mappings[low]
    }

    /// Whether it is of the program itself: its file is reached even when it was replaced on disk meanwhile.
    static func isProgram(_ path: String) -> Bool {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
        let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        guard count > 0 else { return false }
        return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) == path
    }
}
