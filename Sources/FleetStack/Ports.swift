import Glibc

/// Free ports on the loopback address, held until the moment they are needed.
///
/// They are taken from below the range that the system gives to outgoing connections. Out of that range, any
/// connection made while a server is down could take its port, and a client that retries a dead port could even
/// connect to itself.
package struct Ports: ~Copyable {
    private var descriptors: [Int32] = []
    package private(set) var numbers: [UInt16] = []

    /// Tries numbers at random, as others may be choosing at this moment.
    package init(count: Int, range: ClosedRange<UInt16> = 20_000...32_000) throws {
        var attempts = 0
        while numbers.count < count {
            attempts += 1
            guard attempts <= 1000 else {
                release()
                throw StackError(.portTaken(0), "Found no free port in \(range) within 1000 attempts.")
            }
            let number = UInt16.random(in: range)
            guard let descriptor = Self.bound(number, reuse: false) else { continue }
            descriptors.append(descriptor)
            numbers.append(number)
        }
    }

    /// Gives the ports back, to whom they were chosen for.
    package mutating func release() {
        for descriptor in descriptors { close(descriptor) }
        descriptors = []
    }

    deinit {
        for descriptor in descriptors { close(descriptor) }
    }

    /// Whether nobody listens there. Closed connections that the system still remembers do not count.
    static func isFree(_ number: UInt16) -> Bool {
        guard let descriptor = bound(number, reuse: true) else { return false }
        close(descriptor)
        return true
    }

    private static func bound(_ number: UInt16, reuse: Bool) -> Int32? {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        if reuse {
            var one: Int32 = 1
            setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        }
        let result = withLoopbackAddress(number) { bind(descriptor, $0, $1) }
        if result == 0 { return descriptor }
        close(descriptor)
        return nil
    }
}

/// Lends 127.0.0.1:port in the form that the socket calls take.
func withLoopbackAddress<Result>(_ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return withUnsafePointer(to: address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
}
