import FleetStack
import Foundation
import Glibc
import RootedFiles
import Testing

@Suite("A root is not left")
struct ConfinementTests {
    let sandbox: Sandbox

    init() throws { sandbox = try Sandbox() }

    @Test("A file beneath it is read, and one that is missing is said to be")
    func plain() throws {
        try sandbox.makeDirectory("root/a")
        try sandbox.write("content", to: "root/a/file")
        let roots = try sandbox.roots()
        #expect(try roots.text("data:a/file") == "content")
        #expect(try reason { _ = try roots.text("data:a/none") } == .notFound)
        #expect(try reason { _ = try roots.text("data:a/file/b") } == .notDirectory)
        #expect(try reason { _ = try roots.text("data:a") } == .isDirectory)
        #expect(try reason { _ = try roots.text("other:a") } == .unknownRoot)
    }

    @Test("A symbolic link out is refused by the kernel, however it is spelt", arguments: [false, true])
    func linkOut(_ followsSymlinks: Bool) throws {
        try sandbox.link("root/relative", to: "../outside/secret")
        try sandbox.link("root/absolute", to: sandbox.at("outside/secret"))
        try sandbox.link("root/directory", to: "../outside")
        try sandbox.link("root/back", to: "../root/../outside/secret")
        let roots = try sandbox.roots(.init(followsSymlinks: followsSymlinks))
        let expected: FileError.Reason = followsSymlinks ? .outsideRoot : .symlink
        for path in ["data:relative", "data:absolute", "data:directory/secret", "data:back"] {
            #expect(try reason { _ = try roots.text(path) } == expected, "\(path)")
        }
        #expect(try reason { _ = try roots.parent(of: RootedPath("data:directory/new"), for: .writing) } != nil)
        #expect(
            try reason { _ = try roots.parent(of: RootedPath("data:directory/x/y"), for: .writing, creating: true) }
                != nil)
        #expect(try sandbox.names("outside") == ["secret"])
    }

    @Test("A symbolic link that stays beneath is followed only where that is allowed")
    func linkWithin() throws {
        try sandbox.makeDirectory("root/v1")
        try sandbox.write("one", to: "root/v1/file")
        try sandbox.link("root/current", to: "v1")
        try sandbox.link("root/v1/alias", to: "../v1/file")
        #expect(try reason { _ = try sandbox.roots().text("data:current/file") } == .symlink)
        let lenient = try sandbox.roots(.init(followsSymlinks: true))
        #expect(try lenient.text("data:current/file") == "one")
        #expect(try lenient.text("data:current/alias") == "one")
    }

    @Test("The magic links of /proc are refused even within a root of /proc")
    func magicLinks() throws {
        let roots = try FileRoots(
            [FileRoot(name: "proc", directory: "/proc/self")], rules: .init(followsSymlinks: true))
        for path in ["proc:root/etc/passwd", "proc:cwd", "proc:exe", "proc:fd/0"] {
            #expect(try reason { _ = try roots.text(path) } != nil, "\(path)")
            #expect(try reason { _ = try roots.directory(RootedPath(path)) } != nil, "\(path)")
        }
    }

    @Test("A file with a second name is refused, unless that is allowed")
    func hardLink() throws {
        #expect(link(sandbox.at("outside/secret"), sandbox.at("root/hard")) == 0)
        let roots = try sandbox.roots()
        #expect(try reason { _ = try roots.text("data:hard") } == .hardLinked)
        let directory = try roots.directory(RootedPath("data:"), for: .writing)
        #expect(try reason { _ = try directory.file("hard", .writing) } == .hardLinked)
        #expect(try reason { _ = try directory.file("hard", .creating(mode: 0o600)) } == .hardLinked)
        #expect(try sandbox.roots(.init(allowsHardLinks: true)).text("data:hard") == "secret")
    }

    @Test("FIFOs, sockets and devices are refused without waiting for anyone")
    func special() throws {
        #expect(mkfifo(sandbox.at("root/fifo"), 0o600) == 0)
        let socket = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        // Of a path short enough for the address.
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let here = try #require(getcwd(nil, 0))
        defer { free(here) }
        let name = "\(sandbox.at("root"))/socket"
        try #require(name.utf8.count < 108)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name.utf8) }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(bound == 0)
        let roots = try sandbox.roots()
        let directory = try roots.directory(RootedPath("data:"), for: .writing)
        for name in ["fifo", "socket"] {
            #expect(try reason { _ = try roots.text("data:\(name)") } == .notRegular, "\(name)")
            #expect(try reason { _ = try directory.file(name) } == .notRegular, "\(name)")
            #expect(try reason { _ = try directory.file(name, .writing) } == .notRegular, "\(name)")
            #expect(try reason { _ = try directory.file(name, .creating(mode: 0o600)) } == .notRegular, "\(name)")
        }
        let devices = try FileRoots([FileRoot(name: "dev", directory: "/dev")])
        for name in ["null", "zero", "tty"] where access("/dev/\(name)", F_OK) == 0 {
            #expect(try reason { _ = try devices.text("dev:\(name)") } == .notRegular, "\(name)")
        }
    }

    @Test("An entry's name cannot be a way to elsewhere")
    func names() throws {
        let directory = try sandbox.roots().directory(RootedPath("data:"), for: .writing)
        for name in ["../outside/secret", "..", ".", "", "a/b", "a\0b"] {
            #expect(try reason { _ = try directory.status(name) } == .invalidPath)
            #expect(try reason { _ = try directory.file(name) } == .invalidPath)
            #expect(try reason { try directory.remove(name) } == .invalidPath)
            #expect(try reason { try directory.makeDirectory(name) } == .invalidPath)
            #expect(try reason { _ = try directory.directory(name) } == .invalidPath)
            #expect(try reason { try directory.rename("x", to: directory, name, replacing: true) } == .invalidPath)
        }
        #expect(try sandbox.text("outside/secret") == "secret")
    }

    @Test("Nothing is made through a dangling link")
    func danglingLink() throws {
        try sandbox.link("root/new", to: "../outside/made")
        let roots = try sandbox.roots(.init(followsSymlinks: true))
        let directory = try roots.directory(RootedPath("data:"), for: .writing)
        #expect(try reason { _ = try directory.file("new", .creating(mode: 0o600)) } == .symlink)
        #expect(try reason { _ = try directory.directory("new") } != nil)
        #expect(try sandbox.names("outside") == ["secret"])
    }

    @Test("A root to read only is not written")
    func readOnly() throws {
        let roots = try sandbox.roots(isWritable: false)
        #expect(try reason { _ = try roots.parent(of: RootedPath("data:a"), for: .writing) } == .readOnly)
        #expect(try reason { _ = try roots.directory(RootedPath("data:"), for: .writing) } == .readOnly)
        #expect(try reason { _ = try roots.makeDirectory(RootedPath("data:a")) } == .readOnly)
    }

    /// A directory and a link that leads out change places as fast as a process can rename, while the walk goes on.
    @Test("A link swapped in mid-way leads nowhere", arguments: [false, true])
    func race(_ followsSymlinks: Bool) async throws {
        try sandbox.makeDirectory("root/a/b")
        try sandbox.write("inside", to: "root/a/b/secret")
        try sandbox.makeDirectory("outside/b")
        try sandbox.write("secret", to: "outside/b/secret")
        try sandbox.link("root/trap", to: "../outside")
        let roots = try sandbox.roots(.init(followsSymlinks: followsSymlinks))
        // The exchange is one step, so that one of both always stands there.
        let swapper = try ChildProcess.start(
            executable: "python3",
            arguments: [
                "-c",
                """
                import ctypes, sys
                libc = ctypes.CDLL(None, use_errno=True)
                for _ in range(20000):
                    libc.renameat2(-100, sys.argv[1].encode(), -100, sys.argv[2].encode(), 2)
                """, sandbox.at("root/a"), sandbox.at("root/trap"),
            ])
        let path = try RootedPath("data:a/b/secret")
        var (read, refused) = (0, 0)
        while swapper.isRunning {
            do {
                let text = try roots.text("\(path)")
                #expect(text == "inside")
                read += 1
            } catch let error as FileError {
                #expect([.symlink, .outsideRoot, .busy, .notDirectory].contains(error.reason), "\(error)")
                refused += 1
            }
            do {
                let parent = try roots.parent(of: path, for: .writing)
                let status = try parent.status("made")
                if status == nil { _ = try parent.file("made", .creating(mode: 0o600)) }
            } catch {
                #expect([.symlink, .outsideRoot, .busy, .notDirectory].contains(error.reason), "\(error)")
            }
        }
        #expect(await swapper.exitStatus().isSuccess)
        // Else the race was none.
        #expect(read > 0 && refused > 0, "read \(read) times, refused \(refused) times")
        #expect(try sandbox.names("outside").filter { $0.hasSuffix("made") }.isEmpty)
    }
}
