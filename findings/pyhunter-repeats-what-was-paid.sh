#!/bin/bash
# A vendor's client repeats requests that may have been paid for, and never those that were not.
#
# Seen with: pyhunter 2.1.0, requests 2.32.5 (PyPI), Python 3.11.
# It has retries (max_retries, 2 by default) that its source means for 429 and 5xx. There it looks at the truth of the response, and
# requests takes every 4xx and 5xx for false: so the status is never read. A 429 or 503 is raised at once, with status_code None.
# A request whose answer comes after the timeout, on the other hand, is sent again twice: the server has had it three times.
# Output seen: "429: 1 request, HunterApiError, status None"; "503: 1 request, HunterApiError, status None"; "late: 3 requests,
# HunterTransportError".
# What it means for users: a job that wraps this client pays up to three times for a slow answer, and gives up at each rate limit, without
# a status by which it could tell. Set max_retries=0, and repeat by one's own rules.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check pyhunter==2.1.0 requests==2.32.5
"$dir/venv/bin/python" - <<'PYTHON' | tee "$dir/out"
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pyhunter import PyHunter

asked = Counter()


class Vendor(BaseHTTPRequestHandler):
    def do_GET(self):
        what = self.path.split("/")[1]
        asked[what] += 1
        if what == "late":
            time.sleep(1.5)
        body = b'{"data": {}}'
        try:
            self.send_response(200 if what == "late" else int(what))
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass  # who asked is gone

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Vendor)
threading.Thread(target=server.serve_forever, daemon=True).start()
for what in ("429", "503", "late"):
    client = PyHunter("key", timeout=0.5, retry_backoff=0.1)
    client.base_endpoint = f"http://127.0.0.1:{server.server_port}/{what}/{{}}"
    try:
        client.domain_search(domain="acme.example")
        outcome = "no error"
    except Exception as error:
        outcome = type(error).__name__
        if hasattr(error, "status_code") and outcome == "HunterApiError":
            outcome += f", status {error.status_code}"
    count = asked[what]
    print(f"{what}: {count} request{'s' if count > 1 else ''}, {outcome}")
PYTHON
diff "$dir/out" - <<'EXPECTED'
429: 1 request, HunterApiError, status None
503: 1 request, HunterApiError, status None
late: 3 requests, HunterTransportError
EXPECTED
