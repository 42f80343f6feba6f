import CSpawn
import Glibc

/// A user of the system, as a process becomes it.
public struct Account: Sendable {
    let account: gaia_account

    /// Nil when there is no such user, or its groups cannot be read.
    public init?(name: String) {
        var account = gaia_account()
        guard gaia_account_find(name, &account) == 1 else { return nil }
        self.account = account
    }

    public var userID: UInt32 { account.user }
    /// Its first group.
    public var groupID: UInt32 { account.group }

    /// Whether this process may become another user at all.
    public static var canChange: Bool { geteuid() == 0 }
}
