"""What stands between a client and its server in `.ci/clients`: programs that end TLS, and proxies. Each is a package of
Debian; `f` has the folder to work in."""

import subprocess

from certificates import key_of
from configurations import nginx_around

DEBIAN = ["squid", "tinyproxy-bin", "microsocks", "nginx", "haproxy"]

# Characters that mean something in a URL, in Basic authentication and in a shell.
USER, PASSWORD = "bell wire", "p@ss:w/rd%"
# Its configuration knows no others.
TINY_USER, TINY_PASSWORD = "bellwire", "s3cret-of-tinyproxy"

UPGRADE = """
    proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;"""


def nginx(f, certificates, upstream, ports, other):
    """TLS with each certificate and version, and redirects. `other` is the port of the server that they lead to."""
    def server(port, certificate, inside, *lines):
        ipv6 = f"listen [::1]:{port} ssl;" if f.ipv6 else ""
        return f"""server {{
            listen 127.0.0.1:{port} ssl; {ipv6}
            ssl_certificate {certificate}; ssl_certificate_key {key_of(certificate)};
            access_log {f.folder}/access heads;
            {" ".join(lines)} {inside}
        }}"""

    echo = f"location / {{ proxy_pass http://{upstream}; {UPGRADE} }}"
    redirects = "".join(f"location = /{status} {{ return {status} https://$http_host/; }}" for status in REDIRECTS)
    servers = [
        server(ports["good"], certificates.good, f"""{echo} {redirects}
            absolute_redirect off;
            location = /relative {{ return 302 /301; }}
            location = /loop {{ return 302 /loop; }}
            location = /down {{ return 302 http://{upstream}/; }}
            location = /rubbish {{ return 302 "http://[:::"; }}
            location = /other {{ return 307 wss://localhost:{other}/; }}
            location = /secured {{ return 307 https://$http_host/; }}"""),
        server(ports["tls12"], certificates.good, echo, "ssl_protocols TLSv1.2;"),
        server(ports["tls10"], certificates.good, echo, "ssl_protocols TLSv1; ssl_ciphers DEFAULT@SECLEVEL=0;"),
        *[server(ports[name], getattr(certificates, name), echo) for name in ("expired", "elsewhere", "selfsigned")],
    ]
    return nginx_around(f, f"""
        map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
        log_format heads '$server_port $uri [$http_authorization] [$http_cookie]';
        {" ".join(servers)}""")


REDIRECTS = [301, 302, 303, 307, 308]


def haproxy(f, certificates, upstream, port, tcp_port, tcp_upstream):
    """TLS in front of a server, and TLS in front of anything."""
    both = f.folder / "certificate"
    both.write_text(certificates.good.read_text() + key_of(certificates.good).read_text())
    both.chmod(0o644)
    ipv6 = f"bind [::1]:{port} ssl crt {both} alpn h2,http/1.1" if f.ipv6 else ""
    f.write(f"""
defaults
  timeout connect 5s
  timeout client 20s
  timeout server 20s
  timeout tunnel 60s
listen web
  mode http
  bind 127.0.0.1:{port} ssl crt {both} alpn h2,http/1.1
  {ipv6}
  server one {upstream}
listen anything
  mode tcp
  bind 127.0.0.1:{tcp_port} ssl crt {both}
  server one {tcp_upstream}
""")
    return [f.program("haproxy"), "-db", "-f", f.file]


def squid(f, ports):
    """One port is open, one wants a password, and one refuses."""
    words = f.folder / "passwords"
    hashed = subprocess.run(["openssl", "passwd", "-1", PASSWORD], check=True, capture_output=True, text=True).stdout
    words.write_text(f"{USER}:{hashed}")
    words.chmod(0o644)
    f.write(f"""
pid_filename none
cache_log {f.folder}/log
access_log stdio:{f.folder}/access
cache_store_log none
coredump_dir {f.folder}
pinger_enable off
icon_directory {f.unpacked.folder("usr/share/squid/icons")}
mime_table {f.unpacked.folder("usr/share/squid")}/mime.conf
error_directory {f.unpacked.folder("usr/share/squid-langpack/en")}
unlinkd_program {f.unpacked.folder("usr/lib/squid")}/unlinkd
shutdown_lifetime 0 seconds
cache_mem 8 MB
max_filedescriptors 1024
http_port 127.0.0.1:{ports["squid"]} name=open
http_port 127.0.0.1:{ports["squid with a password"]} name=locked
http_port 127.0.0.1:{ports["squid that refuses"]} name=refusing
auth_param basic program {f.unpacked.folder("usr/lib/squid")}/basic_ncsa_auth {words}
auth_param basic realm bellwire
acl open myportname open
acl refusing myportname refusing
acl known proxy_auth REQUIRED
http_access allow open
http_access deny refusing
http_access allow known
http_access deny all
""")
    return [f.program("squid"), "-N", "-f", f.file, "-n", f"tunnel{ports['squid']}"]


def tinyproxy(f, port, *more):
    lines = [f"Port {port}", "Listen 127.0.0.1", "Timeout 60", "LogLevel Connect", "MaxClients 50", *more]
    f.write("\n".join(lines) + "\n")
    return [f.program("tinyproxy"), "-d", "-c", f.file]


def microsocks(f, port, *more):
    return [f.program("microsocks"), "-i", "127.0.0.1", "-p", port, *more]
