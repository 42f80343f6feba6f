import Glibc

/// A user of the system with its groups, as a child becomes it.
struct Account: Sendable, Hashable {
    let name: String
    let user: UInt32
    let group: UInt32
    let groups: [UInt32]

    /// Looks the user up by name; nil when there is none.
    init?(name: String) throws {
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 16384)
        let code = getpwnam_r(name, &entry, &buffer, buffer.count, &found)
        guard code == 0 else {
            throw StackError(.system(errno: code), "Cannot look up the user \(name): \(errorText(code)).")
        }
        guard found != nil else { return nil }
        // Bounded: Linux allows 65,536 groups a process, and a service account is in a handful.
        var count: Int32 = 256
        var groups = [gid_t](repeating: 0, count: Int(count))
        guard getgrouplist(name, entry.pw_gid, &groups, &count) >= 0 else {
            throw StackError(.system(errno: E2BIG), "The user \(name) is in more than 256 groups.")
        }
        self.name = name
        user = entry.pw_uid
        group = entry.pw_gid
        self.groups = Array(groups.prefix(Int(count)))
    }

    /// Whom a server runs as: the package's own user when we are root (PostgreSQL refuses root), else us (nil).
    static func forServer(_ name: String, package: String) throws -> Account? {
        guard geteuid() == 0 else { return nil }
        guard let account = try Account(name: name) else {
            throw StackError(
                .missingPackage(apt: package),
                "There is no user \(name) to run the server as: run `apt-get install \(package)`."
            )
        }
        return account
    }
}
