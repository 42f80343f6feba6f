"""A name server that misbehaves: the first label of the name says how.

Prints its port (UDP and TCP), then one line per query: transport, name, type. Only the standard library.
"""

import collections
import socket
import struct
import threading
import time

GOOD = bytes([192, 0, 2, 1])
EVIL = bytes([203, 0, 113, 66])
A, CNAME, SOA, TXT = 1, 5, 6, 16


def wire(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part) + b"\0"


def record(name, kind, ttl, data):
    return (name if isinstance(name, bytes) else wire(name)) + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data


class Query:
    def __init__(self, message):
        self.id = message[:2]
        self.extra = struct.unpack(">H", message[10:12])[0]
        end = 12
        while message[end]:
            end += 1 + message[end]
        end += 1
        self.raw_name = message[12:end]
        self.name = b".".join(self._labels()).decode().lower()
        self.kind = struct.unpack(">H", message[end : end + 2])[0]
        self.question = message[12 : end + 4]

    def _labels(self):
        at = 0
        while self.raw_name[at]:
            yield self.raw_name[at + 1 : at + 1 + self.raw_name[at]]
            at += 1 + self.raw_name[at]

    def reply(self, answers=(), authorities=(), additional=(), flags=0x8180, id=None, question=None, counts=None):
        counts = counts or (1, len(answers), len(authorities), len(additional))
        return (
            (id or self.id)
            + struct.pack(">HHHHH", flags, *counts)
            + (self.question if question is None else question)
            + b"".join(answers)
            + b"".join(authorities)
            + b"".join(additional)
        )

    def address(self, value, ttl=60, name=b"\xc0\x0c"):
        return record(name, A, ttl, value)


released = collections.defaultdict(threading.Event)


def answers(query, transport):
    """The datagrams or messages that answer a query; a callable is given the socket and the asker."""
    how = query.name.split(".")[0]
    good = query.reply([query.address(GOOD)])
    evil = [query.address(EVIL)]
    if transport == "tcp":
        if how == "half":
            return [good[:20]]
        if how == "shout":
            return [query.reply([query.address(GOOD)], question=query.question.upper())]
        return [good]
    if how == "wrongid":
        return [query.reply(evil, id=bytes([query.id[0] ^ 1, query.id[1]])), good]
    if how == "wrongname":
        other = wire("other.test") + query.question[-4:]
        return [query.reply(evil, question=other), good]
    if how == "wrongtype":
        return [query.reply(evil, question=query.question[:-4] + struct.pack(">HH", TXT, 1)), good]
    if how == "noquestion":
        return [query.reply(evil, question=b"", counts=(0, 1, 0, 0)), good]
    if how == "echo":
        return [query.reply(evil, flags=0x0100), good]
    if how == "othersource":
        return [("elsewhere", query.reply(evil)), good]
    if how == "short":
        return [good[:5], good]
    if how == "giant":
        return [query.reply(evil + [record("x.test", TXT, 60, b"\xff" + b"x" * 255)] * 20), good]
    if how == "flood":
        return [query.reply(evil, id=bytes([query.id[0] ^ 1, query.id[1]]))] * 200
    if how == "bailiwick":
        stranger = record("bank.test", A, 60, EVIL)
        return [query.reply([stranger, query.address(GOOD)], [], [stranger])]
    if how == "strangeronly":
        return [query.reply([record("bank.test", A, 60, EVIL)])]
    if how == "foreignsoa":
        return [query.reply([], [soa("elsewhere.example", 60)], flags=0x8183)]
    if how == "truncated":
        return [query.reply(evil, flags=0x8380)]
    if how in ("half", "big"):
        return [query.reply([], flags=0x8380)]
    if how == "case" or how == "shout":
        return [query.reply(evil, question=query.question.lower())]
    if how == "loop":
        return [query.reply([query.address(GOOD, name=b"\xc0" + bytes([12 + len(query.question)]))])]
    if how == "cut":
        return [good[:-2]]
    if how == "liar":
        return [query.reply([query.address(GOOD)], counts=(1, 65535, 0, 0))]
    if how == "servfail":
        return [query.reply([], flags=0x8182)]
    if how == "refused":
        return [query.reply([], flags=0x8185)]
    if how == "old":
        return [query.reply([], flags=0x8181) if query.extra else good]
    if how == "circle":
        return [query.reply([record(b"\xc0\x0c", CNAME, 60, wire("b.test")), record("b.test", CNAME, 60, query.raw_name)])]
    if how == "step":
        return [query.reply([record(b"\xc0\x0c", CNAME, 60, wire("stepback.test"))])]
    if how == "stepback":
        return [query.reply([record(b"\xc0\x0c", CNAME, 60, wire("step.test"))])]
    if how == "gone":
        return [query.reply([], [soa("test", 60, 30)], flags=0x8183)]
    if how == "gonequiet":
        return [query.reply([], flags=0x8183)]
    if how == "silent":
        return []
    if how == "zero":
        return [query.reply([query.address(GOOD, ttl=0)])]
    if how == "slow":
        time.sleep(0.2)
        return [good]
    if how == "held":
        # Until somebody asks for the same name below "free".
        released[query.name.split(".", 1)[1]].wait()
        return [good]
    if how == "free":
        released[query.name.split(".", 1)[1]].set()
        return [good]
    return [good]


def soa(zone, ttl, minimum=60):
    return record(zone, SOA, ttl, wire("ns." + zone) + wire("admin." + zone) + struct.pack(">IIIII", 1, 2, 3, 4, minimum))


noting = threading.Lock()


def note(transport, query):
    with noting:
        print(transport, query.name, query.kind, flush=True)


def serve_udp(udp):
    elsewhere = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    elsewhere.bind(("127.0.0.1", 0))

    def answer(message, asker):
        query = Query(message)
        note("udp", query)
        for item in answers(query, "udp"):
            if isinstance(item, tuple):
                elsewhere.sendto(item[1], asker)
                time.sleep(0.02)
            else:
                udp.sendto(item, asker)

    while True:
        threading.Thread(target=answer, args=udp.recvfrom(4096), daemon=True).start()


def serve_tcp(tcp):
    def answer(connection):
        with connection:
            data = connection.recv(4096)
            query = Query(data[2:])
            note("tcp", query)
            for item in answers(query, "tcp"):
                connection.sendall(struct.pack(">H", 65535 if item is None else len(item) + (9 if query.name.startswith("half") else 0)) + item)

    while True:
        threading.Thread(target=answer, args=(tcp.accept()[0],), daemon=True).start()


while True:
    tcp = socket.socket()
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    tcp.bind(("127.0.0.1", 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        udp.bind(tcp.getsockname())
        break
    except OSError:
        tcp.close()
tcp.listen(64)
threading.Thread(target=serve_tcp, args=(tcp,), daemon=True).start()
print(tcp.getsockname()[1], flush=True)
serve_udp(udp)
