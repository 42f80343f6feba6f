import CFiles
import Glibc

/// Names the job that put a file where it is, in an extended attribute of the file itself. So a repeat of the job can tell
/// "I did that already" from "another's file is in the way", and the mark goes when the file goes.
///
/// It holds no more than a digest of the job's key and of what it was to do.
public struct FileMark: Sendable, Hashable {
    static let attribute = "user.gaia.job"
    /// 32 hexadecimal digits.
    let digits: String

    /// - Parameters:
    ///   - key: the job's idempotency key.
    ///   - effect: what it does, such as `move data:a data:b`, so that two effects of one job differ.
    public init(key: String, effect: String) throws(FileError) {
        digits = String(try FileDigest.hexadecimal(.sha256, of: Array("\(key)\u{0}\(effect)".utf8)).prefix(32))
    }
}

extension RegularFile {
    /// - Returns: false where the file system keeps no extended attributes.
    @discardableResult
    public func setMark(_ mark: FileMark) throws(FileError) -> Bool {
        let result = gaia_set_attribute(descriptor.number, FileMark.attribute, mark.digits, mark.digits.utf8.count)
        if result == 0 { return true }
        let code = errno
        if code == ENOTSUP { return false }
        throw FileError(errno: code, "\(path)")
    }

    /// Whether this very effect of this very job put the file here.
    public func hasMark(_ mark: FileMark) -> Bool {
        var digits = [UInt8](repeating: 0, count: mark.digits.utf8.count)
        let count = gaia_get_attribute(descriptor.number, FileMark.attribute, &digits, digits.count)
        // Absent, of another length, or not kept by this file system: in each case it is not ours.
        return count == digits.count && digits.elementsEqual(mark.digits.utf8)
    }
}
