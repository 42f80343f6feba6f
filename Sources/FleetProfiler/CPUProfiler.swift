import CProfiler
import Glibc

/// Takes CPU profiles of the process that it is in.
public enum CPUProfiler {
    /// How often the ring is emptied: at 1,000 Hz on 64 processors it is not full by then.
    private static let round: Duration = .milliseconds(50)
    /// In so many rounds new threads are looked for once, which costs more.
    private static let roundsBetweenLooks = 5
    /// Threads that are given a timer.
    static let threadsMax = 4_096
    /// Stacks that are told apart; samples of more are dropped.
    static let stacksMax = 65_536

    /// Samples all threads for as long as was asked.
    ///
    /// - Throws: at once when the task is cancelled.
    public static func take(_ request: CPUProfile.Request) async throws(ProfileError) -> CPUProfile {
        let (tally, followed) = try await sample(request)
        var symbolizer = Symbolizer()
        symbolizer.resolve(Set(tally.stacks.keys.flatMap(\.frames)))
        var profile = CPUProfile(request: request)
        for (stack, count) in tally.stacks {
            let name = followed.names[stack.thread] ?? "thread"
            let cut = stack.frames.count == Int(GAIA_PROFILE_FRAMES_MAX) ? ["[deeper than is kept]"] : []
            let frames = [name] + cut + stack.frames.reversed().map { symbolizer.name(of: $0) }
            profile.stacks[frames, default: 0] += count
        }
        profile.dropped = tally.dropped
        profile.threads = followed.names.count
        profile.deafThreads = followed.deaf.count
        return profile
    }

    private static func sample(_ request: CPUProfile.Request) async throws(ProfileError) -> (Tally, Followed) {
        switch gaia_profile_begin() {
        case 0: break
        case EBUSY: throw .busy
        case let code: throw .refused(String(cString: strerror(code)))
        }
        defer { gaia_profile_end() }
        var followed = Followed(hertz: request.hertz)
        // Before the ring goes.
        defer { followed.release() }
        var tally = Tally()
        let end = ContinuousClock.now + .seconds(request.seconds)
        var rounds = 0
        while true {
            if rounds % roundsBetweenLooks == 0 { followed.update() }
            rounds += 1
            let left = end - .now
            if left <= .zero { break }
            do { try await Task.sleep(for: min(round, left), tolerance: .zero) } catch { throw .cancelled }
            tally.collect()
        }
        followed.nameAnew()
        followed.release()
        tally.collect()
        tally.dropped += Int(gaia_profile_dropped())
        return (tally, followed)
    }
}

/// The threads that have a timer.
private struct Followed {
    private var timers: [pid_t: UnsafeMutableRawPointer?] = [:]
    /// Of all that were seen, also of those that have ended.
    private(set) var names: [pid_t: String] = [:]
    private(set) var deaf: Set<pid_t> = []
    private let interval: Int

    init(hertz: Int) { interval = 1_000_000_000 / hertz }

    mutating func update() {
        let present = ProcessThread.identifiers()
        for (thread, timer) in timers where !present.contains(thread) {
            if let timer { gaia_profile_unfollow(timer) }
            timers[thread] = nil
        }
        for thread in present where timers[thread] == nil && timers.count < CPUProfiler.threadsMax {
            guard let described = ProcessThread(thread) else { continue }
            names[thread] = Symbolizer.harmless(described.name)
            var timer: UnsafeMutableRawPointer?
            let code = gaia_profile_follow(thread, Int.random(in: 1...interval), interval, &timer)
            if described.blocks(SIGPROF) || code == EAGAIN { deaf.insert(thread) }
            timers[thread] = .some(timer)
        }
    }

    /// A thread is named a moment after it began.
    mutating func nameAnew() {
        for thread in timers.keys {
            if let described = ProcessThread(thread) { names[thread] = Symbolizer.harmless(described.name) }
        }
    }

    mutating func release() {
        for case let timer? in timers.values { gaia_profile_unfollow(timer) }
        timers = [:]
    }
}

/// Samples by what they found.
private struct Tally {
    struct Stack: Hashable {
        let thread: pid_t
        /// Innermost first.
        let frames: [UInt]
    }

    private(set) var stacks: [Stack: Int] = [:]
    var dropped = 0

    mutating func collect() {
        withUnsafeTemporaryAllocation(of: gaia_profile_sample.self, capacity: 1) { buffer in
            guard let sample = buffer.baseAddress else { return }
            while gaia_profile_take(sample) { add(sample) }
        }
    }

    private mutating func add(_ sample: UnsafeMutablePointer<gaia_profile_sample>) {
        let frames = withUnsafeBytes(of: &sample.pointee.frames) { bytes in
            Array(bytes.assumingMemoryBound(to: UInt.self).prefix(Int(sample.pointee.depth)))
        }
        let stack = Stack(thread: sample.pointee.thread, frames: frames)
        let ticks = Int(sample.pointee.ticks)
        if stacks[stack] == nil, stacks.count == CPUProfiler.stacksMax {
            dropped += ticks
        } else {
            stacks[stack, default: 0] += ticks
        }
    }
}
