"""Programs that a check starts, and packages of Debian that it takes some of them from."""

import contextlib
import glob
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

START_SECONDS = 20
INSTALL_SECONDS = 120


class Failure(Exception):
    """What a check found."""


class Program:
    """A program that is ended, with all that it started, when the block that uses it is left. Inside of a folder of
    its own, if it has one, and as nobody then."""

    running = set()

    def __init__(self, command, folder=None, environment=None):
        self.log = tempfile.TemporaryFile()
        user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if folder and os.geteuid() == 0 else {}
        self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, start_new_session=True, cwd=folder, env=environment, **user)
        Program.running.add(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self.process.wait()
        Program.running.discard(self)

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def wait_for(self, condition, or_its_end=False):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := condition():
                return found
            time.sleep(0.02)
        if not or_its_end:
            raise Failure(f"{self.process.args[0]} does not start:\n{self.output()}")

    def output(self):
        # Not by seek and read: the program writes where that would leave off.
        return os.pread(self.log.fileno(), 1 << 20, 0).decode(errors="replace")


class Unpacked:
    """Packages, and what they need that is not installed, in a folder. Nobody has to be root for it, and no service is
    started."""

    def __init__(self, root, packages, kept):
        self.root = root
        self.kept = kept
        (root / "partial").mkdir(parents=True)
        for package in self.download(packages):
            subprocess.run(["dpkg", "-x", package, root], check=True)
        libraries = {os.path.dirname(found) for found in glob.glob(f"{root}/**/*.so.*", recursive=True)}
        self.environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(sorted(libraries))}

    def download(self, packages):
        (self.kept / "partial").mkdir(parents=True, exist_ok=True)
        own_lists = ["-o", f"Dir::State::lists={self.kept}/lists"]
        try:
            return self.apt_get(packages, [])
        except subprocess.SubprocessError:
            (self.kept / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        try:
            self.run_apt_get([*own_lists, "update"])
            return self.apt_get(packages, own_lists)
        except (OSError, subprocess.SubprocessError) as error:
            raise Failure(f"{', '.join(packages)} cannot be downloaded: {error}") from None

    def apt_get(self, packages, options):
        """Downloads what is missing, and says which files that is. What is installed is not among them."""
        install = ["-y", "--download-only", "--no-install-recommends", "install", *packages]
        # What is in the folder already is not in a plan; so the plan is made for another, which is empty.
        plan = self.run_apt_get([*options, "-o", f"Dir::Cache::archives={self.root}", "--print-uris", *install])
        self.run_apt_get([*options, *install])
        return [self.kept / found for found in re.findall(r"^'\S+' (\S+\.deb) ", plan, re.MULTILINE)]

    def run_apt_get(self, arguments):
        own = ["-o", "Debug::NoLocking=1", "-o", f"Dir::Cache::archives={self.kept}"]
        done = subprocess.run(["apt-get", *own, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              text=True, check=True, timeout=INSTALL_SECONDS)
        return done.stdout

    def program(self, name):
        path = [self.root / "usr" / "sbin", self.root / "usr" / "bin", os.environ.get("PATH", ""), "/usr/sbin"]
        found = shutil.which(name, path=":".join(map(str, path)))
        return found or sys.exit(f"{name} is not there")

    def folder(self, path):
        return self.root / path if (self.root / path).exists() else pathlib.Path("/") / path

    def version(self, program, option):
        command = [self.program(program), option]
        done = subprocess.run(command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.stdout.splitlines()[0]


class Ports:
    """Ports for proxies, each given once. Not of those that the system gives to connections: such a one can be taken
    again before its proxy listens, and then whoever has it is taken for the proxy."""

    def __init__(self):
        self.lock = threading.Lock()
        self.given = set()

    def free(self):
        while True:
            port = random.randrange(10_000, 32_000)
            with self.lock, contextlib.suppress(OSError):
                if port not in self.given:
                    socket.create_server(("127.0.0.1", port)).close()
                    self.given.add(port)
                    return port


PORTS = Ports()
