import CurlClient
import FleetModel
import NetworkClient
import RootedFiles

extension JobFailure {
    init(_ error: NetworkError) {
        switch error.kind {
        case .badName: self.init(.permanent, code: "network.bad-name", message: error.message)
        case .timeout: self.init(.transient, code: "network.timeout", message: error.message)
        case .noAnswer: self.init(.transient, code: "network.no-answer", message: error.message)
        case .unreachable: self.init(.transient, code: "network.unreachable", message: error.message)
        case .handshake: self.init(.transient, code: "network.handshake", message: error.message)
        case .overloaded:
            // No fault of the job's: it comes again when others are through.
            self.init(.throttled(retryAfter: .seconds(1)), code: "network.overloaded", message: error.message)
        case .cancelled: self.init(CancellationError())
        case .closed: self.init(.transient, code: "network.closed", message: error.message)
        case .system: self.init(.transient, code: "network.system", message: error.message)
        }
    }

    init(_ error: FileError) {
        self.init(error.isTransient ? .transient : .permanent, code: error.code, message: error.description)
    }

    /// A download that no more tries of this attempt can mend.
    init(_ error: CurlError) {
        let code =
            switch error.kind {
            case .resolve: "network.no-answer"
            case .connect: "network.unreachable"
            case .timeout: "network.timeout"
            case .tls: "network.tls"
            case .tooLarge: "network.too-large"
            case .protocolNotAllowed: "network.protocol-not-allowed"
            case .badURL: "network.bad-url"
            case .badRequest: "network.bad-request"
            case .addressRefused: "network.address-refused"
            case .tooManyRedirects: "network.too-many-redirects"
            case .overloaded: "network.overloaded"
            case .cancelled: "cancelled"
            case .closed: "network.closed"
            case .interrupted: "network.interrupted"
            }
        let isTransient = error.isTransient || error.kind == .closed || error.kind == .cancelled
        self.init(isTransient ? .transient : .permanent, code: code, message: error.description)
    }
}
