#!/usr/bin/env bash
# aiohttp 3.14.5 (Python), client: a Close frame without a code is reported as 1006.
#
# RFC 6455 §7.1.5: "If this Close control frame contains no status code, _The WebSocket Connection Close Code_ is
# considered to be 1005." 1006 is for a connection that ended without a Close frame. aiohttp says 1006 and EofStream
# for both, although it answers the frame. Seen in November 2026:
#
#   close_code 1006, exception EofStream, and it answered with a Close frame
#
# Needs python3 with venv. Fails when that changes.
set -euo pipefail
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
cd "$WORK"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check aiohttp==3.14.5
cat >try.py <<'PYTHON'
import asyncio, base64, hashlib, aiohttp

answered = None

async def serve(reader, writer):
    """Shakes hands, sends an empty Close frame, and reads the answer."""
    global answered
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    key = next(line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key"))
    accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
    writer.write(f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                 f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode() + b"\x88\x00")
    answered = (await reader.readexactly(2))[0] == 0x88
    writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with aiohttp.ClientSession() as session, session.ws_connect(f"ws://127.0.0.1:{port}/") as socket:
        message = await asyncio.wait_for(socket.receive(), 10)
        await asyncio.sleep(0.2)
        print(f"close_code {socket.close_code}, exception {type(socket.exception()).__name__}, and it "
              f"{'answered' if answered else 'did not answer'} with a Close frame")

asyncio.run(main())
PYTHON
venv/bin/python try.py | tee seen
grep -qx 'close_code 1006, exception EofStream, and it answered with a Close frame' seen || { echo "it has changed"; exit 1; }
