"""Pages for the tests of browser jobs.

Listens on one port of 127.0.0.1, which the jobs may reach, and on the same of 127.0.0.2, which they may not. It prints the
port, and tells by /log what was asked of either.
"""
import hashlib, json, re, select, socket, struct, sys, threading, time, zlib
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

pages = Path(__file__).parent / 'pages'
log, log_lock = [], threading.Lock()


def png(width, height, colour):
    """A picture of one colour."""
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    row = b'\0' + bytes(colour) * width
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0))
            + chunk(b'IDAT', zlib.compress(row * height)) + chunk(b'IEND', b''))


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_):
        pass

    def answer(self, body, kind='text/html; charset=utf-8', status=200, headers=()):
        if isinstance(body, str):
            body = body.encode()
        self.send_response(status)
        for name, value in [('Content-Type', kind), ('Content-Length', str(len(body))), *headers]:
            self.send_header(name, value)
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    def until_gone(self):
        """Sends nothing more until the client has had enough."""
        self.close_connection = True
        select.select([self.connection], [], [], 120)

    def do_GET(self):
        url = urlsplit(self.path)
        asked = dict(parse_qsl(url.query))
        address = self.server.server_address[0]
        if url.path != '/log':
            with log_lock:
                log.append({'address': address, 'method': self.command, 'path': url.path, 'query': url.query,
                            'headers': {name.lower(): value for name, value in self.headers.items()}})
        route = getattr(self, 'get_' + url.path.strip('/').replace('-', '_').replace('/', '__'), None)
        if route:
            route(asked)
        elif (page := pages / (url.path.strip('/') + '.html')).is_file():
            own, port = f'127.0.0.1:{self.server.server_port}', self.server.server_port
            self.answer(page.read_text().replace('%OWN%', own).replace('%INSIDE%', f'127.0.0.2:{port}')
                        .replace('%PORT%', str(port)))
        else:
            self.answer('<title>Not here</title><p>There is no such page.', status=404)

    do_HEAD = do_GET

    def get_log(self, asked):
        with log_lock:
            found = [entry for entry in log if asked.get('id', '') in entry['query']]
        self.answer(json.dumps(found), 'application/json')

    def get_status(self, asked):
        status = int(asked['status'])
        headers = [('Retry-After', asked['after'])] if 'after' in asked else []
        self.answer(f'<title>Status {status}</title><p>It is {status}.', status=status, headers=headers)

    def get_redirect(self, asked):
        self.answer('', status=int(asked.get('status', '302')), headers=[('Location', asked['to'])])

    def get_nothing(self, _):
        """No content: the browser stays where it is."""
        self.send_response(204)
        self.end_headers()

    def get_slow(self, asked):
        """The head comes late."""
        time.sleep(int(asked['ms']) / 1000)
        self.answer('<title>Slow</title><p>Here at last.')

    def get_silent(self, _):
        """No answer at all."""
        self.until_gone()

    def get_never(self, _):
        """A page that is always still to come."""
        self.send_response(200)
        self.send_header('Content-Type', 'text/html')
        self.end_headers()
        self.wfile.write(b'<title>Never</title><p id=first>The first words.' + b' ' * 2048)
        self.wfile.flush()
        self.until_gone()

    def get_cut(self, _):
        """Less than was announced."""
        self.send_response(200)
        self.send_header('Content-Type', 'text/html')
        self.send_header('Content-Length', '10000')
        self.end_headers()
        self.wfile.write(b'<title>Cut</title>')
        self.close_connection = True

    def get_big(self, asked):
        """So many megabytes of text."""
        count = int(asked['mb'])
        line = ('Grüße aus dem Wörterbuch, und noch eine Zeile. ' * 20).encode()
        megabyte = b'<p>' + (line * (1_000_000 // len(line) + 1))[:999_990].decode('utf-8', 'ignore').encode()
        megabyte += b' ' * (1_000_000 - len(megabyte))
        self.send_response(200)
        self.send_header('Content-Type', 'text/html; charset=utf-8')
        self.send_header('Content-Length', str(28 + count * len(megabyte)))
        self.end_headers()
        self.wfile.write(b'<title>Big</title><body>    ')
        for _ in range(count):
            self.wfile.write(megabyte)

    def get_headers(self, _):
        found = {name.lower(): value for name, value in self.headers.items()}
        self.answer('<title>Headers</title><pre id=headers>' + json.dumps(found).replace('<', '&lt;') + '</pre>')

    def get_set_cookie(self, asked):
        self.answer('<title>Set</title>', headers=[('Set-Cookie', f"{asked['name']}={asked['value']}; Path=/")])

    def get_image(self, asked):
        self.answer(png(40, 40, (0, 128, 0)), 'image/png')

    def get_text(self, asked):
        self.answer(asked.get('text', 'words'), 'text/plain', headers=[('Access-Control-Allow-Origin', '*')])

    def get_hang(self, _):
        """A request of a page that stays under way."""
        self.until_gone()

    def get_attachment(self, asked):
        time.sleep(int(asked.get('ms', '0')) / 1000)
        self.answer('a,b\n1,2\n' * int(asked.get('lines', '1')), 'text/csv',
                    headers=[('Content-Disposition', 'attachment; filename="../../table.csv"')])

    def get_style(self, _):
        self.answer('body { font-family: "DejaVu Sans", sans-serif; margin: 2em } h1 { color: #205080 }', 'text/css')

    def do_POST(self):
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get('Content-Length', '0')))
        kind = self.headers.get('Content-Type', '')
        fields = {}
        if kind.startswith('multipart/form-data'):
            message = BytesParser(policy=HTTP).parsebytes(b'Content-Type: ' + kind.encode() + b'\r\n\r\n' + body)
            for part in message.iter_parts():
                name = part.get_param('name', header='content-disposition')
                data = part.get_payload(decode=True)
                file = part.get_filename()
                text = f'{file} {len(data)} {hashlib.sha256(data).hexdigest()}' if file is not None else data.decode()
                fields[name] = text
        else:
            fields = dict(parse_qsl(body.decode()))
        with log_lock:
            log.append({'address': self.server.server_address[0], 'method': 'POST', 'path': url.path,
                        'query': url.query, 'headers': {}, 'fields': fields})
        rows = ''.join(f'<dt>{name}<dd id="{name}">{value}</dd>' for name, value in fields.items())
        self.answer(f'<title>Received</title><h1>Received</h1><dl>{rows}</dl>')


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, *_):
        pass  # Browsers leave as they like.


for _ in range(50):
    own = Server(('127.0.0.1', 0), Handler)
    try:
        inside = Server(('127.0.0.2', own.server_port), Handler)
        break
    except OSError:
        own.server_close()
threading.Thread(target=inside.serve_forever, daemon=True).start()
print(own.server_port, flush=True)
own.serve_forever()
