"""The server that the client's tests talk to: plain enough to misbehave in every way they need.

    server.py [CERTIFICATE KEY]

Prints "PORT CONTROL_PORT" once it listens, and serves until it is killed. The control
port answers /stats, and counts anew on /reset, without being counted itself.
"""

import asyncio
import json
import os
import ssl
import sys
import urllib.parse
import zlib

stats = {
    "accepted": 0,  # connections
    "requests": 0,
    "running": 0,  # requests being answered now
    "max_running": 0,
    "open": 0,  # connections now
    "max_open": 0,
    "abandoned": 0,  # connections that the client closed while a request was being answered
    "flowed": 0,  # bytes of body written by /flow
    "is_blocked": False,  # whether the last of /flow waits for its client to read
    "by_path": {},
    "targets": [],  # of the first hundred requests, in order of arrival
}


class Connection(asyncio.Protocol):
    def __init__(self, counted):
        self.counted = counted
        self.buffer = bytearray()
        self.served = 0
        self.busy = False
        self.task = None
        self.room = asyncio.Event()
        self.room.set()

    def connection_made(self, transport):
        self.transport = transport
        if self.counted:
            stats["accepted"] += 1
            stats["open"] += 1
            stats["max_open"] = max(stats["max_open"], stats["open"])

    def connection_lost(self, error):
        if self.counted:
            stats["open"] -= 1
            if self.busy:
                stats["abandoned"] += 1
                stats["running"] -= 1
                self.busy = False
        self.room.set()
        if self.task:
            self.task.cancel()

    def pause_writing(self):
        self.room.clear()

    def resume_writing(self):
        self.room.set()

    def data_received(self, data):
        if data[:1] == b"\x16":
            # Somebody begins to speak TLS to a plain server.
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            self.transport.close()
            return
        self.buffer += data
        self.next()

    def next(self):
        """Answers the request in the buffer, if it is all there and none is being answered."""
        if self.busy:
            return
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        lines = bytes(self.buffer[:end]).decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        headers = [line.split(":", 1) for line in lines[1:]]
        headers = [[name, value.strip()] for name, value in headers]
        length = next((int(v) for n, v in headers if n.lower() == "content-length"), 0)
        if len(self.buffer) < end + 4 + length:
            return
        body = bytes(self.buffer[end + 4 : end + 4 + length])
        del self.buffer[: end + 4 + length]
        self.served += 1
        self.busy = True
        url = urllib.parse.urlsplit(target)
        if self.counted:
            stats["requests"] += 1
            stats["running"] += 1
            stats["max_running"] = max(stats["max_running"], stats["running"])
            if len(stats["targets"]) < 100:
                stats["targets"].append(target)
            stats["by_path"][url.path] = stats["by_path"].get(url.path, 0) + 1
        query = dict(urllib.parse.parse_qsl(url.query))
        route = getattr(self, "on_" + url.path.strip("/").replace("-", "_"), None)
        if route is None:
            self.answer(404, b"no such route")
        elif asyncio.iscoroutinefunction(route):
            self.task = asyncio.get_running_loop().create_task(route(method, target, headers, body, query))
        else:
            route(method, target, headers, body, query)

    def done(self):
        """The request has been answered in full."""
        if self.busy:
            self.busy = False
            if self.counted:
                stats["running"] -= 1
            if self.buffer:
                self.next()

    def answer(self, status, body=b"", headers=(), head=False):
        lines = ["HTTP/1.1 %d Status" % status] + ["%s: %s" % pair for pair in headers]
        if not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in headers):
            lines.append("Content-Length: %d" % len(body))
        self.transport.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (b"" if head else body))
        self.done()

    def start(self, headers):
        lines = ["HTTP/1.1 200 OK"] + ["%s: %s" % pair for pair in headers]
        self.transport.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")

    def chunk(self, data):
        self.transport.write(b"%x\r\n%s\r\n" % (len(data), data))

    # Routes. Those that are coroutines take their time.

    def on_stats(self, *_):
        self.answer(200, json.dumps(stats).encode())

    def on_reset(self, *_):
        for name in stats:
            if name not in ("open", "running"):
                stats[name] = type(stats[name])()
        self.answer(200, json.dumps(stats).encode())

    def on_echo(self, method, target, headers, body, query):
        seen = {"method": method, "target": target, "headers": headers, "body": body.decode("latin-1"), "served": self.served}
        self.answer(int(query.get("status", 200)), json.dumps(seen).encode(), [("Content-Type", "application/json")], method == "HEAD")

    def on_delay(self, method, target, headers, body, query):
        asyncio.get_running_loop().call_later(int(query["ms"]) / 1000, self.answer_if_open, 200, b"ok")

    def answer_if_open(self, status, body):
        if self.busy:
            self.answer(status, body)

    def on_hold(self, *_):
        """Never answered."""

    def on_status(self, method, target, headers, body, query):
        extra = [("Retry-After", query["retry-after"])] if "retry-after" in query else []
        self.answer(int(query["code"]), b"", extra)

    def on_headers(self, method, target, headers, body, query):
        self.answer(200, b"", [("X-Twice", "one"), ("x-twice", "two"), ("X-Empty", ""), ("X-Latin", "caf\xe9"), ("X-Folded", "a\r\n  b")])

    def on_chunked(self, method, target, headers, body, query):
        self.start([("Transfer-Encoding", "chunked"), ("Trailer", "X-Sum")])
        for part in range(int(query["parts"])):
            self.chunk(b"part %d\n" % part)
        self.transport.write(b"0\r\nX-Sum: 42\r\n\r\n")
        self.done()

    def on_bytes(self, method, target, headers, body, query):
        self.answer(200, b"x" * int(query["count"]))

    def on_announce(self, method, target, headers, body, query):
        """Claims a length, and sends nothing."""
        self.start([("Content-Length", query["count"])])

    async def on_endless(self, method, target, headers, body, query):
        self.start([("Transfer-Encoding", "chunked")])
        while True:
            await self.room.wait()
            self.chunk(b"y" * 65536)
            await asyncio.sleep(0)

    async def on_flow(self, method, target, headers, body, query):
        """So many MiB, each of one letter in turn, as fast as the client reads. With "stop" no more than that come."""
        total = int(query["mib"])
        self.start([("Content-Length", str(total << 20))])
        for mib in range(int(query.get("stop", total))):
            for _ in range(16):
                stats["is_blocked"] = not self.room.is_set()
                await self.room.wait()
                stats["is_blocked"] = False
                self.transport.write(bytes([97 + mib % 26]) * 65536)
                stats["flowed"] += 65536
                await asyncio.sleep(0)
        if "stop" not in query:
            self.done()

    async def on_endless_headers(self, method, target, headers, body, query):
        self.transport.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            await self.room.wait()
            self.transport.write(b"X-More: " + b"z" * 1000 + b"\r\n")
            await asyncio.sleep(0)

    async def on_endless_interim(self, method, target, headers, body, query):
        while True:
            await self.room.wait()
            self.transport.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            await asyncio.sleep(0)

    async def on_drip(self, method, target, headers, body, query):
        self.start([("Content-Length", "100000")])
        while True:
            self.transport.write(b".")
            await asyncio.sleep(0.01)

    def on_gzip(self, method, target, headers, body, query):
        """So many MiB of zeros, which gzip makes a thousandth of."""
        squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
        packed = b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(int(query["mib"]))) + squeeze.flush()
        self.answer(200, packed, [("Content-Encoding", query.get("name", "gzip"))])

    def on_transfer_coding(self, method, target, headers, body, query):
        self.start([("Transfer-Encoding", query["name"] + ", chunked")])
        self.chunk(b"whatever")
        self.transport.write(b"0\r\n\r\n")
        self.done()

    def on_redirect(self, method, target, headers, body, query):
        body = b"moved" * int(query.get("times", 1))
        self.answer(int(query.get("code", 302)), body, [("Location", query["to"])])

    def on_count_down(self, method, target, headers, body, query):
        left = int(query["left"])
        if left == 0:
            self.answer(200, b"landed")
        else:
            self.answer(302, b"", [("Location", "count-down?left=%d" % (left - 1))])

    def on_drop(self, method, target, headers, body, query):
        """Half an answer, then the connection goes."""
        self.start([("Content-Length", "1000")])
        self.transport.write(b"half")
        self.transport.close()

    def on_die(self, method, target, headers, body, query):
        """Half an answer, then the whole server goes."""
        self.start([("Content-Length", "1000")])
        self.transport.write(b"half")
        asyncio.get_running_loop().call_later(0.05, os._exit, 1)

    def on_stale(self, method, target, headers, body, query):
        """Answers the first request of a connection; reads the second and closes without a word, as a server does that gave up
        on an idle connection just then."""
        if self.served == 1:
            self.answer(200, b"first")
        else:
            self.transport.close()


async def main():
    context = None
    if len(sys.argv) == 3:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(True), "127.0.0.1", 0, backlog=4096, ssl=context)
    # More addresses, for clients that count connections by host.
    for other in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
        await loop.create_server(lambda: Connection(True), other, server.sockets[0].getsockname()[1], backlog=4096, ssl=context)
    control = await loop.create_server(lambda: Connection(False), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], control.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
