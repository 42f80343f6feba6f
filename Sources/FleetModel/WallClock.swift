import Glibc

/// This machine's time of day, which may be set back or forth: for what others are told, never for a span within a process.
public enum WallClock {
    /// Since 1970.
    public static var milliseconds: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }
}
