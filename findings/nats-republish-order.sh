#!/usr/bin/env bash
# nats-server 2.9.10, JetStream: what a stream republishes is now and then not in the order of the stream.
#
# A stream with `republish` sends what it has stored on to subscribers without JetStream, and `Nats-Sequence` says where in
# the stream each message is. If more than one connection publishes, it does not always rise, not even on one subject.
# Seen in November 2026, with two connections that publish 5,000 messages each, the numbers being others in each run:
#
#   round 1: 10000 messages, 119 after a later one, at most 244 places late; by Nats-Last-Sequence: in order
#
# So a subscriber that wants the order of the stream keeps a message until that has come which its `Nats-Last-Sequence`
# names, the one before it on its subject; or it reads through a consumer. bellwire-rooms does the former. It is a race:
# there may be a round without it, so there are up to 20. Needs Debian 12's apt and python3. Fails when that changes.
set -euo pipefail
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/debian.bash"
unpack nats-server nats-server
port=$(free_port)
root/usr/sbin/nats-server -a 127.0.0.1 -p "$port" -js -sd "$PWD/store" 2>log &
listening "$port"
cat >try.py <<'PYTHON'
import json, re, socket, sys, threading

EACH = 5000
HEADERS = re.compile(rb"Nats-Sequence: (\d+)\r\n(?:[^\r\n]+\r\n)*?Nats-Last-Sequence: (\d+)\r\n")

def connect():
    """A connection that has been let in, and what to read from it with."""
    connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30)
    lines = connection.makefile("rb")
    connection.sendall(b'CONNECT {"verbose":false,"headers":true}\r\n')
    pong(connection, lines)
    return connection, lines

def pong(connection, lines):
    """Waits until the server has read all that was sent."""
    connection.sendall(b"PING\r\n")
    for line in lines:
        if line == b"PONG\r\n":
            return
    raise EOFError

def stream(name):
    """Makes a stream that republishes keep.NAME as live.NAME."""
    asked = json.dumps({"name": name, "subjects": [f"keep.{name}"], "storage": "memory", "retention": "limits",
                        "republish": {"src": f"keep.{name}", "dest": f"live.{name}"}})
    connection, lines = connect()
    connection.sendall(f"SUB answer 1\r\nPUB $JS.API.STREAM.CREATE.{name} answer {len(asked)}\r\n{asked}\r\n".encode())
    for line in lines:
        if line.startswith(b"{"):
            assert json.loads(line)["did_create"], line
            return

def publish(name):
    connection, lines = connect()
    for number in range(EACH):
        connection.sendall(f"PUB keep.{name} 4\r\n{number:04}\r\n".encode())
    pong(connection, lines)

def a_round(number):
    name = f"round{number}"
    stream(name)
    subscriber, lines = connect()
    subscriber.sendall(f"SUB live.{name} 1\r\n".encode())
    pong(subscriber, lines)
    publishers = [threading.Thread(target=publish, args=(name,)) for _ in range(2)]
    for publisher in publishers:
        publisher.start()
    came, waiting, ordered = [], {}, [0]
    for _ in range(2 * EACH):
        while (line := lines.readline().split()) == [b"PING"]:
            subscriber.sendall(b"PONG\r\n")
        assert line[0] == b"HMSG", line
        sequence, before = map(int, HEADERS.search(lines.read(int(line[-1]) + 2)).groups())
        came.append(sequence)
        waiting[before] = sequence
        while ordered[-1] in waiting:
            ordered.append(waiting.pop(ordered[-1]))
    for publisher in publishers:
        publisher.join()
    after, latest = 0, 0
    for sequence in came:
        after += sequence < latest
        latest = max(latest, sequence)
    late = max(place - sequence for place, sequence in enumerate(came, 1))
    in_order = ordered == list(range(2 * EACH + 1))
    print(f"round {number}: {len(came)} messages, {after} after a later one, at most {late} places late; "
          f"by Nats-Last-Sequence: {'in order' if in_order else 'not in order'}", flush=True)
    assert in_order
    return after

if not any(a_round(number) for number in range(1, 21)):
    sys.exit("it has changed")
PYTHON
timeout 120 python3 try.py "$port"
