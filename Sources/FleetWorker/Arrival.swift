import AMQPClient
import FleetBroker
import FleetModel
import FleetStore

/// A delivery that has been read: a job that this worker has a handler for, its payload decoded once. It goes through many
/// hands, and so is an object: a copy of its three dozen strings and arrays would cost more than the job's claim.
package final class Arrival: Sendable {
    package let job: Job
    package let identity: JobIdentity
    /// In canonical form.
    package let payload: String
    let definition: JobDefinition
    let run: JobDefinition.Prepared
    /// Without its body.
    let delivery: AMQPDelivery
    let delivered = ContinuousClock.now
    /// What counts jobs of its type.
    let metrics: JobMetrics.OfType
    /// How long it was in the broker's queue, by the clocks of two machines; nil when the message does not say.
    let queued: Duration?

    /// Reads a delivery, or says why it must be set aside. Nothing has been claimed yet: a flawed message does not use up
    /// its key, and the corrected one may have it.
    ///
    /// - Parameter definitions: what this worker has handlers for, by their types' names.
    package init(
        _ delivery: AMQPDelivery, definitions: [String: JobDefinition], metrics: JobMetrics, payloadBytesMax: Int
    ) throws(Rejection) {
        var handler: JobDefinition?
        var job = try Job(delivery, payloadBytesMax: payloadBytesMax) { name in
            handler = definitions[name]
            return handler?.type
        }
        guard let definition = handler else {
            throw Rejection(
                .unknownType,
                "no handler for type '\(job.type)' in this worker; it knows "
                    + definitions.keys.sorted().joined(separator: ", ")
                    + "; correct the type, or deploy workers that know it and replay the message")
        }
        let payload: String
        do {
            payload = try CanonicalJSON.text(of: job.payload)
        } catch {
            throw Rejection(.invalidJSON, error.description)
        }
        do {
            run = try definition.prepare(job.payload)
        } catch {
            throw Rejection(
                .invalidParameters, "the payload is no \(job.type): \(error); gaia types \(job.type) prints the schema")
        }
        // The canonical text is what is kept; two copies of every payload in flight would be one too many.
        job.payload = []
        var delivery = delivery
        delivery.body = []
        queued = delivery.publishedAt.map { max(.zero, .milliseconds(WallClock.milliseconds - $0)) }
        self.job = job
        identity = job.identity
        self.payload = payload
        self.definition = definition
        self.metrics = metrics.of(definition.type)
        self.delivery = delivery
    }

    package var tag: AMQPDeliveryTag { delivery.tag }

    /// The delivery with its body, to set it aside; the body is in canonical form by now.
    var whole: AMQPDelivery {
        var delivery = delivery
        delivery.body = Array(payload.utf8)
        return delivery
    }

    var claim: ClaimRequest {
        ClaimRequest(
            job: job, payload: payload, attemptsMax: job.attemptsMax ?? definition.retry.attemptsMax,
            isRepeatable: run.isRepeatable)
    }
}
