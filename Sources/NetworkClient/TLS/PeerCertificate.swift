internal import COpenSSL
internal import Glibc

/// What a certificate says, as text.
public struct PeerCertificate: Sendable, Equatable {
    /// As in RFC 2253: `CN=example.org,O=…`.
    public let subject: String
    public let issuer: String
    /// Its names and addresses, at most ``namesMax``.
    public let names: [String]
    /// How many names it has in all.
    public let nameCount: Int
    /// Seconds since 1970; nil for a time that is none.
    public let notBefore: Int64?
    public let notAfter: Int64?
    /// SHA-256 over the whole certificate, in hexadecimal.
    public let fingerprint: String

    public static let namesMax = 100
    /// Longer texts of a certificate are cut.
    static let textBytesMax = 1_024

    init(_ raw: OpaquePointer) {
        subject = Self.text(X509_get_subject_name(raw))
        issuer = Self.text(X509_get_issuer_name(raw))
        notBefore = Self.seconds(X509_get0_notBefore(raw))
        notAfter = Self.seconds(X509_get0_notAfter(raw))
        fingerprint = Self.fingerprint(raw)
        (names, nameCount) = Self.names(raw)
    }

    private static func text(_ name: OpaquePointer?) -> String {
        guard let name, let memory = BIO_new(BIO_s_mem()) else { return "" }
        defer { BIO_free(memory) }
        cossl_print_name(memory, name)
        var bytes: UnsafeMutablePointer<CChar>?
        let count = cossl_memory(memory, &bytes)
        guard let bytes, count > 0 else { return "" }
        return bytes.withMemoryRebound(to: UInt8.self, capacity: count) {
            String(decoding: UnsafeBufferPointer(start: $0, count: min(count, textBytesMax)), as: UTF8.self)
        }
    }

    private static func seconds(_ time: UnsafePointer<ASN1_TIME>?) -> Int64? {
        var parts = tm()
        guard let time, ASN1_TIME_to_tm(time, &parts) == 1 else { return nil }
        return Int64(timegm(&parts))
    }

    private static func fingerprint(_ raw: OpaquePointer) -> String {
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var count: UInt32 = 0
        guard X509_digest(raw, EVP_sha256(), &digest, &count) == 1 else { return "" }
        return digest.prefix(Int(count)).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    private static func names(_ raw: OpaquePointer) -> ([String], Int) {
        guard let list = X509_get_ext_d2i(raw, NID_subject_alt_name, nil, nil) else { return ([], 0) }
        let stack = OpaquePointer(list)
        defer { GENERAL_NAMES_free(stack) }
        let count = Int(OPENSSL_sk_num(stack))
        let names = (0..<min(max(count, 0), namesMax)).compactMap { index -> String? in
            guard let item = OPENSSL_sk_value(stack, Int32(index)) else { return nil }
            return text(item.assumingMemoryBound(to: GENERAL_NAME.self).pointee)
        }
        return (names, count)
    }

    private static func text(_ name: GENERAL_NAME) -> String? {
        guard name.type == GEN_DNS || name.type == GEN_IPADD || name.type == GEN_EMAIL || name.type == GEN_URI,
            // One member of the union for all four: they are strings of bytes.
            let string = name.d.ia5, let start = ASN1_STRING_get0_data(string)
        else { return nil }
        let bytes = UnsafeBufferPointer(start: start, count: min(Int(ASN1_STRING_length(string)), textBytesMax))
        if name.type == GEN_IPADD { return Endpoint(bytes: Array(bytes), port: 0)?.address }
        return String(decoding: bytes, as: UTF8.self)
    }
}
