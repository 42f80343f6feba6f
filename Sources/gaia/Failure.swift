import AMQPClient
import ArgumentParser
import FleetBroker
import FleetConfiguration
import FleetHTTP
import FleetStack
import FleetStore
import Foundation
import PostgresClient

/// How a command can fail, as exit statuses that a script can tell apart; the numbers are those of sysexits.h.
enum FailureStatus: Int32 {
    case workFailed = 1
    case usage = 64
    /// What was asked for cannot be done with what is there.
    case refused = 65
    case notFound = 66
    case unavailable = 69
    case inside = 70
    case configuration = 78
}

/// A failure with its exit status and a text that says what to do.
struct CommandFailure: Error, CustomStringConvertible {
    let status: FailureStatus
    let description: String

    init(_ status: FailureStatus, _ description: String) {
        self.status = status
        self.description = description
    }

    /// What any error of our libraries means for a script.
    init(_ error: any Error) {
        switch error {
        case let failure as CommandFailure: self = failure
        case let error as HTTPListenError:
            self.init(error.isTaken ? .unavailable : .configuration, "http.listen (GAIA_HTTP_LISTEN): \(error)")
        case is ConfigurationError: self.init(.configuration, "\(error)")
        case is NotReady, is BrokerNotReady, is StackError: self.init(.unavailable, "\(error)")
        case let error as AMQPError:
            self.init(.unavailable, "the broker: \(error); check amqp.url (GAIA_AMQP_URL)")
        case let error as PostgresError:
            self.init(.unavailable, "the database: \(error); check database.url (GAIA_DATABASE_URL)")
        default: self.init(.inside, "\(error)")
        }
    }
}

/// Runs a command's body; a failure is printed on one line of standard error and becomes the exit status.
func report(_ body: () async throws -> Void) async throws {
    do {
        try await body()
    } catch let code as ExitCode {
        throw code
    } catch let error as ValidationError {
        throw error
    } catch {
        let failure = CommandFailure(error)
        Terminal.error("gaia: \(failure)")
        throw ExitCode(failure.status.rawValue)
    }
}
