import CProfiler
import CProfilerSignals
import Glibc
import Synchronization
import TestPatience
import Testing

@testable import FleetProfiler

/// A thread that does nothing but burn processor time, in functions that a profile must name.
private final class Burner: Sendable {
    private let isOver = Atomic(false)
    let thread = Mutex<pid_t>(0)
    private let name: String

    init(_ name: String) { self.name = name }

    func start() throws {
        var handle = pthread_t()
        let code = pthread_create(
            &handle, nil,
            { raw in
                guard let raw else { return nil }
                let burner = Unmanaged<Burner>.fromOpaque(raw).takeRetainedValue()
                let thread = gaia_test_thread(burner.name)
                burner.thread.withLock { $0 = thread }
                var sum = 1
                while !burner.isOver.load(ordering: .relaxed) { sum = burnOutside(sum) }
                return sum == 0 ? raw : nil
            }, Unmanaged.passRetained(self).toOpaque())
        try #require(code == 0)
        pthread_detach(handle)
    }

    func stop() { isOver.store(true, ordering: .relaxed) }

    /// Starts it, and waits until it runs.
    static func use(_ name: String, _ body: (Burner) async throws -> Void) async throws {
        let burner = Burner(name)
        try burner.start()
        defer { burner.stop() }
        try await eventually("the thread to run") { burner.thread.withLock { $0 } != 0 }
        try await body(burner)
    }

    /// In seconds.
    var processorTime: Double {
        get throws {
            let thread = try #require(ProcessThread(thread.withLock { $0 }))
            return thread.user + thread.system
        }
    }
}

@inline(never)
private func burnInside(_ start: Int) -> Int {
    var sum = start
    for step in 0..<200_000 { sum = (sum &* 6_364_136_223_846_793_005) ^ step }
    return sum
}

@inline(never)
private func burnOutside(_ start: Int) -> Int { burnInside(start) | 1 }

@Suite("CPU profiles", .serialized, .timeLimit(.minutes(5)))
struct CPUProfilerTests {
    @Test(
        "The function that burns processor time is found, under its caller, as often as it ran", arguments: [99, 1_000])
    func found(hertz: Int) async throws {
        try await Burner.use("burner-\(hertz)") { burner in
            let before = try burner.processorTime
            let profile = try await CPUProfiler.take(try .init(seconds: 3, hertz: hertz))
            let spent = try burner.processorTime - before
            let own = profile.stacks.filter { $0.key[0] == "burner-\(hertz)" }
            let samples = own.values.reduce(0, +)
            let expected = spent * Double(hertz)
            // It burns on while the stacks are named, which takes its time where the machine is busy.
            #expect(Double(samples) > expected * 0.6 - 10, "\(samples) of \(expected)")
            #expect(Double(samples) < expected * 1.15 + 10, "\(samples) of \(expected)")
            let inside = own.filter { $0.key.contains { $0.contains("burnInside") } }
            #expect(Double(inside.values.reduce(0, +)) > 0.9 * Double(samples), "\(profile.folded)")
            let called = own.filter { stack in
                zip(stack.key, stack.key.dropFirst()).contains {
                    $0.contains("burnOutside") && $1.contains("burnInside")
                }
            }
            #expect(Double(called.values.reduce(0, +)) > 0.9 * Double(samples), "\(profile.folded)")
            #expect(profile.dropped == 0)
        }
    }

    /// A profile that is being taken.
    private func begun(_ request: CPUProfile.Request) async throws -> Task<CPUProfile, any Error> {
        let profile = Task {
            // Whoever looks below may be before it.
            while true {
                do { return try await CPUProfiler.take(request) } catch ProfileError.busy { await Task.yield() }
            }
        }
        try await eventually("the profile to have begun") {
            let code = gaia_profile_begin()
            if code == 0 { gaia_profile_end() }
            return code == EBUSY
        }
        return profile
    }

    @Test("Threads that begin while a profile is taken are seen")
    func later() async throws {
        // A machine may be too busy to run it before a profile is over.
        for round in 1...20 {
            let profile = try await begun(try .init(seconds: 3, hertz: 250))
            var isSeen = false
            try await Burner.use("latecomer-\(round)") { _ in
                isSeen = try await profile.value.stacks.keys.contains { $0[0] == "latecomer-\(round)" }
            }
            if isSeen { return }
        }
        Issue.record("none of twenty was seen")
    }

    @Test("While one is taken a second is refused")
    func busy() async throws {
        try #require(gaia_profile_begin() == 0)
        await #expect(throws: ProfileError.busy) { try await CPUProfiler.take(try .init(seconds: 1)) }
        gaia_profile_end()
        _ = try await CPUProfiler.take(try .init(seconds: 1))
    }

    @Test("A profile whose task is cancelled ends at once, and the next can be taken")
    func cancelled() async throws {
        let begin = ContinuousClock.now
        let profile = try await begun(try .init(seconds: 300))
        profile.cancel()
        await #expect(throws: ProfileError.cancelled) { try await profile.value }
        #expect(ContinuousClock.now - begin < patienceOfTests)
        _ = try await CPUProfiler.take(try .init(seconds: 1))
    }

    @Test("Samples beyond what the ring holds are counted and not kept")
    func full() throws {
        try #require(gaia_profile_begin() == 0)
        defer { gaia_profile_end() }
        let (room, more) = (Int32(GAIA_PROFILE_SAMPLES_MAX), Int32(77))
        #expect(gaia_test_ticks(room + more) == 0)
        // A tick of a profile before may come late, and count too.
        let dropped = gaia_profile_dropped()
        #expect((UInt64(more)..<UInt64(more) + 50).contains(dropped))
        var taken = 0
        withUnsafeTemporaryAllocation(of: gaia_profile_sample.self, capacity: 1) { buffer in
            while gaia_profile_take(buffer.baseAddress) { taken += 1 }
        }
        #expect(taken == Int(room))
        // There is room again.
        #expect(gaia_test_ticks(1) == 0)
        #expect(gaia_profile_dropped() == dropped)
    }

    @Test("A tick that comes when no profile is taken does nothing")
    func late() throws {
        try #require(gaia_profile_begin() == 0)
        gaia_profile_end()
        #expect(gaia_test_ticks(10) == 0)
    }

    @Test("A fault that is not the profile's goes to the handler that was there, and the profile stays guarded")
    func foreignFault() async {
        await #expect(processExitsWith: .success) {
            #expect(gaia_test_count_faults() == 0)
            try #require(gaia_profile_begin() == 0)
            for count in Int32(1)...3 {
                raise(SIGSEGV)
                #expect(gaia_test_faults_counted() == count)
                #expect(gaia_test_is_counting_faults() == 0)
            }
            gaia_profile_end()
            #expect(gaia_test_is_counting_faults() == 1)
        }
    }

    #if arch(x86_64)
    @Test("A stack that leads to no memory ends its walk, and not the process")
    func astray() async {
        await #expect(processExitsWith: .success) {
            let goesOn = UnsafeMutablePointer<Int32>.allocate(capacity: 1)
            goesOn.pointee = 1
            var handle = pthread_t()
            let code = pthread_create(
                &handle, nil,
                { raw in
                    gaia_test_spin_astray(raw?.assumingMemoryBound(to: Int32.self))
                    return nil
                }, goesOn)
            try #require(code == 0)
            // A thread is sampled by the processor's time that it gets, and there may be little of that.
            var (found, astray) = (0, UInt64(0))
            for _ in 0..<60 where found <= 10 || astray <= 10 {
                let profile = try await CPUProfiler.take(try .init(seconds: 1, hertz: 250))
                let stacks = profile.stacks.filter { $0.key.contains { $0.contains("gaia_test_spin_astray") } }
                found += stacks.values.reduce(0, +)
                astray += gaia_profile_astray()
            }
            #expect(found > 10)
            #expect(astray > 10)
        }
    }
    #endif

    @Test("What is asked for has bounds")
    func bounds() {
        for (seconds, hertz) in [(0, 99), (301, 99), (-1, 99), (10, 0), (10, 1_001)] {
            #expect(throws: ProfileError.self) { try CPUProfile.Request(seconds: seconds, hertz: hertz) }
        }
    }
}
