# For the findings about Debian's packages: `unpack PACKAGE PROGRAM` puts a package, even if it is installed, and
# what it needs that is not, into ./root, without installing it, and prints the program's own idea of its version.
unpack() {
    mkdir -p debs/partial root
    apt-get -qq -o Debug::NoLocking=1 -o Dir::Cache::archives="$PWD/debs" -y --download-only --no-install-recommends \
        --reinstall install "$1" >/dev/null
    local deb
    for deb in debs/*.deb; do dpkg -x "$deb" root; done
    LD_LIBRARY_PATH=$(echo root/usr/lib/*-linux-gnu | sed "s|^|$PWD/|; s| |:$PWD/|g")
    export LD_LIBRARY_PATH
    "root/usr/sbin/$2" -v | sed -n 1p
}

# A port that was free a moment ago.
free_port() {
    python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Waits until somebody listens.
listening() {
    python3 - "$1" <<'PYTHON'
import socket, sys, time
for _ in range(100):
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[1]))).close()
        break
    except OSError:
        time.sleep(0.1)
else:
    sys.exit(f"nobody listens on port {sys.argv[1]}")
PYTHON
}

# The proxies' own servers give up root's rights, and Apache wants to be told for whom.
user_lines() {
    [[ $(id -u) -ne 0 ]] || printf 'User nobody\nGroup nogroup\n'
}

WORK=$(mktemp -d)
chmod 755 "$WORK"
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$WORK"' EXIT
cd "$WORK"
