"""Certificates of a check, made by openssl: an authority, and servers' certificates that it signed."""

import pathlib
import subprocess

NAMES = "DNS:localhost,IP:127.0.0.1,IP:::1"
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

# `openssl x509` cannot make one that has expired, but for one that ends before it begins.
CONFIGURATION = """
[ca]
default_ca = authority
[authority]
database = {folder}/database
new_certs_dir = {folder}
default_md = sha256
default_days = 2
rand_serial = yes
unique_subject = no
policy = anything
[anything]
commonName = supplied
"""


class Certificates:
    """In a folder of their own, which everybody may read. `authority` is what clients trust, `stranger` an authority that
    has signed nothing."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        folder.chmod(0o755)
        (folder / "database").touch()
        (folder / "configuration").write_text(CONFIGURATION.format(folder=folder))
        self.authority = self.make_authority("authority")
        self.stranger = self.make_authority("stranger")
        self.good = self.sign("good")
        self.expired = self.sign("expired", dates=["-startdate", "20200101000000Z", "-enddate", "20200201000000Z"])
        self.elsewhere = self.sign("elsewhere", names="DNS:elsewhere.example")
        self.selfsigned = self.sign("selfsigned", authority="-selfsign")

    def make_authority(self, name):
        made = self.folder / f"{name}.pem"
        self.openssl("req", "-x509", *KEY, "-keyout", made.with_suffix(".key"), "-out", made, "-days", "2",
                     "-subj", f"/CN=bellwire's test, {name}", "-addext", "keyUsage=critical,keyCertSign")
        return made

    def sign(self, name, names=NAMES, dates=(), authority=None):
        """A certificate for these names; its key lies beside it."""
        made = self.folder / f"{name}.pem"
        key, request, extensions = made.with_suffix(".key"), made.with_suffix(".csr"), made.with_suffix(".ext")
        self.openssl("req", *KEY, "-keyout", key, "-out", request, "-subj", "/CN=bellwire's test")
        extensions.write_text(f"subjectAltName={names}\nbasicConstraints=critical,CA:false\nextendedKeyUsage=serverAuth\n")
        by = [authority, "-keyfile", key] if authority else [
            "-cert", self.authority, "-keyfile", self.authority.with_suffix(".key")]
        self.openssl("ca", "-batch", "-notext", "-config", self.folder / "configuration", *by, "-in", request, "-out", made,
                     "-extfile", extensions, *dates)
        # Programs that run as nobody read it, too.
        key.chmod(0o644)
        return made

    @staticmethod
    def openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.PIPE, timeout=30)


def key_of(certificate):
    return pathlib.Path(certificate).with_suffix(".key")
