"""Peers of .ci/deflate: they send messages, and want each of them back. Run as: NAME client URL WISHES, or NAME server WISHES.

A server serves one conversation. WISHES are parameters of permessage-deflate, as JSON. With CERTIFICATE and KEY in the
environment, that of websockets speaks TLS.
"""

import asyncio
import json
import os
import random
import socket
import ssl
import sys
import urllib.parse

SIZES = [0, 1, 63, 64, 125, 126, 1000, 65_535, 65_536, 300_000, 1 << 20]
RANDOM_SIZES = [1, 126, 5000, 65_536, 1 << 20]
RECORDS = 300
MOST = 1 << 21


def messages():
    """All that comes before the records."""
    for size in SIZES:
        text = ("größer, 世界 🦀 " * (size // 18 + 1)).encode()[:size].decode(errors="ignore")
        text += "x" * (size - len(text.encode()))
        yield text
        yield text.encode()
    for size in RANDOM_SIZES:
        yield os.urandom(size)


def record(number):
    chosen = random.Random(number)
    tokens = [f"{chosen.getrandbits(64):016x}" for _ in range(4)]
    values = {"id": number, "user": tokens[0], "room": tokens[1], "text": f"{tokens[2]} and {tokens[3]}"}
    return json.dumps(values | {"kind": "message", "visible": True, "edited": False, "reactions": [], "language": "en"}).ljust(270)


async def converse(send, receive):
    for message in messages():
        await send(message)
        expect(await receive(), message)
    records = [record(number) for number in range(RECORDS)]
    for text in records:
        await send(text)
    for text in records:
        expect(await receive(), text)


def expect(found, sent):
    if type(found) is not type(sent) or found != sent:
        sys.exit(f"{len(sent)} of {type(sent)} were sent, and {len(found)} of {type(found)} came back")


def listening(port):
    print(f"listening on 127.0.0.1:{port}", flush=True)


async def websockets_client(url, wishes):
    from websockets.asyncio.client import connect
    from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

    factory = ClientPerMessageDeflateFactory(**{"client_max_window_bits": True} | wishes)
    async with connect(url, compression=None, extensions=[factory], max_size=MOST) as socket:
        await converse(socket.send, socket.recv)


async def websockets_server(wishes):
    from websockets.asyncio.server import serve

    done = asyncio.Event()

    async def handle(socket):
        await converse(socket.send, socket.recv)
        await socket.close()
        done.set()

    tls = None
    if "CERTIFICATE" in os.environ:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(os.environ["CERTIFICATE"], os.environ["KEY"])
    async with serve(handle, "127.0.0.1", 0, max_size=MOST, ssl=tls) as server:
        listening(server.sockets[0].getsockname()[1])
        await done.wait()


def of_aiohttp(socket):
    from aiohttp import WSMsgType

    async def send(message):
        await (socket.send_str(message) if isinstance(message, str) else socket.send_bytes(message))

    async def receive():
        message = await socket.receive()
        if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            sys.exit(f"{message} came")
        return message.data

    return send, receive


async def aiohttp_client(url, wishes):
    import aiohttp

    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(url, compress=15, max_msg_size=MOST) as socket:
            await converse(*of_aiohttp(socket))


async def aiohttp_server(wishes):
    from aiohttp import web

    done = asyncio.Event()

    async def handle(request):
        socket = web.WebSocketResponse(max_msg_size=MOST)
        await socket.prepare(request)
        await converse(*of_aiohttp(socket))
        await socket.close()
        done.set()
        return socket

    application = web.Application()
    application.router.add_get("/", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    listening(runner.addresses[0][1])
    await done.wait()
    await runner.cleanup()


async def wsproto_client(url, wishes):
    from wsproto import ConnectionType, WSConnection, events
    from wsproto.extensions import PerMessageDeflate

    parts = urllib.parse.urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    connection = WSConnection(ConnectionType.CLIENT)
    extension = PerMessageDeflate(**wishes)
    writer.write(connection.send(events.Request(host=parts.netloc, target="/", extensions=[extension])))

    async def next_event():
        while True:
            for event in connection.events():
                return event
            connection.receive_data(await reader.read(1 << 18) or None)

    async def send(message):
        kind = events.TextMessage if isinstance(message, str) else events.BytesMessage
        writer.write(connection.send(kind(data=message)))
        await writer.drain()

    async def receive():
        parts = []
        while True:
            event = await next_event()
            if not isinstance(event, events.Message):
                sys.exit(f"{event} came")
            parts.append(event.data)
            if event.message_finished:
                data = parts[0][:0].join(parts)
                return data if isinstance(data, str) else bytes(data)

    accepted = await next_event()
    if not isinstance(accepted, events.AcceptConnection):
        sys.exit(f"{accepted} came")
    await converse(send, receive)
    writer.write(connection.send(events.CloseConnection(code=1000)))
    if not isinstance(await next_event(), events.CloseConnection):
        sys.exit("no answer to the close frame came")
    writer.close()


async def wsproto_server(wishes):
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    done = asyncio.Event()
    failed = []

    async def application(scope, asgi_receive, asgi_send):
        if scope["type"] != "websocket":
            return

        async def send(message):
            await asgi_send({"type": "websocket.send", "text" if isinstance(message, str) else "bytes": message})

        async def receive():
            event = await asgi_receive()
            if event["type"] != "websocket.receive":
                failed.append(event)
                done.set()
            text = event.get("text")
            return event["bytes"] if text is None else text

        await asgi_receive()
        await asgi_send({"type": "websocket.accept"})
        await converse(send, receive)
        await asgi_send({"type": "websocket.close", "code": 1000})
        done.set()

    listener = socket.create_server(("127.0.0.1", 0))
    listening(listener.getsockname()[1])
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.errorlog = None
    config.websocket_max_message_size = MOST
    await serve(application, config, shutdown_trigger=done.wait)
    if failed:
        sys.exit(f"{failed[0]} came")


if __name__ == "__main__":
    name, role, *arguments = sys.argv[1:]
    asyncio.run(globals()[f"{name}_{role}"](*arguments[:-1], json.loads(arguments[-1])))
