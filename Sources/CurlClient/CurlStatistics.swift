/// What a ``CurlMulti`` has done since it was made, for whoever watches it.
public struct CurlStatistics: Sendable, Hashable {
    /// Connections opened; requests beyond these went over pooled ones.
    public var connectionsOpened = 0
    /// Hops that ended in any way.
    public var exchanges = 0
    /// Bytes on the wire before TLS: heads and bodies as they were sent, not as they decode.
    public var bytesSent = 0
    public var bytesReceived = 0
    /// Requests accepted and not yet answered, waiting ones among them.
    public var outstanding = 0

    public init() {}
}
