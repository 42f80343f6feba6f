import CSpawn
import Glibc

/// A user of the system with its groups, as a child becomes it.
struct Account: Sendable, Hashable {
    let name: String
    let user: UInt32
    let group: UInt32
    let groups: [UInt32]

    /// Looks the user up by name; nil when there is none.
    init?(name: String) throws {
        var account = gaia_account()
        switch gaia_account_find(name, &account) {
        case 0: return nil
        case 1: break
        default: throw systemError("Cannot look up the user \(name)")
        }
        self.name = name
        user = account.user
        group = account.group
        groups = withUnsafeBytes(of: account.groups) {
            Array($0.assumingMemoryBound(to: gid_t.self).prefix(account.group_count))
        }
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
