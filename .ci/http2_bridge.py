#!/usr/bin/env python3
"""Lets WebSocket clients of HTTP/1.1 talk to a server over HTTP/2: it turns their upgrades into extended CONNECT (RFC 8441).

    .ci/http2_bridge.py SERVER    listens on a free port, prints its address, and passes WebSockets on to SERVER (host:port)
                                  until it is killed, all of them as streams of one connection

It needs h2 from PyPI. The windows are as small as HTTP/2 has them by default, so flow control has work to do.
"""

import asyncio
import base64
import hashlib
import sys

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings

CHUNK = 64 * 1024
OPEN_SECONDS = 10
END_SECONDS = 1
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# These belong to one connection of HTTP/1.1. The key does, too: over HTTP/2 there is none.
UNWANTED = {b"host", b"connection", b"upgrade", b"sec-websocket-key"}


class Server:
    """The connection to the server, and its streams."""

    def __init__(self, reader, writer, authority):
        self.reader, self.writer, self.authority = reader, writer, authority
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        self.streams = {}
        self.settled = asyncio.get_running_loop().create_future()
        self.h2.initiate_connection()

    async def run(self):
        self.flush()
        while data := await self.reader.read(CHUNK):
            for event in self.h2.receive_data(data):
                self.hear(event)
            self.flush()
        sys.exit("http2_bridge: the server has ended the connection")

    def hear(self, event):
        if isinstance(event, h2.events.RemoteSettingsChanged) and not self.settled.done():
            setting = event.changed_settings.get(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL)
            if setting is None or setting.new_value != 1:
                sys.exit("http2_bridge: the server does not offer extended CONNECT")
            self.settled.set_result(None)
        stream = self.streams.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.ConnectionTerminated):
            sys.exit(f"http2_bridge: GOAWAY, {event.error_code}")
        elif isinstance(event, h2.events.WindowUpdated):
            for one in [stream] if stream else self.streams.values():
                one.window.set()
        elif stream and isinstance(event, h2.events.ResponseReceived):
            stream.answer.set_result(event.headers)
        elif stream and isinstance(event, h2.events.DataReceived):
            stream.came.put_nowait((event.data, event.flow_controlled_length))
        elif stream and isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
            stream.ended, stream.reset = True, isinstance(event, h2.events.StreamReset)
            stream.window.set()
            stream.came.put_nowait((b"", 0))

    def flush(self):
        self.writer.write(self.h2.data_to_send())


class Stream:
    """A WebSocket on its way through."""

    def __init__(self, server, path, headers):
        self.server, self.id = server, server.h2.get_next_available_stream_id()
        self.answer, self.window = asyncio.get_running_loop().create_future(), asyncio.Event()
        self.came, self.ended, self.reset = asyncio.Queue(), False, False
        server.streams[self.id] = self
        pseudo = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"http"),
                  (b":authority", server.authority), (b":path", path)]
        server.h2.send_headers(self.id, pseudo + [(name, value) for name, value in headers if name not in UNWANTED])
        server.flush()

    async def send(self, data):
        """As much at a time as the server takes."""
        while data and not self.ended:
            self.window.clear()
            size = min(self.server.h2.local_flow_control_window(self.id), self.server.h2.max_outbound_frame_size)
            if size <= 0:
                await self.window.wait()
                continue
            self.server.h2.send_data(self.id, data[:size])
            data = data[size:]
            self.server.flush()
            await self.server.writer.drain()

    async def receive(self, writer):
        while True:
            data, length = await self.came.get()
            if not data and not length:
                return
            writer.write(data)
            await writer.drain()
            if not self.ended:
                self.server.h2.acknowledge_received_data(length, self.id)
                self.server.flush()

    def end(self):
        """What an end of a TCP connection is, as a stream's."""
        if not self.reset:
            self.server.h2.end_stream(self.id)
            self.server.flush()

    def leave(self):
        del self.server.streams[self.id]
        if not self.ended:
            self.server.h2.reset_stream(self.id, h2.errors.ErrorCodes.CANCEL)
            self.server.flush()


async def serve(server, reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    request, *lines = head.strip().split(b"\r\n")
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    stream = Stream(server, request.split(b" ")[1], headers)
    try:
        answer = dict(await asyncio.wait_for(stream.answer, OPEN_SECONDS))
        if answer.pop(b":status") != b"200":
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n\r\n")
            return
        accept = base64.b64encode(hashlib.sha1(dict(headers)[b"sec-websocket-key"] + GUID).digest())
        lines = [b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade",
                 b"Sec-WebSocket-Accept: " + accept, *(name + b": " + value for name, value in answer.items())]
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n")
        # A side that has ended ends the other.
        receiving, sending = asyncio.create_task(stream.receive(writer)), asyncio.create_task(copy(reader, stream))
        await asyncio.wait([receiving, sending], return_when=asyncio.FIRST_COMPLETED)
        stream.end()
        await asyncio.wait([receiving], timeout=END_SECONDS)
        for task in (receiving, sending):
            task.cancel()
        await asyncio.gather(receiving, sending, return_exceptions=True)
    finally:
        stream.leave()
        writer.close()


async def copy(reader, stream):
    while data := await reader.read(CHUNK):
        await stream.send(data)


async def main(address):
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    server = Server(reader, writer, address.encode())
    running = asyncio.create_task(server.run())
    await asyncio.wait([running, server.settled], return_when=asyncio.FIRST_COMPLETED, timeout=OPEN_SECONDS)
    listening = await asyncio.start_server(lambda *client: serve(server, *client), "127.0.0.1", 0)
    print("{}:{}".format(*listening.sockets[0].getsockname()), flush=True)
    await running


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
