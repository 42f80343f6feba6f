import AddressPolicy
import BrowserPool
import DevTools
import Foundation
import Glibc
import PageServer
import Synchronization
import Testing

/// Tests that need a browser run one after the other: each takes all of a small machine.
@Suite("Browsers", .serialized, .timeLimit(.minutes(10)))
struct Browsers {
    /// So long for whatever takes as long as the machine is busy.
    static let patience: Duration = .seconds(120)

    /// Pages on this machine, on 127.0.0.1 and on no other address.
    static func settings(_ change: (inout BrowserPoolSettings) -> Void = { _ in }) throws -> BrowserPoolSettings {
        var settings = BrowserPoolSettings(
            instancesMax: 1, tabsMax: 8, warmTabs: 1, startTimeout: patience, commandTimeout: patience,
            checkTimeout: patience, addresses: try AddressPolicy(allowing: ["127.0.0.1"]))
        change(&settings)
        return settings
    }

    /// A pool that is closed with `body`.
    static func withPool<Value>(
        _ change: (inout BrowserPoolSettings) -> Void = { _ in }, isolation: isolated (any Actor)? = #isolation,
        _ body: (BrowserPool) async throws -> Value
    ) async throws -> Value {
        try await withParent { parent in
            var settings = try settings(change)
            settings.profileParent = parent
            let pool = try BrowserPool(settings)
            let result: Result<Value, any Error>
            do { result = .success(try await body(pool)) } catch { result = .failure(error) }
            await pool.close()
            #expect(try FileManager.default.contentsOfDirectory(atPath: parent).isEmpty, "profiles are left")
            return try result.get()
        }
    }

    /// A directory for profiles that is removed after `body`.
    static func withParent<Value>(
        isolation: isolated (any Actor)? = #isolation, _ body: (String) async throws -> Value
    ) async throws -> Value {
        var template = Array("/tmp/gaia-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw ServerFailure("mkdtemp: \(errno)") }
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        chmod(path, 0o711)
        defer { try? FileManager.default.removeItem(atPath: path) }
        // `try?`: what is left in there was told by the test that left it.
        return try await body(path)
    }
}

extension BrowserPool {
    func withTab<Value: Sendable>(
        _ wish: TabWish = TabWish(), isolation: isolated (any Actor)? = #isolation,
        _ body: (BrowserTab) async throws -> Value
    ) async throws -> Value {
        try await withTab(wish, within: Browsers.patience, body)
    }

    /// Whether it lends a tab in which scripts run.
    func works() async throws -> Bool {
        try await withTab { tab in try await tab.value("1 + 1", as: Int.self) } == 2
    }
}

extension BrowserTab {
    /// Goes to a page and waits until it is loaded.
    func open(_ url: String) async throws {
        let answer = try await navigate(to: url)
        if let error = answer.errorText { throw ServerFailure("\(url): \(error)") }
        // Committed, so scripts run in the new page.
        let isLoaded = "document.readyState == 'complete' || new Promise(done => onload = () => done(true))"
        #expect(try await value(isLoaded, as: Bool.self))
    }

    /// The value of an expression, awaited if it is a promise.
    func value<Value: Decodable>(_ expression: String, as type: Value.Type = String.self) async throws -> Value {
        let evaluation = try await session.send(Runtime.Evaluate(expression))
        if let exception = evaluation.exception { throw ServerFailure(exception.message) }
        guard let value = evaluation.value else { throw ServerFailure("\(expression) has no value") }
        return try value.decode(Value.self)
    }
}

/// The error of the protocol that something throws; nil when it throws none.
func reason<Value>(
    isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Value
) async -> DevToolsError.Reason? {
    do { _ = try await body() } catch let error as DevToolsError { return error.reason } catch { return nil }
    return nil
}

/// The same of a pool.
func poolReason<Value>(
    isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Value
) async -> BrowserPoolError.Reason? {
    do { _ = try await body() } catch let error as BrowserPoolError { return error.reason } catch { return nil }
    return nil
}

/// A process as it was seen: its id alone may mean another later.
struct SeenProcess: Hashable {
    let id: Int32
    let startTicks: String

    init?(_ id: Int32) {
        guard let stat = try? String(contentsOfFile: "/proc/\(id)/stat", encoding: .utf8),
            let end = stat.lastIndex(of: ")")
        else { return nil }
        // `try?`: it has gone, which is what is asked.
        let fields = stat[end...].split(separator: " ")
        guard fields.count > 20, fields[1] != "Z" else { return nil }
        self.id = id
        startTicks = String(fields[20])
    }

    var isAlive: Bool { SeenProcess(id) == self }

    /// What /proc tells under a name; empty when it has gone.
    func text(_ name: String) -> String {
        guard let data = FileManager.default.contents(atPath: "/proc/\(id)/\(name)") else { return "" }
        return String(decoding: data, as: UTF8.self)
    }

    /// A process and all below it.
    static func tree(_ root: Int32) -> [SeenProcess] {
        var ids = [root]
        var next = 0
        while next < ids.count {
            let threads = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(ids[next])/task")) ?? []
            // `try?`: it has gone, and what was below it is elsewhere.
            for thread in threads {
                let children = try? String(
                    contentsOfFile: "/proc/\(ids[next])/task/\(thread)/children", encoding: .utf8)
                ids += (children ?? "").split(separator: " ").compactMap { Int32($0) }
            }
            next += 1
        }
        return ids.compactMap { SeenProcess($0) }
    }
}
