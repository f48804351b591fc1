"""As much of a WebSocket client as is needed to see each frame."""

import base64
import hashlib
import os
import socket
import struct
import time

READ_SECONDS = 10

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = base64.b64encode(hashlib.sha1((KEY + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()


class Peer:
    """A connection to a port of this machine."""

    def __init__(self, port, source="127.0.0.1"):
        self.stream = socket.create_connection(("127.0.0.1", port), READ_SECONDS, (source, 0))
        self.received = b""
        self.pings = 0
        self.messages = 0
        self.closing = False
        # How it ended: the Close frame's code and reason, or "cut" without one.
        self.ended = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()

    def handshake(self, path, host, origin, *more):
        """What Chromium sends, but for headers that mean nothing here, and more. Returns the answer's head."""
        lines = [
            f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: Upgrade", "Pragma: no-cache", "Cache-Control: no-cache",
            "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
            "Upgrade: websocket", f"Origin: {origin}", "Sec-WebSocket-Version: 13", "Accept-Encoding: gzip, deflate",
            "Accept-Language: en-GB,en;q=0.9", f"Sec-WebSocket-Key: {KEY}",
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", *more, "", "",
        ]
        self.stream.sendall("\r\n".join(lines).encode())
        while b"\r\n\r\n" not in self.received:
            data = self.stream.recv(1 << 16)
            if not data:
                return f"the end, after {self.received!r}"
            self.received += data
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        return head.decode(errors="replace")

    def send(self, message):
        self.frame(1, message.encode()) if isinstance(message, str) else self.frame(2, message)

    def close(self, code, reason):
        if not self.closing:
            self.frame(8, struct.pack("!H", code) + reason.encode())
        self.closing = True

    def frame(self, opcode, payload):
        mask = os.urandom(4)
        length = len(payload)
        if length < 126:
            head = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
        elif length < 1 << 16:
            head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, length)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, length)
        repeated = mask * (length // 4 + 1)
        masked = int.from_bytes(payload, "little") ^ int.from_bytes(repeated[:length], "little")
        try:
            self.stream.sendall(head + mask + masked.to_bytes(length, "little"))
        except OSError:
            self.ended = self.ended or "cut"

    def message(self):
        """The next message; pings are answered on the way."""
        deadline = time.monotonic() + READ_SECONDS
        while self.ended is None:
            opcode, payload = self.next(deadline)
            if opcode in (1, 2):
                return payload.decode() if opcode == 1 else payload
            if opcode is None:
                break
        raise TimeoutError(f"no message came within {READ_SECONDS} s; ended: {self.ended}")

    def listen(self, seconds):
        """Takes what comes for some time, or until the end."""
        deadline = time.monotonic() + seconds
        while self.ended is None and self.next(deadline)[0] is not None:
            pass

    def end(self):
        """Reads to the end, answers a Close frame, and wants the end of the stream behind it."""
        deadline = time.monotonic() + READ_SECONDS
        said = None
        while self.ended != "cut":
            opcode, payload = self.next(deadline)
            if opcode == 8:
                said = struct.unpack("!H", payload[:2])[0], payload[2:].decode()
                self.close(*said)
            elif opcode is None:
                break
        self.ended = said if self.ended == "cut" else f"the stream does not end, after {said}"
        return self.ended

    def next(self, deadline):
        """The next frame; (None, b"") at the deadline or the end."""
        try:
            head = self.take(2, deadline)
            length = head[1] & 0x7F
            if length > 125:
                size = 2 if length == 126 else 8
                length = int.from_bytes(self.take(size, deadline), "big")
            payload = self.take(length, deadline)
        except TimeoutError:
            return None, b""
        except OSError:
            self.ended = self.ended or "cut"
            return None, b""
        opcode = head[0] & 0x0F
        self.messages += opcode in (1, 2)
        if opcode == 9:
            self.pings += 1
            self.frame(10, payload)
        return opcode, payload

    def take(self, count, deadline):
        while len(self.received) < count:
            self.stream.settimeout(max(0.01, deadline - time.monotonic()))
            data = self.stream.recv(1 << 16)
            if not data:
                raise ConnectionError("the end")
            self.received += data
        taken, self.received = self.received[:count], self.received[count:]
        return taken
