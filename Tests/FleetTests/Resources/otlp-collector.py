"""A collector for tests: takes OTLP over HTTP and reads it with OpenTelemetry's own definitions.

    otlp-collector.py PORT_FILE LOG

Writes its port, then a line of JSON for each request: the status that it answered, what was wrong, the headers, and the
spans. The first requests are answered as PLAN says, statuses with commas; whatever it accepts it has read strictly: a
member that OTLP does not know, an id of the wrong length or a number of the wrong kind is an error.
"""
import base64
import http.server
import json
import os
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PLAN = [int(status) for status in os.environ.get("PLAN", "").split(",") if status]


def as_protobuf_wants(value):
    """OTLP has ids in hexadecimal where Protobuf's JSON has base64."""
    if isinstance(value, list):
        return [as_protobuf_wants(item) for item in value]
    if not isinstance(value, dict):
        return value
    ids = {"traceId": 16, "spanId": 8, "parentSpanId": 8}
    for name, length in ids.items():
        if name in value and len(bytes.fromhex(value[name])) != length:
            raise ValueError(f"{name} has not {length} bytes: {value[name]}")
    return {
        name: base64.b64encode(bytes.fromhex(item)).decode() if name in ids else as_protobuf_wants(item)
        for name, item in value.items()}


def attributes(pairs):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


def read(body):
    request = json_format.ParseDict(as_protobuf_wants(json.loads(body)), ExportTraceServiceRequest())
    return [
        {
            "trace": span.trace_id.hex(), "span": span.span_id.hex(), "parent": span.parent_span_id.hex(),
            "name": span.name, "kind": span.kind, "start": span.start_time_unix_nano, "end": span.end_time_unix_nano,
            "status": span.status.code, "message": span.status.message,
            "attributes": {name: str(value) for name, value in attributes(span.attributes).items()},
            "events": [event.name for event in span.events], "links": [link.trace_id.hex() for link in span.links],
            "service": attributes(resource.resource.attributes).get("service.name", "")}
        for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]


class Collector(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        entry = {"headers": dict(self.headers), "path": self.path, "error": "", "spans": []}
        status = PLAN.pop(0) if PLAN else 200
        if status == 200:
            try:
                if self.headers["Content-Type"] != "application/json":
                    raise ValueError(f"content type {self.headers['Content-Type']}")
                entry["spans"] = read(body)
            except Exception as error:
                status, entry["error"] = 400, str(error)
        entry["status"] = status
        with open(sys.argv[2], "a") as log:
            log.write(json.dumps(entry) + "\n")
        answer = b"{}"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        if status == 503:
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
with open(sys.argv[1] + ".part", "w") as file:
    file.write(str(server.server_port))
os.rename(sys.argv[1] + ".part", sys.argv[1])
server.serve_forever()
