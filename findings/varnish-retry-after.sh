#!/bin/bash
# A cache in front of a vendor speaks in the vendor's name: "come back in 5 seconds".
#
# Seen with: Varnish 7.1.1-2+deb12u1 (Debian 12), a configuration of one `backend` and nothing else.
# Where the server behind it cannot be reached, or takes too long for one request, Varnish answers 503 with a page of
# its own and `Retry-After: 5`, from its built-in rules. The header looks like the vendor's own wish to be left alone.
# What it means for users: a client that obeys Retry-After for all requests stops for 5 s, again and again, because of
# one contact whose look-up is slow, although the vendor answers everybody else at once.
set -euo pipefail
dir=$(mktemp -d)
finish() {
    [ ! -s "$dir/pid" ] || kill "$(cat "$dir/pid")" 2>/dev/null || true
    sleep 0.5
    rm -rf "$dir"
}
trap finish EXIT
cd "$dir"
apt-get -qq download varnish=7.1.1-2+deb12u1 libvarnishapi3=7.1.1-2+deb12u1
for package in ./*.deb; do dpkg -x "$package" root; done
export LD_LIBRARY_PATH=$dir/root/usr/lib/$(uname -m)-linux-gnu:$dir/root/usr/lib/$(uname -m)-linux-gnu/varnish
read -r port closed < <(python3 -c '
import socket
sockets = [socket.socket() for _ in range(2)]
for s in sockets: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))')
# A backend at which no server listens.
printf 'vcl 4.1;\nbackend vendor { .host = "127.0.0.1"; .port = "%s"; }\n' "$closed" >vendor.vcl
"$dir/root/usr/sbin/varnishd" -n "$dir/work" -a "127.0.0.1:$port" -f "$dir/vendor.vcl" -p vcl_path="$dir/root/usr/share/varnish/vcl" \
    -p "vmod_path=$dir/root/usr/lib/$(uname -m)-linux-gnu/varnish/vmods" -s malloc,16m -P "$dir/pid" -j none >/dev/null
for _ in $(seq 50); do
    curl --silent --output page --dump-header header "http://127.0.0.1:$port/person" && break
    sleep 0.2
done
cat header
grep -q '^HTTP/1.1 503' header
grep -qi '^Retry-After: 5' header
grep -qi '^Content-Type: text/html' header
echo 'as described'
