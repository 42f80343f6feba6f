import AMQPClient
import FleetModel

/// The headers that the fleet reads and writes.
public enum JobHeader {
    public static let deadline = "x-gaia-deadline-ms"
    public static let attemptsMax = "x-gaia-max-attempts"
    public static let backoff = "x-gaia-backoff"
    public static let subject = "x-gaia-subject"
    public static let traceparent = "traceparent"
    /// As RabbitMQ's own interceptor calls it (`message_interceptors.incoming.set_header_timestamp`).
    public static let publishedAt = "timestamp_in_ms"
    public static let reason = "x-gaia-reason"
    public static let error = "x-gaia-error"
    public static let queue = "x-gaia-queue"
    public static let worker = "x-gaia-worker"
}

extension AMQPDelivery {
    /// When it was published, in milliseconds since 1970, as far as the message says.
    public var publishedAt: Int64? {
        if case .int(let time) = properties.headers[JobHeader.publishedAt] { return time }
        return properties.timestamp.flatMap { $0 < 1 << 40 ? Int64($0) * 1_000 : nil }
    }

    /// From which trace it comes. One that is flawed is none: nothing is refused for how it is traced.
    public var traceparent: String? {
        guard case .string(let text) = properties.headers[JobHeader.traceparent], Job.flaw(inShortText: text) == nil
        else { return nil }
        return text
    }
}

extension Job {
    /// The job as a message to `gaia.jobs`.
    ///
    /// - Parameter time: when it is published, in milliseconds since 1970, for whoever asks how long it was in the queue.
    public func message(publishedAt time: Int64? = nil) -> AMQPMessage {
        var properties = AMQPProperties()
        properties.contentType = "application/json"
        properties.messageID = key
        properties.type = type.name
        properties.correlationID = correlationID
        properties.replyTo = replyTo
        properties.appID = producer
        if let deadline { properties.headers[JobHeader.deadline] = .int(deadline.milliseconds) }
        if let attemptsMax { properties.headers[JobHeader.attemptsMax] = .int(Int64(attemptsMax)) }
        if let backoff { properties.headers[JobHeader.backoff] = .string(backoff.description) }
        if let subject { properties.headers[JobHeader.subject] = .string(subject) }
        if let time { properties.headers[JobHeader.publishedAt] = .int(time) }
        if let traceparent { properties.headers[JobHeader.traceparent] = .string(traceparent) }
        return AMQPMessage(
            exchange: FleetBroker.jobsExchange,
            routingKey: isUrgent ? FleetBroker.urgentPrefix + type.name : type.name, mandatory: true,
            properties: properties,
            body: payload)
    }

    /// Reads what any AMQP client may have sent. Only properties are looked at; the payload is read by its type.
    ///
    /// - Parameter known: a type by its name, where the reader knows it: such a name needs no check, and all jobs of the type
    ///   share one copy of it.
    public init(
        _ delivery: AMQPDelivery, payloadBytesMax: Int, known: (String) -> JobType? = { _ in nil }
    ) throws(Rejection) {
        let properties = delivery.properties
        if delivery.flaws.contains(.oversize) || delivery.bodyBytes > UInt64(payloadBytesMax) {
            throw Rejection(
                .tooLarge,
                "the payload has \(delivery.bodyBytes) bytes, at most \(payloadBytesMax) are taken "
                    + "(limits.payload_bytes); put large data where the job can fetch it")
        }
        if delivery.flaws.contains(.invalidUTF8) {
            throw Rejection(.malformed, "a property holds bytes that are not UTF-8; send properties as UTF-8")
        }
        if delivery.flaws.contains(.headersTooDeep) {
            throw Rejection(.malformed, "the header table nests too deep; the fleet's headers are flat")
        }
        let isUrgent = delivery.routingKey.hasPrefix(FleetBroker.urgentPrefix)
        let name =
            properties.type
            ?? (isUrgent
                ? String(delivery.routingKey.dropFirst(FleetBroker.urgentPrefix.count)) : delivery.routingKey)
        let type: JobType
        do {
            type = try known(name) ?? JobType(validating: name)
        } catch {
            throw Rejection(.unknownType, "the message property 'type' must name a job type: \(error)")
        }
        guard let key = properties.messageID else {
            throw Rejection(
                .missingKey, "the message has no message_id; it is the idempotency key, by which repeats are found")
        }
        if let flaw = Job.flaw(inKey: key) { throw Rejection(.missingKey, "message_id: \(flaw)") }
        for (name, value) in [
            ("reply_to", properties.replyTo), ("correlation_id", properties.correlationID),
            ("app_id", properties.appID),
        ] {
            if let value, let flaw = Job.flaw(inShortText: value) { throw Rejection(.malformed, "\(name) \(flaw)") }
        }
        self.init(
            type: type, key: key, payload: delivery.body, replyTo: properties.replyTo,
            correlationID: properties.correlationID,
            subject: try Self.text(JobHeader.subject, properties.headers),
            traceparent: delivery.traceparent,
            deadline: try Self.number(JobHeader.deadline, 1...Int64(1) << 42, properties.headers)
                .map { .milliseconds($0) },
            attemptsMax: try Self.number(
                JobHeader.attemptsMax, 1...Int64(RetryPolicy.attemptsCeiling), properties.headers
            ).map { Int($0) },
            backoff: try Self.backoff(properties.headers), isUrgent: isUrgent, producer: properties.appID)
    }

    private static func backoff(_ headers: [String: AMQPValue]) throws(Rejection) -> Backoff? {
        guard let text = try text(JobHeader.backoff, headers) else { return nil }
        do { return try Backoff(parsing: text) } catch {
            throw Rejection(.malformed, "the header \(JobHeader.backoff): \(error)")
        }
    }

    private static func number(
        _ name: String, _ range: ClosedRange<Int64>, _ headers: [String: AMQPValue]
    ) throws(Rejection) -> Int64? {
        guard let value = headers[name] else { return nil }
        guard case .int(let number) = value, range.contains(number) else {
            throw Rejection(
                .malformed, "the header \(name) must be a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    private static func text(_ name: String, _ headers: [String: AMQPValue]) throws(Rejection) -> String? {
        guard let value = headers[name] else { return nil }
        guard case .string(let text) = value, Job.flaw(inShortText: text) == nil else {
            throw Rejection(.malformed, "the header \(name) must be a string of at most 255 bytes")
        }
        return text
    }
}

/// Why a message is set aside instead of run.
public struct Rejection: Error, Sendable, Equatable, CustomStringConvertible {
    /// The stable word for it, found in the header `x-gaia-reason`.
    public enum Reason: String, Sendable, Equatable, CaseIterable {
        case tooLarge = "too-large"
        case malformed = "malformed"
        case unknownType = "unknown-type"
        case missingKey = "missing-key"
        case invalidJSON = "invalid-json"
        case invalidParameters = "invalid-parameters"
        case conflict = "conflict"
    }

    public let reason: Reason
    /// What is wrong and what to do about it.
    public let description: String

    public init(_ reason: Reason, _ description: String) {
        self.reason = reason
        self.description = description
    }
}
