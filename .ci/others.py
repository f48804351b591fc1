"""Other implementations of WebSocket, installed for a check in target/deflate."""

import json
import os
import pathlib
import shutil
import subprocess
import venv

from programs import INSTALL_SECONDS, Failure

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "deflate"

PYTHON = ["websockets==17.4", "aiohttp==3.14.5", "wsproto==1.3.2", "hypercorn==0.18.0", "h2==4.4.1"]
NODE = "ws@8.23.0"


class Others:
    """Their programs, installed if they are not there yet. Each sends messages, and wants all of them back."""

    def __init__(self, check):
        self.check = check
        FOLDER.mkdir(parents=True, exist_ok=True)

    def install_python(self):
        folder, wanted = FOLDER / "venv", " ".join(PYTHON)
        installed = folder / "installed"
        if not installed.exists() or installed.read_text() != wanted:
            venv.create(folder, clear=True, with_pip=True)
            command = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", *PYTHON]
            subprocess.run(command, check=True, timeout=INSTALL_SECONDS)
            installed.write_text(wanted)
        print(f"{self.check}: {wanted}", flush=True)

    def install_node(self):
        if not shutil.which("npm"):
            raise Failure("node and npm are not there: install them by hand")
        package = FOLDER / "node_modules" / "ws" / "package.json"
        if not package.exists() or json.loads(package.read_text())["version"] != NODE.partition("@")[2]:
            command = ["npm", "install", "--prefix", FOLDER, "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", NODE]
            subprocess.run(command, check=True, timeout=INSTALL_SECONDS, stdout=subprocess.DEVNULL)
        print(f"{self.check}: {NODE}", flush=True)

    @staticmethod
    def command(name, role, *arguments):
        if name == "ws":
            # It looks for its packages where it lies.
            program = shutil.copy(ROOT / ".ci" / "deflate_peer.js", FOLDER)
            return ["node", program, role, *arguments]
        return [FOLDER / "venv" / "bin" / "python", ROOT / ".ci" / "deflate_peers.py", name, role, *arguments]
