"""The proxies that `.ci/proxies` tries: where they come from, and how each is run in the foreground."""

import collections

from programs import Failure

# After so much silence a proxy cuts a connection. It is more than two keepalive intervals, as by default.
SILENCE = 5

# Of each proxy its program, and the package of Debian that it is in.
PROGRAMS = {
    "nginx": "nginx", "haproxy": "haproxy", "lighttpd": "lighttpd", "apache": "apache2", "caddy": "caddy", "h2o": "h2o",
    "varnish": "varnishd", "squid": "squid", "trafficserver": "traffic_server",
}
# Those that have more configurations in the documentation: who the visitor is, told in headers or before everything else.
TELLING = {"nginx": ["nginx forwarded"], "haproxy": ["haproxy forwarded"]}
ANNOUNCING = {"nginx": ["nginx stream"], "haproxy": ["haproxy send-proxy", "haproxy send-proxy v1"]}
# Packages of modules that are not built in.
MODULES = {"nginx": ["libnginx-mod-stream"]}
DEBIAN = {**{name: name for name in PROGRAMS}, "apache": "apache2-bin"}
# Those that never cut a silent connection.
PATIENT = {"caddy"}
# Those that answer nothing before a health check of their own has found the server.
PROBING = {"varnish"}
# What each says its version to.
VERSION = {"caddy": "version", "trafficserver": "-V", "varnish": "-V"}


def replaced(block, *pairs):
    """With ports and times of the test. What is to be replaced has to be there: the documentation may have changed."""
    for old, new in pairs:
        if old not in block:
            raise Failure(f"{old!r} is not in the configuration of the documentation:\n{block}")
        block = block.replace(old, new)
    return block


# Of each proxy: its whole configuration, around the documentation's block, and the command that runs it in the
# foreground. `f` has the folder to work in, the port to listen on, and where bellwire listens.


def nginx(f, block):
    block = replaced(block, ("listen 80;", f"listen 127.0.0.1:{f.port};"), ("127.0.0.1:9001", f.upstream))
    return nginx_around(f, f"proxy_read_timeout {SILENCE}s;\n{block}")


def nginx_around(f, inside):
    f.write(f"""
        daemon off; pid {f.folder}/pid; error_log stderr;
        worker_processes 1;
        events {{ worker_connections 100; }}
        http {{
            access_log off;
            client_body_temp_path {f.folder}/body; proxy_temp_path {f.folder}/proxy;
            fastcgi_temp_path {f.folder}/fastcgi; uwsgi_temp_path {f.folder}/uwsgi; scgi_temp_path {f.folder}/scgi;
            {inside}
        }}""")
    return [f.program("nginx"), "-e", "stderr", "-p", f.folder, "-c", f.file]


def nginx_stream(f, block):
    module = f.unpacked.folder("usr/lib/nginx/modules") / "ngx_stream_module.so"
    block = replaced(block, ("listen 80;", f"listen 127.0.0.1:{f.port};"), ("127.0.0.1:9001", f.upstream))
    f.write(f"""
        load_module {module};
        daemon off; pid {f.folder}/pid; error_log stderr;
        worker_processes 1;
        events {{ worker_connections 100; }}
        {block}""")
    return [f.program("nginx"), "-e", "stderr", "-p", f.folder, "-c", f.file]


def haproxy_send_proxy(f, block):
    return haproxy_at(f, replaced(block, (" check ", " check inter 100ms ")))


def haproxy_send_proxy_v1(f, block):
    return haproxy_send_proxy(f, replaced(block, ("send-proxy-v2", "send-proxy")))


def haproxy(f, block):
    return haproxy_at(f, replaced(block, *HAPROXY_TIMES))


def haproxy_at(f, block):
    f.write(replaced(block, (":80", f"127.0.0.1:{f.port}"), ("127.0.0.1:9001", f.upstream)))
    return [f.program("haproxy"), "-db", "-f", f.file]


HAPROXY_TIMES = [
    ("timeout tunnel 1h", f"timeout tunnel {SILENCE}s"),
    # So that the health check has judged before the others begin.
    (" check\n", " check inter 100ms\n"),
]


def lighttpd(f, block):
    f.write(f"""
        server.port = {f.port}
        server.bind = "127.0.0.1"
        server.document-root = "{f.folder}"
        server.errorlog = "{f.folder}/log"
        server.max-read-idle = {SILENCE}
        server.max-write-idle = {SILENCE}
        {replaced(block, ('"port" => 9001', f'"port" => {f.upstream.rpartition(":")[2]}'))}""")
    return [f.program("lighttpd"), "-D", "-f", f.file, "-m", f.unpacked.folder("usr/lib/lighttpd")]


def apache(f, block):
    return apache_around(f, replaced(block, ("127.0.0.1:9001", f.upstream)))


def apache_around(f, inside, *more):
    modules = ["mpm_event", "authz_core", "proxy", "proxy_http", *more]
    folder = f.unpacked.folder("usr/lib/apache2/modules")
    load = "\n".join(f"LoadModule {module}_module {folder}/mod_{module}.so" for module in modules)
    f.write(f"""
        ServerRoot {f.folder}
        ServerName localhost
        PidFile {f.folder}/pid
        DefaultRuntimeDir {f.folder}
        ErrorLog {f.folder}/log
        StartServers 1
        Listen 127.0.0.1:{f.port}
        {load}
        Timeout {SILENCE}
        {inside}""".replace("\n        ", "\n"))
    return [f.program("apache2"), "-D", "FOREGROUND", "-f", f.file]


def caddy(f, block):
    block = replaced(block, ("public.example", f"http://127.0.0.1:{f.port}"), ("127.0.0.1:9001", f.upstream))
    f.write(f"{{\nadmin off\nauto_https off\n}}\n{block}")
    return ["env", f"HOME={f.folder}", f.program("caddy"), "run", "--adapter", "caddyfile", "--config", f.file]


def h2o(f, block):
    f.write(f"""
listen: {{ host: 127.0.0.1, port: {f.port} }}
proxy.websocket.timeout: {SILENCE * 1000}
hosts:
  default:
    {replaced(block, ("127.0.0.1:9001", f.upstream))}""")
    return [f.program("h2o"), "-m", "worker", "-c", f.file]


def squid(f, block):
    host, _, port = f.upstream.partition(":")
    block = replaced(block, ("http_port 80", f"http_port 127.0.0.1:{f.port}"),
                     ("cache_peer 127.0.0.1 parent 9001", f"cache_peer {host} parent {port}"))
    f.write(f"""
pid_filename none
cache_log {f.folder}/log
access_log none
cache_store_log none
coredump_dir {f.folder}
logfile_daemon /bin/false
pinger_enable off
icon_directory {f.unpacked.folder("usr/share/squid/icons")}
mime_table {f.unpacked.folder("usr/share/squid")}/mime.conf
error_directory {f.unpacked.folder("usr/share/squid-langpack/en")}
unlinkd_program {f.unpacked.folder("usr/lib/squid")}/unlinkd
shutdown_lifetime 0 seconds
read_timeout {SILENCE} seconds
cache_mem 8 MB
max_filedescriptors 1024
{block}""")
    return [f.program("squid"), "-N", "-f", f.file, "-n", f"proxy{f.port}"]


def trafficserver(f, block):
    """Its files are where `runroot.yaml` says; the documentation's block is two of them."""
    block = replaced(block, ("public.example", f.host), ("127.0.0.1:9001", f.upstream))
    records, remap = block.split("# remap.config", 1)
    places = {name: f.folder / name for name in
              ["sysconfdir", "localstatedir", "runtimedir", "logdir", "cachedir", "datadir", "mandir", "infodir"]}
    for place in places.values():
        place.mkdir()
        place.chmod(0o777)
    (places["sysconfdir"] / "records.config").write_text(f"""{records}
CONFIG proxy.config.http.server_ports STRING {f.port}:ip-in=127.0.0.1
CONFIG proxy.config.websocket.no_activity_timeout INT {SILENCE}
CONFIG proxy.config.http.cache.http INT 0
CONFIG proxy.config.admin.user_id STRING #-1
CONFIG proxy.config.body_factory.template_sets_dir STRING {f.unpacked.folder("etc/trafficserver/body_factory")}
CONFIG proxy.config.diags.show_location INT 0
""")
    allow = "ip_allow:\n  - apply: in\n    ip_addrs: 127.0.0.1\n    action: allow\n    methods: ALL\n"
    (places["sysconfdir"] / "ip_allow.yaml").write_text(allow)
    (places["sysconfdir"] / "storage.config").write_text(f"{places['cachedir']} 16M\n")
    (places["sysconfdir"] / "remap.config").write_text(f"map {remap.partition('map ')[2]}")
    f.write("\n".join(f"{name}: {place}" for name, place in {
        "prefix": f.folder, "exec_prefix": f.folder, **places,
        "bindir": f.unpacked.folder("usr/bin"), "sbindir": f.unpacked.folder("usr/sbin"),
        "libdir": f.unpacked.folder("usr/lib/trafficserver"),
        "libexecdir": f.unpacked.folder("usr/lib/trafficserver/modules"), "includedir": f.folder,
    }.items()) + "\n")
    return [f.program("traffic_server"), f"--run-root={f.file}"]


def varnish(f, block):
    host, _, port = f.upstream.partition(":")
    # With its own kind of health check, so that nothing works if that fails.
    probe = '.probe = { .url = "/"; .interval = 1s; .initial = 0; .window = 1; .threshold = 1; }'
    f.write(f"""vcl 4.1; backend bellwire {{ .host = "{host}"; .port = "{port}"; {probe} }}\n{block}""")
    return [f.program("varnishd"), "-F", "-f", f.file, "-a", f.host, "-n", f.folder / "work", "-p",
            f"pipe_timeout={SILENCE}", "-p", f"vmod_path={f.unpacked.folder('usr/lib')}", "-s", "default,10m"]


PROXIES = {
    "nginx": nginx, "haproxy": haproxy, "lighttpd": lighttpd, "apache": apache, "caddy": caddy, "h2o": h2o,
    "varnish": varnish, "squid": squid,
    "trafficserver": trafficserver,
    "nginx forwarded": nginx, "nginx stream": nginx_stream, "haproxy forwarded": haproxy,
    "haproxy send-proxy": haproxy_send_proxy, "haproxy send-proxy v1": haproxy_send_proxy_v1,
}


# Those that speak HTTP/2 to the server, and pass WebSockets on over it.


def haproxy_http2(f, block):
    f.write(replaced(block, (":80", f"127.0.0.1:{f.port}"), ("127.0.0.1:9001", f.upstream),
                     ("timeout tunnel 1h", f"timeout tunnel {SILENCE}s")))
    return [f.program("haproxy"), "-db", "-f", f.file]


def nghttpx(f, block):
    f.write(replaced(block, ("*,80", f"127.0.0.1,{f.port}"), ("127.0.0.1,9001", f.upstream.replace(":", ",")))
            + f"backend-read-timeout={SILENCE}s\naccesslog-file=/dev/null\nerrorlog-file={f.folder}/log\n")
    return [f.program("nghttpx"), f"--conf={f.file}", "--workers=1"]


OverHttp2 = collections.namedtuple("OverHttp2", "package configure")
OVER_HTTP2 = {"haproxy-http2": OverHttp2("haproxy", haproxy_http2), "nghttpx": OverHttp2("nghttp2-proxy", nghttpx)}
