#!/usr/bin/env bash
# HAProxy 2.6.12, as Debian 12 has it (deb12u3 and deb12u4): adds a Sec-WebSocket-Accept to a refusal.
#
# A server that answers a WebSocket request with 426 sends no Sec-WebSocket-Accept: that is the mark of a handshake that
# has succeeded (RFC 6455 §4.2.2). HAProxy puts the right one for the client's key into the 426, and into that of a plain
# GET without any key the one of 24 zero bytes. Seen in November 2026:
#
#   upgrade: 426, sec-websocket-accept s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
#   plain GET: 426, sec-websocket-accept X7sdFi1aZDLMcFz+yURsFmFjwvU=
#
# Harmless, as long as clients look at the status first. Needs Debian 12's apt and python3. Fails when that changes.
set -euo pipefail
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/debian.bash"
unpack haproxy haproxy
cat >upstream.py <<'PYTHON'
import http.server

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(426)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        self.send_header("Sec-WebSocket-Version", "13")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
PYTHON
python3 upstream.py >upstream &
while ! [[ -s upstream ]]; do sleep 0.1; done
port=$(free_port)
cat >haproxy.cfg <<CONF
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
listen public
  bind 127.0.0.1:$port
  server one 127.0.0.1:$(cat upstream)
CONF
root/usr/sbin/haproxy -db -f haproxy.cfg &
listening "$port"
python3 - "$port" <<'PYTHON' | tee seen
import http.client, sys
upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
           "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
for what, headers in [("upgrade", upgrade), ("plain GET", {})]:
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
    connection.request("GET", "/", headers=headers)
    answer = connection.getresponse()
    print(f"{what}: {answer.status}, sec-websocket-accept {answer.headers['Sec-WebSocket-Accept']}")
PYTHON
printf '%s\n' 'upgrade: 426, sec-websocket-accept s3pPLMBiTxaQ9kYGzzhZRbK+xOo=' \
    'plain GET: 426, sec-websocket-accept X7sdFi1aZDLMcFz+yURsFmFjwvU=' | cmp - seen || { echo "it has changed"; exit 1; }
