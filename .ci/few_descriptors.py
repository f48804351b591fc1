"""A server that runs out of descriptors neither ends nor spins, and goes on when there are some again.

Usage: few_descriptors.py PORT PID, of an echo server that was started with `ulimit -n 40`.
"""

import os
import socket
import sys
import time

port, pid = int(sys.argv[1]), sys.argv[2]
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n" % port
)


def connect(patience):
    """Whether a new connection is answered; and the connection."""
    stream = socket.create_connection(("127.0.0.1", port))
    stream.settimeout(patience)
    stream.sendall(REQUEST)
    try:
        return stream.recv(1000).startswith(b"HTTP/1.1 101"), stream
    except TimeoutError:
        return False, stream


def processor_seconds():
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


connections = [connect(0.3) for _ in range(50)]
answered = sum(ok for ok, _ in connections)
assert 10 <= answered < 40, f"{answered} of 50 connections answered with 40 descriptors"

before = processor_seconds()
time.sleep(2)
used = processor_seconds() - before
assert used < 0.5, f"{used} s of processor time in 2 s without descriptors"

for _, stream in connections:
    stream.close()
assert connect(10)[0], "no answer, although there are descriptors again"
print(f"{answered} of 50 connections answered, {used:.2f} s of processor time, then as before")
