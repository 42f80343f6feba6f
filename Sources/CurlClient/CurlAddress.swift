public import AddressPolicy
internal import Glibc

/// A resolved address, as the guard of ``CurlMulti`` sees it just before a socket is opened to it.
public struct CurlAddress: Sendable, Hashable, CustomStringConvertible {
    public let ip: IPAddress
    public let port: UInt16
    /// Whose address it is said to be: the host of the URL, in lower case; an address in the usual form without brackets.
    public let urlHost: String

    public init(_ ip: IPAddress, port: UInt16, urlHost: String) {
        self.ip = ip
        self.port = port
        self.urlHost = urlHost
    }

    /// `192.0.2.1:443` or `[2001:db8::1]:443`.
    public var description: String { ip.isIPv6 ? "[\(ip)]:\(port)" : "\(ip):\(port)" }
}

extension IPAddress {
    /// `nil` for families other than IPv4 and IPv6, which nothing here speaks.
    static func read(_ address: UnsafePointer<sockaddr>) -> (ip: IPAddress, port: UInt16)? {
        switch Int32(address.pointee.sa_family) {
        case AF_INET:
            address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { v4 in
                var raw = v4.pointee.sin_addr
                let ip = IPAddress(bytes: withUnsafeBytes(of: &raw, Array.init))
                return ip.map { ($0, UInt16(bigEndian: v4.pointee.sin_port)) }
            }
        case AF_INET6:
            address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { v6 in
                var raw = v6.pointee.sin6_addr
                let ip = IPAddress(bytes: withUnsafeBytes(of: &raw, Array.init))
                return ip.map { ($0, UInt16(bigEndian: v6.pointee.sin6_port)) }
            }
        default: nil
        }
    }
}

extension CurlConfiguration {
    /// The guard that connects to what a policy allows.
    ///
    /// - Parameter onRefusal: told of each refusal, on the client's thread: quick, and never blocking.
    public static func guarding(
        by policy: AddressPolicy, onRefusal: @escaping @Sendable (AddressKind) -> Void = { _ in }
    ) -> @Sendable (CurlAddress) -> Bool {
        { address in
            switch policy.judge(address.ip, host: address.urlHost) {
            case .allowed: return true
            case .refused(let kind):
                onRefusal(kind)
                return false
            }
        }
    }
}
