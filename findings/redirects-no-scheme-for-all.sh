#!/usr/bin/env bash
# websockets 17.4, aiohttp 3.14.5, websocket-client 1.9.2 (Python): all three follow redirects by default, and there is no
# way to write a `Location` that all three follow.
#
# RFC 6455 §4.1 lets a client follow a 3xx, and says nothing of the scheme. Frameworks write `http://`, or a path.
# Seen in November 2026, by what the 302 has for its Location:
#
#                    /ok                http://127.0.0.1:PORT/ok            ws://127.0.0.1:PORT/ok
#   websockets       follows            InvalidURI                          follows
#   aiohttp          follows            follows                             NonHttpUrlRedirectClientError
#   websocket-client WebSocketException WebSocketException                  follows
#
# Needs python3 with venv. Fails when that changes.
set -euo pipefail
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
cd "$WORK"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check websockets==17.4 aiohttp==3.14.5 websocket-client==1.9.2
cat >try.py <<'PYTHON'
import asyncio, base64, hashlib, aiohttp, websocket, websockets

async def serve(reader, writer):
    """Upgrades /ok, and redirects from everything else to it."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    path = lines[0].split()[1]
    if path == "/ok":
        key = next(line.split(": ")[1] for line in lines if line.lower().startswith("sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
        writer.write(f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                     f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode() + b"\x81\x02hi")
        await reader.read(100)
    else:
        location = {"/path": "/ok", "/http": f"http://{host}/ok", "/ws": f"ws://{host}/ok"}[path]
        writer.write(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
    writer.close()

async def by_websockets(url):
    async with websockets.connect(url) as socket:
        return await socket.recv()

async def by_aiohttp(url):
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        return (await socket.receive()).data

async def by_websocket_client(url):
    return await asyncio.to_thread(lambda: websocket.create_connection(url, timeout=5).recv())

async def main():
    global host
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host = "127.0.0.1:%d" % server.sockets[0].getsockname()[1]
    for client in (by_websockets, by_aiohttp, by_websocket_client):
        seen = []
        for path in ("/path", "/http", "/ws"):
            try:
                seen.append({"hi": "follows"}[await asyncio.wait_for(client(f"ws://{host}{path}"), 10)])
            except (websockets.WebSocketException, aiohttp.ClientError, websocket.WebSocketException) as error:
                seen.append(type(error).__name__)
        print(client.__name__.removeprefix("by_"), *seen)

asyncio.run(main())
PYTHON
venv/bin/python try.py | tee seen
diff seen - <<'SEEN' || { echo "it has changed"; exit 1; }
websockets follows InvalidURI follows
aiohttp follows follows NonHttpUrlRedirectClientError
websocket_client WebSocketException WebSocketException follows
SEEN
