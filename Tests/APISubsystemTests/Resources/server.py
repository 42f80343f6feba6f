"""The service that the calls of the tests go to.

Prints its port once it listens, and serves until it is killed.

    /echo                  what was asked, as JSON
    /status/N[?after=S]    status N with an excuse, and Retry-After: S
    /bytes/N               a body of N bytes
    /binary                a body that is not text
    /headers               one header twice
    /silence               no answer
"""

import http.server
import json
import threading
import urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length).decode("utf-8", "replace")
        url = urllib.parse.urlsplit(self.path)
        parts = url.path.strip("/").split("/")
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
            self.send(200, b"x" * int(parts[1]))
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
    request_queue_size = 128


server = Server(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
