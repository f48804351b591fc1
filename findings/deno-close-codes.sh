#!/usr/bin/env bash
# Deno 2.9.6, client: a connection that ended without a Close frame is never reported as 1006.
#
# RFC 6455 §7.1.5: "If _The WebSocket Connection is Closed_ and no Close control frame was received by the endpoint
# (...), _The WebSocket Connection Close Code_ is considered to be 1006", and such an end is not clean (§7.1.4). The
# standard of browsers says the same, also of a handshake that fails. Seen in November 2026:
#
#   refused: code 0, wasClean false
#   cut: code 0, wasClean false
#   unanswered: code 1005, wasClean true
#
# "cut" ends while the connection is open; "unanswered" after the client has called close(), which the server does not
# answer. Programs that look for 1006 miss all three. Needs npm and python3. Fails when that changes.
set -euo pipefail
WORK=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$WORK"' EXIT
cd "$WORK"
npm install --silent --no-audit --no-fund --prefix . deno@2.9.6
cat >server.py <<'PYTHON'
import base64, hashlib, http.server

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.close_connection = True
        if self.path == "/refused":
            return self.send_error(403)
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.wfile.write(b"\x81\x02hi")
        if self.path == "/unanswered":
            self.rfile.read(8)  # the client's Close frame: 1000, masked

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
PYTHON
python3 server.py >port &
while ! [[ -s port ]]; do sleep 0.1; done
cat >try.js <<'JS'
for (const what of ["refused", "cut", "unanswered"]) {
  await new Promise(done => {
    const socket = new WebSocket(`ws://127.0.0.1:${Deno.args[0]}/${what}`);
    socket.onerror = event => event.preventDefault();
    socket.onmessage = () => what === "unanswered" && socket.close(1000);
    socket.onclose = ({ code, wasClean }) => done(console.log(`${what}: code ${code}, wasClean ${wasClean}`));
  });
}
JS
HOME=$WORK NO_COLOR=1 timeout 60 node_modules/.bin/deno run --no-prompt --allow-net=127.0.0.1 try.js "$(cat port)" | tee seen
printf '%s\n' 'refused: code 0, wasClean false' 'cut: code 0, wasClean false' 'unanswered: code 1005, wasClean true' |
    cmp - seen || { echo "it has changed"; exit 1; }
