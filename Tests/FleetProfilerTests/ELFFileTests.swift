import CProfiler
import Foundation
import Testing

@testable import FleetProfiler

@Suite("Names of functions")
struct ELFFileTests {
    /// A real file of moderate size, to be spoilt.
    private static let sample: [UInt8] = {
        let places = ["/lib/x86_64-linux-gnu/libz.so.1", "/lib/aarch64-linux-gnu/libz.so.1", "/usr/lib64/libz.so.1"]
        return places.lazy.compactMap { FileManager.default.contents(atPath: $0) }.first.map { Array($0) } ?? []
    }()

    /// What a reader makes of a file with these bytes: all functions that it finds at some addresses.
    private func read(_ bytes: [UInt8]) throws -> [UInt64: String] {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("gaia-elf-\(UUID().uuidString)").path
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        let file = try ELFFile(path: path)
        let offsets = stride(from: UInt64(0), to: UInt64(max(bytes.count, 1)), by: 211)
        return try file.functions(at: Set(offsets.compactMap { file.address(ofFileOffset: $0) }))
    }

    @Test("A function of this program and one of a library are named by their addresses")
    func named() throws {
        let library = try #require(dlsym(nil, "getpid"))
        let ours = unsafeBitCast(gaia_profile_end as @convention(c) () -> Void, to: UInt.self)
        var symbolizer = Symbolizer()
        symbolizer.resolve([ours, UInt(bitPattern: library), 1])
        #expect(symbolizer.name(of: ours) == "gaia_profile_end")
        #expect(["getpid", "__getpid"].contains(symbolizer.name(of: UInt(bitPattern: library))))
        #expect(symbolizer.name(of: 1) == "[unknown]")
    }

    @Test("A whole library's functions are found")
    func whole() throws {
        try #require(!Self.sample.isEmpty)
        #expect(Set(try read(Self.sample).values).contains { $0.hasPrefix("inflate") })
    }

    @Test("What is no ELF file of this kind is an error that says so")
    func others() throws {
        #expect(throws: ELFError.notELF) { try read([]) }
        #expect(throws: ELFError.notELF) { try read(Array("#!/bin/sh\n".utf8)) }
        #expect(throws: ELFError.notELF) { try read([UInt8](repeating: 0x7F, count: 4_000)) }
        #expect(throws: ELFError.notELF) { _ = try ELFFile(path: "/tmp") }
        #expect(throws: ELFError.unreadable(errno: ENOENT)) { _ = try ELFFile(path: "/tmp/gaia-no-such-file") }
        for (place, value) in [(4, 1), (5, 2)] as [(Int, UInt8)] {
            var bytes = Self.sample
            bytes[place] = value
            #expect(throws: ELFError.foreign) { try read(bytes) }
        }
        for place in [54, 58] {
            var bytes = Self.sample
            bytes[place] = 3
            #expect(throws: ELFError.self) { try read(bytes) }
        }
    }

    @Test("A file that is cut short is an error, wherever it was cut")
    func cut() throws {
        // The table of sections stands at the end, so that every cut takes some of it.
        for length in stride(from: 0, to: Self.sample.count - 1, by: max(Self.sample.count / 150, 1)) {
            #expect(throws: ELFError.self, "\(length)") { try read(Array(Self.sample[..<length])) }
        }
    }

    @Test("A file with wrong numbers gives errors or nothing")
    func spoilt() throws {
        var random = Seeded(state: 7)
        let sections = Self.sample[40..<48].reversed().reduce(0) { $0 << 8 | Int($1) }
        var errors = 0
        for _ in 0..<600 {
            var bytes = Self.sample
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let isHeader = Bool.random(using: &random)
                let place =
                    isHeader
                    ? Int.random(in: 16..<64, using: &random) : Int.random(in: sections..<bytes.count, using: &random)
                bytes[place] =
                    [0, 0xFF, 0x7F, 0x80, UInt8.random(in: 0...255, using: &random)].randomElement(using: &random) ?? 0
            }
            do { _ = try read(bytes) } catch is ELFError { errors += 1 }
        }
        #expect(errors > 50)
    }

    /// The same sequence in each run.
    private struct Seeded: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (state ^ (state >> 29)) &* 0xBF58_476D_1CE4_E5B9
        }
    }

    @Test(
        "Names are as a person reads them",
        arguments: [
            ("FleetWorker.Worker.claim() async -> ()", "FleetWorker.Worker.claim()"),
            (
                "(3) suspend resume partial function for FleetWorker.Worker.(claim in _5F1C)(Swift.Int, by: Swift.String) async throws -> ()",
                "FleetWorker.Worker.claim(_:by:) ↻3"
            ),
            (
                "closure #1 @Sendable () async throws -> () in closure #2 (inout Swift.Int) -> () in A.B.run(f: (Swift.Int, Swift.Int) -> ()) -> ()",
                "A.B.run(f:) {closure 2} {closure 1}"
            ),
            (
                "generic specialization <Swift.Int, Swift.Array<(Swift.Int) -> Swift.String>> of Swift.Array.append(__owned A) -> ()",
                "Swift.Array.append(_:)"
            ),
            (
                "function signature specialization <Arg[0] = Owned To Guaranteed> of generic specialization <A> of A.B<C.D>.e(f: G<H>) -> I",
                "A.B.e(f:)"
            ),
            ("protocol witness for A.P.run() -> () in conformance B.Q : A.P in B", "A.P.run() {witness}"),
            (
                "(extension in Foundation):Swift.String.count(in: Foundation.Locale) -> Swift.Int",
                "Swift.String.count(in:)"
            ),
            ("A.B.load.getter : Swift.Int", "A.B.load.getter"),
            ("A.B.(c in _1F)<D where D: E>(_: (A.(F in _2F)) throws -> D) throws -> D", "A.B.c(_:)"),
            ("closure #1 () -> () in static A.f() -> ()", "A.f() {closure 1}"),
            ("partial apply forwarder for closure #1 () -> () in A.f() -> ()", "A.f() {closure 1}"),
            ("inner #1 (x: Swift.Int) -> () in A.f() -> ()", "A.f() {inner}"),
            ("reabstraction thunk helper from @escaping @callee_guaranteed () -> () to A", "reabstraction thunk"),
            ("static Swift.Int.< infix(Swift.Int, Swift.Int) -> Swift.Bool", "Swift.Int.< infix(_:_:)"),
        ])
    func names(demangled: String, readable: String) { #expect(FrameName.swift(demangled) == readable) }

    @Test("Names of C++ and C, and such as are none")
    func otherNames() {
        #expect(
            FrameName.cxx("swift::runJobInEstablishedExecutorContext(swift::Job*)")
                == "swift::runJobInEstablishedExecutorContext")
        #expect(FrameName.cxx("std::vector<int, std::allocator<int> >::push_back(int&&)") == "std::vector::push_back")
        #expect(FrameName.cxx("(anonymous namespace)::Box::get() const") == "Box::get")
        #expect(FrameName.readable("PQexec@@LIBPQ") == "PQexec")
        #expect(FrameName.readable("$sSaMa") != "$sSaMa")
        #expect(FrameName.readable("$snonsense") == "$snonsense")
        #expect(FrameName.readable(String(repeating: "x", count: 5_000)).count == FrameName.charactersMax)
        #expect(Symbolizer.harmless("a;b\nc") == "a,b c")
        #expect(Symbolizer.harmless("") == "?")
    }
}
