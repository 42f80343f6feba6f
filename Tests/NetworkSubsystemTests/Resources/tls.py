"""TLS servers that only shake hands: one port for each pair of certificate and key in the arguments, then one port that
talks nonsense, and one that says nothing. Prints the ports. Only the standard library.
"""

import socket
import ssl
import sys
import threading


def listen():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(256)
    print(listener.getsockname()[1], end=" ", flush=True)
    return listener


def serve(listener, greet):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=greet, args=(connection,), daemon=True).start()


def shake(context):
    def greet(connection):
        try:
            with context.wrap_socket(connection, server_side=True) as session:
                session.recv(1)
        except OSError:
            pass

    return greet


def nonsense(connection):
    with connection:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


silent = []

for certificate, key in zip(sys.argv[1::2], sys.argv[2::2]):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    threading.Thread(target=serve, args=(listen(), shake(context))).start()
threading.Thread(target=serve, args=(listen(), nonsense)).start()
threading.Thread(target=serve, args=(listen(), silent.append)).start()
print(flush=True)
