import CFiles

/// A checksum over bytes that come in pieces.
///
/// By OpenSSL's libcrypto, which libpq and libcurl have brought into the process already: kept up by the distribution, no
/// code of ours to build, and it takes the processor's SHA instructions. CRC-32 is zlib's.
public struct FileDigest: ~Copyable, Sendable {
    /// MD5, SHA-1 and CRC-32 find accidents; only the SHA-2 ones withstand an attacker.
    public enum Algorithm: String, Sendable, Codable, CaseIterable {
        case sha256, sha512, sha1, md5, crc32

        fileprivate var kind: gaia_digest_kind {
            switch self {
            case .sha256: GAIA_DIGEST_SHA256
            case .sha512: GAIA_DIGEST_SHA512
            case .sha1: GAIA_DIGEST_SHA1
            case .md5: GAIA_DIGEST_MD5
            case .crc32: GAIA_DIGEST_CRC32
            }
        }
    }

    /// The C object, closed with its owner.
    ///
    /// Not private: an optimised build of another module that holds its owner in a type of its own links to it.
    struct Handle: ~Copyable, @unchecked Sendable {
        // Sendable: it has one owner, and OpenSSL's contexts are bound to no thread.
        let pointer: OpaquePointer
        deinit { gaia_digest_close(pointer) }
    }

    private let handle: Handle

    /// - Throws: when OpenSSL is set up to refuse the algorithm, as MD5 in FIPS mode.
    public init(_ algorithm: Algorithm) throws(FileError) {
        guard let pointer = gaia_digest_open(algorithm.kind) else {
            throw FileError(.system, algorithm.rawValue, "is refused by this machine's OpenSSL")
        }
        handle = Handle(pointer: pointer)
    }

    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        let result = gaia_digest_update(handle.pointer, bytes.baseAddress, bytes.count)
        precondition(result == 0, "OpenSSL refused bytes for a digest that it had begun")
    }

    /// The digest in lower-case hexadecimal digits.
    public consuming func hexadecimal() -> String {
        var output = [UInt8](repeating: 0, count: Int(GAIA_DIGEST_BYTES_MAX))
        let count = gaia_digest_finish(handle.pointer, &output)
        precondition(count > 0, "OpenSSL did not end a digest that it had begun")
        let digits = Array("0123456789abcdef".utf8)
        return String(
            decoding: output[..<Int(count)].flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    public static func hexadecimal(_ algorithm: Algorithm, of bytes: [UInt8]) throws(FileError) -> String {
        var digest = try FileDigest(algorithm)
        bytes.withUnsafeBytes { digest.update($0) }
        return digest.hexadecimal()
    }
}
