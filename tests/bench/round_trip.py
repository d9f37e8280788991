"""Requests and answers as fast as bare sockets go: round_trip.py URL CONNECTIONS SECONDS prints round trips per second."""
import selectors
import socket
import sys
import time
from urllib.parse import urlsplit

url, connections, seconds = urlsplit(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
request = f"GET {url.path}?email=p1%40acme.example HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode()
# nginx sends a chunked answer in several pieces: it is whole when its last line is there.
ENDS = (b"}", b"0\r\n\r\n")

ready = selectors.DefaultSelector()
for _ in range(connections):
    connection = socket.create_connection((url.hostname, url.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ready.register(connection, selectors.EVENT_READ, bytearray())
    connection.sendall(request)

count, started = 0, time.monotonic()
while time.monotonic() - started < seconds:
    for key, _ in ready.select(timeout=1):
        received = key.fileobj.recv(65536)
        if not received:
            sys.exit("the provider closed a connection")
        key.data.extend(received)
        head, _, body = bytes(key.data).partition(b"\r\n\r\n")
        chunked = b"chunked" in head
        if body and body.endswith(ENDS[chunked]):
            if not head.startswith(b"HTTP/1.1 200 "):
                sys.exit(head.split(b"\r\n")[0].decode())
            count += 1
            key.data.clear()
            key.fileobj.sendall(request)
print(count / (time.monotonic() - started))
