import CurlClient
import FleetModel
import RootedFiles

extension JobFailure {
    /// A call that got no whole answer.
    init(_ error: CurlError) {
        switch error.kind {
        case .cancelled: self.init(CancellationError())
        case .closed:
            self.init(.transient, code: error.kind.code, message: "the worker closed before the call could end")
        case .addressRefused:
            self.init(
                .permanent, code: error.kind.code,
                message: "\(error.message); if jobs shall reach it, name it in api.allow")
        default:
            self.init(
                error.isTransient ? .transient : .permanent, code: error.kind.code, message: error.description)
        }
    }

    /// A body with more bytes than may be kept.
    init(_ error: ResponseBody.TooLarge, isFile: Bool) {
        self.init(
            .permanent, code: "api.response-too-large",
            message: isFile
                ? "the response's body is larger; at most \(error.bytesMax) bytes are put into a file (api.file_bytes)"
                : "the response's body is larger; at most \(error.bytesMax) bytes are kept in a result "
                    + "(api.response_bytes); with 'response' file, and file.roots at the worker, larger ones go to a file"
        )
    }

    /// A file that could not be written.
    init(_ error: FileError) {
        self.init(error.isTransient ? .transient : .permanent, code: error.code, message: error.description)
    }

    /// An answer with a status that was not expected. Retry-After is honoured where it is given; 408, 425, 429 and 5xx
    /// may pass; any other status will be the same next time.
    init(unexpected head: CurlHead, excerpt: [UInt8]) {
        let code = "api.\(head.status)"
        let text = String(decoding: excerpt, as: UTF8.self).prefix(200).split(whereSeparator: \.isNewline)
            .joined(separator: " ")
        let message = "the server answered \(head.status)" + (text.isEmpty ? "" : ": \(text)")
        switch head.status {
        case 429, 503:
            if let pause = head.retryAfter {
                self.init(.throttled(retryAfter: pause), code: code, message: message)
            } else {
                self.init(.transient, code: code, message: message)
            }
        case 408, 425, 500...599: self.init(.transient, code: code, message: message)
        default: self.init(.permanent, code: code, message: message)
        }
    }
}

extension CurlHead {
    /// How long the server asks to be left alone.
    var retryAfter: Duration? {
        header("Retry-After").flatMap { CurlResponse.retryAfter($0, responseDate: header("Date")) }
    }
}

extension CurlError.Kind {
    /// What results call it.
    var code: String {
        switch self {
        case .resolve: "api.resolve"
        case .connect: "api.connect"
        case .timeout: "api.timeout"
        case .tls: "api.tls"
        case .tooLarge: "api.too-large"
        case .protocolNotAllowed: "api.protocol-not-allowed"
        case .badURL: "api.bad-url"
        case .badRequest: "api.bad-request"
        case .addressRefused: "api.address-refused"
        case .tooManyRedirects: "api.too-many-redirects"
        case .overloaded: "api.overloaded"
        case .cancelled: "cancelled"
        case .closed: "api.closed"
        case .interrupted: "api.interrupted"
        }
    }
}
