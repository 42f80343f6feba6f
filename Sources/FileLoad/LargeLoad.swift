import CFileFloor
import FileSubsystem
import Foundation

extension FileLoad {
    /// What was measured with a large file.
    public struct LargeFigures: Encodable, Sendable {
        public struct Row: Encodable, Sendable {
            public let operation: String
            public let seconds: Double
            /// The same in plain C; nil where that would be another program altogether.
            public let floorSeconds: Double?
            public let megabytesPerSecond: Double
        }

        public let bytes: Int
        public let rows: [Row]
        /// Before the first operation, and at the most.
        public let residentBytesBefore: Int
        public let residentBytesPeak: Int
    }

    /// Copies, hashes and parses files of so many bytes, each read from its first byte to its last.
    ///
    /// - Parameter parent: where to put them; three times `bytes` must have room.
    public static func large(
        bytes: Int = 1 << 30, in parent: String, settings: FileSettings = FileSettings()
    ) async throws -> LargeFigures {
        try await withDirectory(in: parent) { directory in
            let bench = try Bench(directory, settings)
            let json = try LargeDocument.json.write(to: "\(directory)/document.json", bytes: bytes)
            let xml = try LargeDocument.xml.write(to: "\(directory)/document.xml", bytes: bytes)
            try ResidentMemory.resetPeak()
            let before = try ResidentMemory.bytes()
            var rows: [LargeFigures.Row] = []
            func measure(
                _ operation: String, floor: (() -> Int64)?, _ body: () async throws -> Void
            ) async throws {
                // The floor first, so that both find the file in the page cache.
                let floor = try floor.map { try seconds(floor: $0()) }
                let taken = try await seconds(body)
                rows.append(
                    LargeFigures.Row(
                        operation: operation, seconds: taken, floorSeconds: floor,
                        megabytesPerSecond: Double(bytes) / 1e6 / taken))
            }
            let path = "\(directory)/document.json"
            try await measure("copy", floor: { gaia_floor_copy(path, "\(directory)/floor") }) {
                try FileManager.default.removeItem(atPath: "\(directory)/floor")
                try await bench.run(CopyParameters(from: "bench:document.json", to: "bench:copy"), key: "copy")
            }
            try FileManager.default.removeItem(atPath: "\(directory)/copy")
            try await measure("hash sha256", floor: { gaia_floor_hash(path) }) {
                try await bench.run(HashParameters(path: "bench:document.json"), key: "hash")
            }
            try await measure("parse-json", floor: { gaia_floor_read(path) }) {
                try await bench.run(
                    ParseJSONParameters(path: "bench:document.json", pointer: "/items/\(json - 1)/name"), key: "json")
            }
            try await measure("parse-xml", floor: { gaia_floor_xml("\(directory)/document.xml") }) {
                try await bench.run(
                    ParseXMLParameters(path: "bench:document.xml", xpath: "/items/item[\(xml)]/name"), key: "xml")
            }
            let peak = try ResidentMemory.peakBytes()
            await bench.subsystem.close()
            return LargeFigures(
                bytes: bytes, rows: rows, residentBytesBefore: before, residentBytesPeak: peak)
        }
    }
}

extension FileLoad.LargeFigures {
    /// As a table.
    public var text: String {
        func padded(_ text: String, _ width: Int) -> String {
            String(repeating: " ", count: max(0, width - text.count)) + text
        }
        var lines = ["one file of \(bytes >> 20) MiB         seconds    MB/s   plain C, seconds"]
        for row in rows {
            lines.append(
                row.operation.padding(toLength: 24, withPad: " ", startingAt: 0)
                    + padded(String(format: "%.2f", row.seconds), 12)
                    + padded(String(format: "%.0f", row.megabytesPerSecond), 8)
                    + padded(row.floorSeconds.map { String(format: "%.2f", $0) } ?? "-", 19))
        }
        lines.append(
            String(
                format: "resident memory: %.1f MB before, %.1f MB at most", Double(residentBytesBefore) / 1e6,
                Double(residentBytesPeak) / 1e6))
        return lines.joined(separator: "\n")
    }
}

/// A document of any size whose items have members of several kinds, as exports have.
private struct LargeDocument {
    let opening, closing, separator: String
    let item: String

    static let json = LargeDocument(
        opening: "{\"items\":[\n", closing: "\n]}\n", separator: ",\n",
        item:
            #"{"id":"7d1c2a","name":"Größe und Gewicht","tags":["a","b\n","c\u00e9"],"size":{"width":12.5e-1,"height":-300},"ok":true,"note":null,"text":"The quick brown fox jumps over the lazy dog, again and again and again."}"#
    )
    static let xml = LargeDocument(
        opening: "<?xml version=\"1.0\"?>\n<items>\n", closing: "\n</items>\n", separator: "\n",
        item:
            "<item id=\"7d1c2a\" ok=\"true\"><name>Größe und Gewicht</name><tag>a</tag><tag>b &amp; c</tag><size width=\"12.5\"/><text>The quick brown fox jumps over the lazy dog, again and again and again.</text></item>"
    )

    /// - Returns: how many items it has.
    func write(to path: String, bytes: Int) throws -> Int {
        let perBlock = 2_000
        let block = Data(Array(repeating: item, count: perBlock).joined(separator: separator).utf8)
        try Data().write(to: URL(filePath: path))
        let file = try FileHandle(forWritingTo: URL(filePath: path))
        try file.write(contentsOf: Data(opening.utf8))
        let blocks = max(1, bytes / (block.count + separator.utf8.count))
        for index in 0..<blocks {
            if index > 0 { try file.write(contentsOf: Data(separator.utf8)) }
            try file.write(contentsOf: block)
        }
        try file.write(contentsOf: Data(closing.utf8))
        try file.close()
        return blocks * perBlock
    }
}
