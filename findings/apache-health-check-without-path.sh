#!/usr/bin/env bash
# Apache 2.4.67 and 2.4.71, mod_proxy_hcheck: a health check by GET or HEAD asks for nothing at all, unless `hcuri` is set.
#
# `hcmethod=GET` on a member http://127.0.0.1:PORT, which is accepted without any complaint, sends a request line without
# a target. RFC 9112 §3.2.1: "If the target URI's path component is empty, the client MUST
# send "/" as the path". A strict server answers 400, and the member is taken out. OPTIONS is right: it sends `*`.
# Seen in November 2026:
#
#   GET: "GET  HTTP/1.0"
#   HEAD: "HEAD  HTTP/1.0"
#   OPTIONS: "OPTIONS * HTTP/1.0"
#
# Cure: hcuri=/. Needs Debian 12's apt and python3. Fails when that changes.
set -euo pipefail
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/debian.bash"
unpack apache2-bin apache2
cat >upstream.py <<'PYTHON'
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
stream = server.accept()[0]
print(stream.recv(4096).decode().split("\r\n")[0], file=sys.stderr, flush=True)
stream.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
PYTHON
for method in GET HEAD OPTIONS; do
    python3 upstream.py >"port-$method" 2>"line-$method" &
    upstream=$!
    while ! [[ -s port-$method ]]; do sleep 0.1; done
    modules=$PWD/root/usr/lib/apache2/modules
    mkdir -p "run-$method"
    cat >"$method.conf" <<CONF
ServerRoot $PWD/run-$method
ServerName localhost
PidFile $PWD/run-$method/pid
DefaultRuntimeDir $PWD/run-$method
ErrorLog $PWD/run-$method/log
Listen 127.0.0.1:$(free_port)
$(for module in mpm_event authz_core proxy proxy_http slotmem_shm proxy_balancer lbmethod_byrequests proxy_hcheck; do
    echo "LoadModule ${module}_module $modules/mod_$module.so"; done)
$(user_lines)
<Proxy balancer://group>
    BalancerMember http://127.0.0.1:$(cat "port-$method") hcmethod=$method hcinterval=1
</Proxy>
ProxyPass / balancer://group/
CONF
    root/usr/sbin/apache2 -D FOREGROUND -f "$PWD/$method.conf" &
    apache=$!
    timeout 20 tail --pid=$upstream -f /dev/null
    kill $apache
    wait $apache || true
    echo "$method: \"$(cat "line-$method")\"" | tee -a seen
done
printf '%s\n' 'GET: "GET  HTTP/1.0"' 'HEAD: "HEAD  HTTP/1.0"' 'OPTIONS: "OPTIONS * HTTP/1.0"' | cmp - seen || { echo "it has changed"; exit 1; }
