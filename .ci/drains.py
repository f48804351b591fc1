"""The chat that is told to end has its members leave with 1012, and ends with 0: for each signal that says so.

Usage: drains.py PROGRAM BACKEND, of the example `chat`.
"""

import concurrent.futures
import re
import signal
import sys

from peer import Peer
from programs import Program

MEMBERS = 4
END_SECONDS = 30

program, backend = sys.argv[1:]


def join(port):
    peer = Peer(port)
    answer = peer.handshake("/", f"127.0.0.1:{port}", f"http://127.0.0.1:{port}")
    assert answer.startswith("HTTP/1.1 101 "), answer
    assert peer.message().startswith("* you are guest "), "the first message says who one is"
    return peer


for told in (signal.SIGTERM, signal.SIGINT):
    with Program([program, "--listen", "127.0.0.1:0", "--backend", backend]) as chat:
        port = int(chat.wait_for(lambda: re.search(r"ws://127\.0\.0\.1:([1-9][0-9]*)/", chat.output()))[1])
        peers = [join(port) for _ in range(MEMBERS)]
        chat.process.send_signal(told)
        with concurrent.futures.ThreadPoolExecutor(MEMBERS) as threads:
            ends = list(threads.map(Peer.end, peers))
        assert ends == [(1012, "Service Restart")] * MEMBERS, ends
        status = chat.process.wait(END_SECONDS)
        assert status == 0, f"status {status}:\n{chat.output()}"
    print(f"{backend}: {told.name}: {MEMBERS} members left with 1012, and the chat ended with {status}")
