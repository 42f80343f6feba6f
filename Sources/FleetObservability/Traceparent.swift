package import Tracing

extension Instrument {
    /// The context of whoever caused something, for spans that follow from it.
    ///
    /// - Parameter traceparent: as it came with a message or request (https://www.w3.org/TR/trace-context/); with none, or
    ///   one that cannot be read, a trace begins here.
    package func context(from traceparent: String?) -> ServiceContext {
        var context = ServiceContext.topLevel
        if traceparent != nil { extract(traceparent, into: &context, using: Traceparent()) }
        return context
    }

    /// What is to be sent with whatever follows from a span; nil when nobody traces.
    package func traceparent(of context: ServiceContext) -> String? {
        var text: String?
        inject(context, into: &text, using: Traceparent())
        return text
    }
}

/// A carrier that is the one header alone.
private struct Traceparent: Extractor, Injector {
    static let key = "traceparent"

    func extract(key: String, from carrier: String?) -> String? { key == Self.key ? carrier : nil }

    func inject(_ value: String, forKey key: String, into carrier: inout String?) {
        if key == Self.key { carrier = value }
    }
}

extension ContinuousClock.Instant {
    /// The same moment by the wall clock, as spans have it.
    package var traced: DefaultTracerClock.Timestamp {
        let ago = (ContinuousClock.now - self).nanoseconds
        return .init(nanosecondsSinceEpoch: UInt64(max(0, Int64(DefaultTracerClock.now.nanosecondsSinceEpoch) - ago)))
    }
}

extension Tracing.Span {
    /// Adds attributes; for a span that is not recorded they are not even made.
    package func set(_ values: @autoclosure () -> [String: SpanAttribute?]) {
        guard isRecording else { return }
        let values = values()
        updateAttributes { attributes in
            for case (let name, let value?) in values { attributes[name] = value }
        }
    }

    /// Describes what is done with a message, as OpenTelemetry's conventions have it.
    ///
    /// - Parameters:
    ///   - operation: `send` or `process`.
    ///   - destination: exchange, routing key and queue, as far as there are, with colons.
    ///   - more: what else there is to say.
    package func setMessaging(
        _ operation: String, _ destination: @autoclosure () -> String,
        _ more: @autoclosure () -> [String: SpanAttribute?] = [:]
    ) {
        set(
            more().merging([
                "messaging.system": "rabbitmq", "messaging.operation.name": .string(operation),
                "messaging.operation.type": .string(operation), "messaging.destination.name": .string(destination()),
            ]) { $1 })
    }

    /// Ends it with an error, of which it tells the code and nothing else: what an error says may quote what is not for
    /// everybody who sees traces.
    package func fail(_ code: String, at instant: ContinuousClock.Instant = .now) {
        set(["error.type": .string(code)])
        setStatus(SpanStatus(code: .error, message: code))
        end(at: instant.traced)
    }
}
