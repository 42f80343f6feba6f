/// A question as it goes over the wire, with what tells its answer from a forged one: a random id, the letters of the name in
/// random case (draft-vixie-dnsext-dns0x20), and the socket that it leaves by.
struct DNSQuery: Sendable {
    let id: UInt16
    let question: DNSQuestion
    /// The name's bytes in the case in which they are sent.
    let nameBytes: [UInt8]
    /// The message, without the length that goes before it over TCP.
    let bytes: [UInt8]

    /// How large an answer over UDP may be: what passes without fragments nearly everywhere.
    static let datagramBytesMax = 1_232

    /// - Parameters:
    ///   - offersSize: whether it says (by EDNS) how large the answer may be. A few old servers refuse that.
    ///   - randomisesCase: over UDP. Over TCP nothing is to be guessed, and a few servers do not keep the case.
    init(
        _ question: DNSQuestion, offersSize: Bool, randomisesCase: Bool,
        using generator: inout some RandomNumberGenerator
    ) {
        self.question = question
        id = UInt16.random(in: .min ... .max, using: &generator)
        nameBytes = question.name.wire.map { byte in
            let isLetter = byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z")
            return randomisesCase && isLetter && Bool.random(using: &generator) ? byte & ~0x20 : byte
        }
        var bytes: [UInt8] = []
        func put(_ value: UInt16) { bytes += [UInt8(value >> 8), UInt8(value & 0xFF)] }
        put(id)
        put(0x0100)  // Recursion is desired.
        put(1)
        put(0)
        put(0)
        put(offersSize ? 1 : 0)
        bytes += nameBytes
        put(question.type.code)
        put(1)
        if offersSize {
            bytes.append(0)
            put(41)
            put(UInt16(Self.datagramBytesMax))
            put(0)
            put(0)
            put(0)
        }
        self.bytes = bytes
    }
}
