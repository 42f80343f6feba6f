import Foundation
import Glibc
import Testing

@testable import BrowserPool

@Suite("Profiles and what is asked of the machine")
struct ProfileTests {
    private func withParent(_ body: (String) throws -> Void) throws {
        var template = Array("/tmp/gaia-test-XXXXXX".utf8CString)
        #expect(mkdtemp(&template) != nil)
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { try? FileManager.default.removeItem(atPath: path) }
        // `try?`: a test that leaves something fails before this.
        try body(path)
    }

    private func entries(_ path: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path).sorted()
    }

    @Test("What a dead pool left is removed; what a living one uses, and what is no pool's, stays")
    func leftovers() throws {
        try withParent { parent in
            var dead: ProfileDirectories? = try ProfileDirectories(in: parent)
            let profile = try #require(dead).make(1, owner: nil)
            try FileManager.default.createDirectory(atPath: "\(profile)/a/b/c", withIntermediateDirectories: true)
            try Data("x".utf8).write(to: URL(filePath: "\(profile)/a/b/file"))
            let living = try ProfileDirectories(in: parent)
            _ = try living.make(1, owner: nil)
            #expect(try living.removeLeftovers() == 0, "both live")
            let deadPath = try #require(dead).path
            dead = nil
            try FileManager.default.createDirectory(
                atPath: "\(parent)/gaia-browser-fresh", withIntermediateDirectories: true)
            try FileManager.default.createDirectory(atPath: "\(parent)/other", withIntermediateDirectories: true)
            let newcomer = try ProfileDirectories(in: parent)
            #expect(try newcomer.removeLeftovers() == 1)
            #expect(!FileManager.default.fileExists(atPath: deadPath))
            #expect(try entries(living.path) == ["1", "lock"])
            #expect(try entries(parent).count == 4)
            try living.removeAll()
            try newcomer.removeAll()
            #expect(try entries(parent) == ["gaia-browser-fresh", "other"])
        }
    }

    @Test("Removal follows no symbolic link")
    func links() throws {
        try withParent { parent in
            try FileManager.default.createDirectory(atPath: "\(parent)/precious", withIntermediateDirectories: true)
            for name in ["file", "lock"] { try Data("x".utf8).write(to: URL(filePath: "\(parent)/precious/\(name)")) }
            let profiles = try ProfileDirectories(in: parent)
            let profile = try profiles.make(7, owner: nil)
            try FileManager.default.createSymbolicLink(
                atPath: "\(profile)/link", withDestinationPath: "\(parent)/precious")
            try FileManager.default.createSymbolicLink(
                atPath: "\(parent)/gaia-browser-link", withDestinationPath: "\(parent)/precious")
            try profiles.remove(7)
            try profiles.removeLeftovers()
            try profiles.removeAll()
            #expect(try entries("\(parent)/precious") == ["file", "lock"])
        }
    }

    @Test("A parent in which others may rename what is ours is refused")
    func openParent() throws {
        try withParent { parent in
            #expect(chmod(parent, 0o777) == 0)
            #expect(throws: BrowserPoolError.self) { try ProfileDirectories(in: parent) }
            #expect(chmod(parent, 0o1777) == 0)
            try ProfileDirectories(in: parent).removeAll()
        }
    }

    @Test("What keeps a sandbox from browsers is told with what to do")
    func sandbox() {
        func flaw(_ isRoot: Bool, _ files: [String: String]) -> String? {
            SandboxCheck.flaw(isRoot: isRoot) { files[$0] }
        }
        #expect(flaw(false, [:]) == nil)
        #expect(flaw(true, [:])?.contains("browser.user") == true)
        let user = "/proc/sys/user/max_user_namespaces"
        #expect(flaw(false, [user: "96365\n"]) == nil)
        #expect(flaw(false, [user: "0\n"])?.contains("user.max_user_namespaces") == true)
        let debian = "/proc/sys/kernel/unprivileged_userns_clone"
        #expect(flaw(false, [debian: "1\n"]) == nil)
        #expect(flaw(false, [debian: "0\n"])?.contains("unprivileged_userns_clone") == true)
        let ubuntu = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
        #expect(flaw(false, [ubuntu: "1\n"])?.contains("AppArmor") == true)
    }

    @Test(
        "Addresses that a browser would read otherwise than they begin are no jobs'",
        arguments: [
            "file:///etc/passwd", "FILE:/etc/passwd", " file:///", "\tfile:///", "fi\nle:///etc/passwd", "http\n://x",
            "chrome://crash", "view-source:http://x", "javascript:1", "about:version", "about:blank/x", "devtools://x",
            "blob:x", "filesystem:x", "ftp://x", "//x", "x", "", "\u{0}http://x", "about:blankx",
        ])
    func refusedAddresses(_ url: String) {
        #expect(!BrowserTab.isAllowed(url))
    }

    @Test(
        "Addresses of the network, of data and the blank page are",
        arguments: ["http://x", "HTTPS://x/y?z#a b", "data:text/html,<p>x</p>", "about:blank", "about:blank#x"])
    func allowedAddresses(_ url: String) {
        #expect(BrowserTab.isAllowed(url))
    }

    @Test("Settings that cannot be are refused with their name")
    func settings() {
        let changes: [(inout BrowserPoolSettings) -> Void] = [
            { $0.instancesMax = 0 }, { $0.instancesMax = 101 }, { $0.tabsMax = 10_001 }, { $0.warmTabs = 1_000 },
            { $0.tabsPerInstanceMax = 0 }, { $0.leasesPerInstanceMax = 0 }, { $0.waitingMax = 0 },
            { $0.profileParent = "tmp" }, { $0.extensions = ["relative"] }, { $0.extensions = ["/nowhere"] },
            { $0.user = "no-such-user-here" },
        ]
        for change in changes.dropLast(geteuid() == 0 ? 0 : 1) {
            var settings = BrowserPoolSettings()
            change(&settings)
            #expect { try BrowserPool(settings) } throws: { ($0 as? BrowserPoolError)?.reason == .badSetting }
        }
    }
}
