import Glibc
import RootedFiles
import Testing

@Suite("A regular file")
struct RegularFileTests {
    @Test("is free to be locked when its holder lets it go, though another process has it open still")
    func lock() throws {
        let sandbox = try Sandbox()
        let roots = try sandbox.roots()
        let path = try RootedPath("data:a")
        try sandbox.write("a", to: "root/a")
        var copy: Int32 = -1
        do {
            var first = try roots.file(path)
            #expect(try first.tryLock())
            var second = try roots.file(path)
            #expect(try second.tryLock() == false)
            // What a process has that was forked off and has not executed its program yet.
            copy = dup(try number(of: sandbox.at("root/a")))
        }
        try #require(copy >= 0)
        defer { close(copy) }
        var third = try roots.file(path)
        #expect(try third.tryLock())
    }

    /// The lowest descriptor that is open on a file: of those of this test the first.
    private func number(of file: String) throws -> Int32 {
        let numbers = (Int32(0)..<65_536).first { number in
            var there = stat()
            var wanted = stat()
            return fstat(number, &there) == 0 && stat(file, &wanted) == 0 && there.st_ino == wanted.st_ino
                && there.st_dev == wanted.st_dev
        }
        return try #require(numbers, "no descriptor of \(file)")
    }
}
