"""The service that the calls of the tests go to.

Prints its port once it listens, and serves until it is killed.

    /echo                  what was asked, as JSON
    /status/N[?after=S]    status N with an excuse, and Retry-After: S
    /bytes/N               a body of N bytes
    /binary                a body that is not text
    /headers               one header twice
    /hops/N[?wait=S]       after S seconds a redirect to /hops/N-1, the last of which is a body
    /to?url=U              a redirect to U
    /endless?status=N[&to=U]   a body without end, of a redirect to U
    /bomb/N                N MiB of zeros, packed to a thousandth
    /count                 how many requests there were since /count was asked last, and how many connections
    /silence               no answer
"""

import http.server
import json
import threading
import urllib.parse
import zlib


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length).decode("utf-8", "replace")
        url = urllib.parse.urlsplit(self.path)
        parts = url.path.strip("/").split("/")
        if parts[0] == "count":
            with Server.lock:
                counts = {"requests": Server.requests, "connections": Server.connections}
                Server.requests = Server.connections = 0
            self.send(200, json.dumps(counts).encode())
            return
        with Server.lock:
            Server.requests += 1
        query = dict(urllib.parse.parse_qsl(url.query))
        if parts[0] == "echo":
            asked = {
                "method": self.command,
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "body": body,
            }
            self.send(200, json.dumps(asked).encode())
        elif parts[0] == "status":
            after = urllib.parse.parse_qs(url.query).get("after")
            self.send(int(parts[1]), b"the kitchen is closed", [("Retry-After", after[0])] if after else [])
        elif parts[0] == "bytes":
            self.send(int(query.get("status", 200)), b"x" * int(parts[1]))
        elif parts[0] == "hops":
            left = int(parts[1])
            threading.Event().wait(float(query.get("wait", 0)))
            place = "/hops/%d?%s" % (left - 1, url.query)
            self.send(302, b"on", [("Location", place)]) if left else self.send(200, b"landed")
        elif parts[0] == "to":
            self.send(302, b"", [("Location", query["url"])])
        elif parts[0] == "endless":
            self.send_response(int(query.get("status", 200)))
            self.send_header("Transfer-Encoding", "chunked")
            if "to" in query:
                self.send_header("Location", query["to"])
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"10000\r\n" + b"y" * 65536 + b"\r\n")
            except OSError:
                self.close_connection = True
        elif parts[0] == "bomb":
            squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
            packed = b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(int(parts[1]))) + squeeze.flush()
            self.send(200, packed, [("Content-Encoding", "gzip")])
        elif parts[0] == "binary":
            self.send(200, bytes([0, 255, 254, 65]))
        elif parts[0] == "headers":
            self.send(200, b"", [("X-One", "a"), ("x-one", "b")])
        else:
            threading.Event().wait()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def send(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024
    lock = threading.Lock()
    requests = 0
    connections = 0

    def get_request(self):
        with Server.lock:
            Server.connections += 1
        return super().get_request()


server = Server(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
