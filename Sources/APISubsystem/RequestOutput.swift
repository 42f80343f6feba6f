import CurlClient
import FleetModel
import FoundationEssentials
import RootedFiles

/// What `api.request.v1` yields.
public struct RequestOutput: Codable, Sendable {
    public let status: Int
    /// Header names in lower case; several of one name joined by a comma.
    public internal(set) var headers: [String: String]
    /// The body, when it is UTF-8 text.
    public let body: String?
    /// The body in Base64, when it is not.
    public let bodyBase64: String?
    /// The file that holds the body, when it is not here.
    public let file: FileReference?
    /// Bytes of the body after decoding.
    public let bytes: Int
    /// The URL that gave the answer, when redirects led to it.
    public let finalURL: String?
    public let durationMilliseconds: Int64

    enum CodingKeys: String, CodingKey {
        case status, headers, body, file, bytes
        case bodyBase64 = "body_base64"
        case finalURL = "final_url"
        case durationMilliseconds = "duration_ms"
    }

    init(_ response: CurlResponse, _ content: ResponseBody.Content) {
        status = response.status
        headers = Dictionary(response.headers.map { ($0.0.lowercased(), $0.1) }) { "\($0), \($1)" }
        switch content {
        case .inline(let bytes):
            let text = String(validating: bytes, as: UTF8.self)
            body = text
            bodyBase64 = text == nil ? Data(bytes).base64EncodedString() : nil
            file = nil
            self.bytes = bytes.count
        case .file(let reference):
            (body, bodyBase64, file) = (nil, nil, reference)
            bytes = Int(reference.bytes)
        }
        finalURL = response.redirects > 0 ? response.finalURL : nil
        durationMilliseconds = response.timing.total.milliseconds
    }
}
