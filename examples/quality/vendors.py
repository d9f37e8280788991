#!/usr/bin/env python3
"""Two vendors of contact data on this machine. Prints its address, and answers until it is ended.

/atlas    knows everybody; what it says of the second thousand is junk
/beacon   knows nine of ten, and is right
/beacon/later   the same vendor half a year later: one in fifty has another job by then
"""

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

TITLES = ["Editor", "Head of Sales", "Buyer", "Data Engineer", "Office Manager", "Chief Financial Officer"]


def answer(path, email, name):
    """What a vendor says of a person; None: nothing."""
    n = int(re.search(r"\d+", email).group())
    if email.endswith("@quiet.example") or (path != "/atlas" and n % 10 == 0):
        return None
    if email.endswith("@mixup.example"):
        name = "Zoe Unrelated"
    if path == "/atlas" and n > 1000:
        return {"name": name, "title": "Chief Everything Officer", "phone": f"+4420794{n:05}"}
    moved = path == "/beacon/later" and n % 50 == 7
    return {"name": name, "title": "Managing Director" if moved else TITLES[n % 6], "phone": f"+4420812{n:05}"}


class Vendor(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body leave together.
    wbufsize = 65536
    disable_nagle_algorithm = True

    def do_GET(self):
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        found = answer(url.path, asked["email"], asked.get("name", ""))
        body = json.dumps(found or {"message": "unknown"}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Vendor)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
