import FleetModel

extension JobRecord {
    /// The record as one JSON object: what `gaia job show --json` prints and `GET /v1/jobs/…` answers. Payload, output and
    /// errors pass through as they stand in the ledger.
    public var document: [UInt8] {
        var json = JSONText(reserving: 1_024 + payload.utf8.count + (output?.utf8.count ?? 0) + errors.utf8.count)
        func add(_ name: StaticString, _ value: String?) {
            if let value { json.member(name, value) }
        }
        json.beginObject()
        json.member("subsystem", identity.subsystem)
        json.member("key", identity.key)
        json.member("type", type)
        json.member("state", state)
        json.member("attempt", attempt)
        json.member("max_attempts", attemptsMax)
        json.member("token", token)
        add("worker", worker)
        add("subject", subject)
        add("producer", producer)
        add("reply_to", replyTo)
        add("correlation_id", correlationID)
        json.member("created_at", createdAt)
        add("not_before", notBefore)
        add("deadline_at", deadlineAt)
        add("claimed_at", claimedAt)
        add("finished_at", finishedAt)
        json.member("payload", json: payload)
        if let output { json.member("output", json: output) }
        json.member("errors", json: errors)
        if let progress { json.member("progress", json: progress) }
        json.member("crashes", crashes)
        add("backoff", backoff)
        json.member("urgent", json: isUrgent ? "true" : "false")
        json.endObject()
        return json.bytes
    }
}
