#!/usr/bin/env python3
"""Lets a client that speaks no TLS talk to a server that does.

    .ci/tls_bridge.py SERVER CA    listens on a free port, prints its address, and passes bytes on to SERVER (host:port),
                                   whose certificate CA (a file in PEM) has signed, until it is killed
"""

import asyncio
import ssl
import sys

CHUNK = 64 * 1024


async def main(server, ca):
    host, _, port = server.rpartition(":")
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["http/1.1"])

    async def serve(reader, writer):
        tls_reader, tls_writer = await asyncio.open_connection(host, int(port), ssl=context)
        # A side that has ended ends the other: TLS has no half-closed connections here.
        await asyncio.wait(
            [asyncio.create_task(copy(reader, tls_writer)), asyncio.create_task(copy(tls_reader, writer))],
            return_when=asyncio.FIRST_COMPLETED,
        )
        for side in (writer, tls_writer):
            side.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    print("{}:{}".format(*listening.sockets[0].getsockname()), flush=True)
    await listening.serve_forever()


async def copy(reader, writer):
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    except OSError:
        # The peer is gone: that is an end.
        pass


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
