#!/usr/bin/env bash
# Apache 2.4.67 and 2.4.71, mod_proxy_http with `upgrade=websocket`: of `Timeout` and ProxyPass's `timeout=` the larger one
# counts.
#
# `timeout=` is the number of seconds that Apache waits for this backend, and ProxyTimeout, then Timeout, its defaults. So
# `timeout=2` should cut a silent WebSocket after 2 s whatever `Timeout` is. It does not. Seen in November 2026, in
# seconds of silence
# until the connection was cut:
#
#   Timeout 2, timeout=5: 5
#   Timeout 5, timeout=2: 5
#
# Who wants silent connections to go has to lower both. Needs Debian 12's apt and python3. Fails when that changes.
set -euo pipefail
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/debian.bash"
unpack apache2-bin apache2
cat >upstream.py <<'PYTHON'
import http.server, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        self.send_header("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        self.end_headers()
        self.close_connection = True
        self.rfile.read(1)  # until the proxy hangs up

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
PYTHON
python3 upstream.py >upstream &
while ! [[ -s upstream ]]; do sleep 0.1; done
cat >silent.py <<'PYTHON'
import socket, sys, time
stream = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
stream.settimeout(20)
stream.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
               b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
assert stream.recv(4096).startswith(b"HTTP/1.1 101 ")
began = time.monotonic()
while stream.recv(4096):
    pass
print(round(time.monotonic() - began))
PYTHON
for pair in "2 5" "5 2"; do
    read -r all one <<<"$pair"
    port=$(free_port)
    modules=$PWD/root/usr/lib/apache2/modules
    mkdir -p "run-$all"
    cat >"$all.conf" <<CONF
ServerRoot $PWD/run-$all
ServerName localhost
PidFile $PWD/run-$all/pid
DefaultRuntimeDir $PWD/run-$all
ErrorLog $PWD/run-$all/log
Listen 127.0.0.1:$port
$(for module in mpm_event authz_core proxy proxy_http; do echo "LoadModule ${module}_module $modules/mod_$module.so"; done)
$(user_lines)
Timeout $all
ProxyPass / http://127.0.0.1:$(cat upstream)/ upgrade=websocket timeout=$one
CONF
    root/usr/sbin/apache2 -D FOREGROUND -f "$PWD/$all.conf" &
    apache=$!
    listening "$port"
    echo "Timeout $all, timeout=$one: $(python3 silent.py "$port")" | tee -a seen
    kill $apache
    wait $apache || true
done
printf '%s\n' 'Timeout 2, timeout=5: 5' 'Timeout 5, timeout=2: 5' | cmp - seen || { echo "it has changed"; exit 1; }
