"""A file server whose files, and misbehaviour, are in the URL. Only the standard library.

    /f/SIZE?OPTION=VALUE&...      SIZE bytes, the same each time

id=NAME         counts the requests for this name; the options below that speak of a first request mean it
cut=N           the first `cuts` (1) requests are cut off after N bytes of body
stall=N         the first request stops after N bytes and stays open
change=1        from the second request on it is another file with another ETag
range=ignore    Range is not known; =blind: If-Range is not known; =early, =short, =silent, =gone: a wrong 206 or a 416
etag=none|weak  no ETag, or a weak one; modified=old adds a Last-Modified that holds, modified=now one that does not
nolength=1      no Content-Length, the body ends with the connection
hold=N          nothing is sent before N connections are open
status=N&after=S  this status, with Retry-After
redirect=URL    302

/stats gives what was asked, and how many connections were open at once. Listens on the address in its argument, prints the port.
"""

import asyncio
import json
import random
import sys
from urllib.parse import parse_qs, urlsplit

BLOCK = random.Random(1).randbytes(1 << 20)
OTHER = random.Random(2).randbytes(1 << 20)
seen = {}
log = []
connections = {"open": 0, "most": 0}
changed = asyncio.Condition()


def part(block, first, count):
    at = first % len(block)
    return block[at : at + min(count, len(block) - at)]


async def body(writer, block, first, end, stop):
    """Sends bytes `first` to before `end`, at most `stop` of them."""
    end = min(end, first + stop) if stop is not None else end
    while first < end:
        piece = part(block, first, min(end - first, 65536))
        writer.write(piece)
        first += len(piece)
        await writer.drain()


def head(status, headers):
    lines = [f"HTTP/1.1 {status} Said", "Date: Mon, 30 Nov 2026 12:00:00 GMT", "Connection: close"]
    return ("\r\n".join(lines + [f"{name}: {value}" for name, value in headers]) + "\r\n\r\n").encode()


async def serve_file(writer, size, options, headers):
    name = options.get("id")
    turn = seen[name] = seen.get(name, 0) + 1
    log.append({"id": name, "range": headers.get("range"), "if_range": headers.get("if-range")})
    if "hold" in options:
        async with changed:
            changed.notify_all()
            await changed.wait_for(lambda: connections["most"] >= int(options["hold"]))
    if "status" in options:
        after = [("Retry-After", options["after"])] if "after" in options else []
        writer.write(head(options["status"], after + [("Content-Length", "5")]) + b"sorry")
        return
    if "redirect" in options:
        writer.write(head(302, [("Location", options["redirect"]), ("Content-Length", "0")]))
        return
    is_other = "change" in options and turn > 1
    block = OTHER if is_other else BLOCK
    etag = {"none": None, "weak": 'W/"a"'}.get(options.get("etag"), '"b"' if is_other else '"a"')
    modified = {"old": "Mon, 30 Nov 2026 11:00:00 GMT", "now": "Mon, 30 Nov 2026 12:00:00 GMT"}.get(options.get("modified"))
    answer = [("ETag", etag)] if etag else []
    answer += [("Last-Modified", modified)] if modified else []
    stop = None
    if "cut" in options and turn <= int(options.get("cuts", 1)):
        stop = int(options["cut"])
    if "stall" in options and turn == 1:
        stop = int(options["stall"])
    how = options.get("range")
    first = 0
    wanted = headers.get("range")
    fits = headers.get("if-range") in (etag, modified) or how == "blind"
    if wanted and how != "ignore" and fits:
        first = int(wanted.removeprefix("bytes=").rstrip("-"))
        if first >= size or how == "gone":
            writer.write(head(416, [("Content-Range", f"bytes */{size}"), ("Content-Length", "4")]) + b"none")
            return
        told = {"early": f"bytes {first - 1}-{size - 1}/{size}", "short": f"bytes {first}-{size - 2}/{size}"}
        if how != "silent":
            answer.append(("Content-Range", told.get(how, f"bytes {first}-{size - 1}/{size}")))
        writer.write(head(206, answer + [("Content-Length", size - first)]))
    elif "nolength" in options:
        writer.write(head(200, answer))
    else:
        writer.write(head(200, answer + [("Content-Length", size)]))
    if headers["method"] != "HEAD":
        await body(writer, block, first, size, stop)
    if "stall" in options and turn == 1:
        await writer.drain()
        await asyncio.Event().wait()


async def serve(reader, writer):
    connections["open"] += 1
    connections["most"] = max(connections["most"], connections["open"])
    try:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        headers["method"] = method
        url = urlsplit(target)
        if url.path == "/stats":
            connections["open"] -= 1
            text = json.dumps({"log": log, **connections}).encode()
            connections["open"] += 1
            writer.write(head(200, [("Content-Length", len(text))]) + text)
        else:
            options = {name: values[-1] for name, values in parse_qs(url.query).items()}
            await serve_file(writer, int(url.path.split("/")[2]), options, headers)
        await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        connections["open"] -= 1
        writer.close()


async def main():
    server = await asyncio.start_server(serve, sys.argv[1], 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
