#!/bin/bash
# A vendor's own client keeps to Retry-After where it asks for a person, and not where it asks whether the answer is there.
#
# Seen with: rocketreach 2.1.8, requests 2.32.5 (PyPI), Python 3.11.
# person.lookup() waits by default. A 429 to the lookup itself is repeated after Retry-After. Where the lookup says "progress", its status is
# asked each second until it is complete; a 429 to that is counted in a variable that nothing reads, and the next request follows a second
# later, whatever Retry-After says.
# Output seen: "lookup, Retry-After 3: asked again after 3 s"; "status, Retry-After 3: asked again after 1 s, 1 s, 1 s".
# What it means for users: each waiting lookup sends a request a second into a limit that is used up, where these count, too, and so keeps it
# used up for all others of the account; it has no end of its own. Use block=False, and ask for the status at the pace of the vendor. (Our
# preset rocketreach waits for poll_every_s, or for Retry-After where that is later, and ends with poll_for_s.)
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check rocketreach==2.1.8 requests==2.32.5
"$dir/venv/bin/python" - <<'PYTHON' | tee "$dir/out"
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from rocketreach.gateway import Gateway, GatewayConfig

times = {"lookup": [], "status": []}
limited = {"lookup": 1, "status": 3}
PERSON = {"id": 4711, "name": "Erin Example"}


class Vendor(BaseHTTPRequestHandler):
    def do_GET(self):
        what = "lookup" if "/lookup" in self.path else "status"
        times[what].append(time.monotonic())
        if len(times[what]) <= limited[what]:
            return self.answer(429, {"detail": "Request was throttled."}, ("Retry-After", "3"))
        if what == "lookup":
            return self.answer(200, {**PERSON, "status": "progress"})
        self.answer(200, [{**PERSON, "status": "complete"}])

    def answer(self, status, body, *headers):
        body = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Vendor)
threading.Thread(target=server.serve_forever, daemon=True).start()
gateway = Gateway(GatewayConfig(api_key="key", host="127.0.0.1", port=server.server_port, proto="http"))
result = gateway.person.lookup(name="Erin Example", current_employer="Acme")
assert result.person.status == "complete"
for what, when in times.items():
    waits = [round(after - before) for before, after in zip(when, when[1:])]
    print(f"{what}, Retry-After 3: asked again after " + ", ".join(f"{wait} s" for wait in waits))
PYTHON
diff - "$dir/out" <<'SEEN'
lookup, Retry-After 3: asked again after 3 s
status, Retry-After 3: asked again after 1 s, 1 s, 1 s
SEEN
echo "as seen"
