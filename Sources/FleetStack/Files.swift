import FoundationEssentials
import Glibc

/// A file's text. Also for /proc, whose files have no size.
func readText(_ path: String) throws -> String {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw systemError("Cannot read \(path)") }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 16384)
    while true {
        let count = read(descriptor, &buffer, buffer.count)
        if count == 0 { return String(decoding: bytes, as: UTF8.self) }
        if count > 0 {
            bytes += buffer[..<count]
        } else if errno != EINTR {
            throw systemError("Cannot read \(path)")
        }
    }
}

/// Writes a file whole or not at all, with exactly this mode and owner from its first moment.
func writeFile(_ path: String, _ text: String, mode: mode_t, owner: Account? = nil) throws {
    let draft = "\(path).draft"
    unlink(draft)
    let descriptor = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else { throw systemError("Cannot create \(draft)") }
    defer { close(descriptor) }
    if let owner, fchown(descriptor, owner.user, owner.group) != 0 { throw systemError("Cannot chown \(draft)") }
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
        let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        if count >= 0 {
            rest = rest.dropFirst(count)
        } else if errno != EINTR {
            throw systemError("Cannot write \(draft)")
        }
    }
    guard fchmod(descriptor, mode) == 0 else { throw systemError("Cannot chmod \(draft)") }
    guard rename(draft, path) == 0 else { throw systemError("Cannot rename \(draft) to \(path)") }
}

/// Makes a directory if it is not there, with this mode and owner.
func makeDirectory(_ path: String, mode: mode_t, owner: Account? = nil) throws {
    guard mkdir(path, mode) == 0 || errno == EEXIST else { throw systemError("Cannot create \(path)") }
    if let owner, lchown(path, owner.user, owner.group) != 0 { throw systemError("Cannot chown \(path)") }
    guard chmod(path, mode) == 0 else { throw systemError("Cannot chmod \(path)") }
}

/// Points a symbolic link at a target, whatever it pointed at before.
func makeLink(_ path: String, to target: String) throws {
    unlink(path)
    guard symlink(target, path) == 0 else { throw systemError("Cannot link \(path) to \(target)") }
}

/// The path with all symbolic links followed, as /proc shows it; the path itself where that cannot be.
func resolvedPath(_ path: String) -> String {
    guard let resolved = realpath(path, nil) else { return path }
    defer { free(resolved) }
    return String(cString: resolved)
}

/// The last lines of a log, for the error message of a start that failed. An unreadable log says so itself.
func tail(of path: String, lines: Int = 80) -> String {
    do {
        let text = try readText(path)
        let last = text.split(separator: "\n", omittingEmptySubsequences: true).suffix(lines)
        return last.isEmpty ? "(\(path) is empty)" : "The end of \(path):\n" + last.joined(separator: "\n")
    } catch {
        return "(\(error))"
    }
}

/// A password of 128 random bits that needs no escaping in a URL, a shell or a configuration file.
func randomPassword() -> String {
    var generator = SystemRandomNumberGenerator()
    let digits = Array("0123456789abcdef")
    return String((0..<32).map { _ in digits[Int(generator.next() & 15)] })
}

/// The error for the system call that just failed.
func systemError(_ what: String) -> StackError {
    let code = errno
    return StackError(.system(errno: code), "\(what): \(errorText(code)).")
}
