//! What reverse proxies make of an upgrade and of its answer, byte for byte as they were seen. `.ci/proxies` runs some
//! of them; docs/peers.md says how each is configured.

use std::io::{Read, Write};
use std::net::TcpStream;

use bellwire::{Request, Response, is_upgrade_request, listener};
use bellwire_tests::{Backend, Connect, Event, Frame, PATIENCE, Raw, Setup, backends, logged, logged_handler};

use crate::client::raw_server;

backends! {
    server {
        p1_an_upgrade_is_accepted_as_each_proxy_passes_it_on,
        p1_the_key_that_lighttpd_sends_for_all_is_one,
    }
    client {
        p2_the_answer_is_accepted_as_each_proxy_passes_it_on,
    }
}

/// What a browser sends that all of them leave alone.
const BROWSER: &str = "Pragma: no-cache\r\nCache-Control: no-cache\r\nUser-Agent: Mozilla/5.0\r\n\
    Origin: http://public.example\r\nSec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate\r\n\
    Accept-Language: en-GB,en;q=0.9\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

/// What each puts before that, with the settings of docs/peers.md; HTTP/2 in front is said where it is.
const REQUESTS: [(&str, &str); 14] = [
    ("nginx", "Host: public.example\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"),
    ("nginx, of keep-alive, Upgrade", "Host: public.example\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n"),
    ("HAProxy", "host: public.example\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"),
    (
        "Apache",
        "Host: public.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Forwarded-For: 192.0.2.1, 127.0.0.1\r\n\
         X-Forwarded-Host: public.example\r\nX-Forwarded-Server: localhost\r\n",
    ),
    (
        "Apache, HTTP/2",
        "Host: public.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\
         X-Forwarded-For: 127.0.0.1\r\n",
    ),
    ("Apache, mod_proxy_wstunnel", "Host: public.example\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"),
    (
        "Caddy",
        "Host: public.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Forwarded-For: 127.0.0.1\r\n\
         X-Forwarded-Host: public.example\r\nX-Forwarded-Proto: http\r\n",
    ),
    (
        "lighttpd",
        "Host: public.example\r\nX-Forwarded-For: 127.0.0.1\r\nX-Host: public.example\r\n\
         X-Forwarded-Host: public.example\r\nX-Forwarded-Proto: http\r\nUpgrade: websocket\r\nConnection: close, upgrade\r\n",
    ),
    (
        "Varnish",
        "Host: public.example\r\nX-Forwarded-For: 127.0.0.1\r\nX-Varnish: 2\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    ),
    (
        "Varnish, of keep-alive, Upgrade",
        "Host: public.example\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n",
    ),
    (
        "Traffic Server",
        "Host: public.example\r\nClient-ip: 127.0.0.1\r\nX-Forwarded-For: 127.0.0.1\r\n\
         Via: http/1.1 public.example[0123456789abcdef] (ApacheTrafficServer/9.2.9)\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
    ),
    (
        "Squid",
        "Host: public.example\r\nVia: 1.1 public.example (squid/5.7)\r\nSurrogate-Capability: public=\"Surrogate/1.0\"\r\n\
         X-Forwarded-For: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n",
    ),
    ("h2o", "Host: public.example\r\nconnection: upgrade\r\nupgrade: websocket\r\nx-forwarded-proto: http\r\n"),
    (
        "h2o, with its Via",
        "Host: public.example\r\nconnection: upgrade\r\nupgrade: websocket\r\nx-forwarded-for: 127.0.0.1\r\nvia: 1.1 public.example\r\n",
    ),
];

/// A page and a WebSocket at the same address, as in the `echo` example: the upgrade has to be recognized, too.
fn app(request: &Request) -> Response {
    assert!(is_upgrade_request(request), "{request:?}");
    Response::websocket(listener().on_message(|socket, message| socket.send(message)))
}

fn p1_an_upgrade_is_accepted_as_each_proxy_passes_it_on<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), app);
    for (proxy, lines) in REQUESTS {
        for browser in [BROWSER.to_owned(), BROWSER.replace("WebSocket", "Websocket"), BROWSER.to_ascii_lowercase()] {
            // All names in lower case are HAProxy's; a key is not to be changed.
            let browser = browser.replace("dghlihnhbxbszsbub25jzq==", "dGhlIHNhbXBsZSBub25jZQ==");
            let request = format!("GET /?room=1 HTTP/1.1\r\n{lines}{browser}\r\n");
            let mut client = Raw::open_with(server.addr, request.as_bytes());
            client.send([Frame::text(proxy), Frame::close(1000, "")]);
            client.expect([Frame::text(proxy), Frame::close(1000, "")]);
            client.expect_end();
        }
    }
    assert!(server.reports.try_recv().is_err(), "nothing was refused");
}

fn p1_the_key_that_lighttpd_sends_for_all_is_one<B: Backend>() {
    let backend = B::start();
    let (handler, logs) = logged_handler(|_| listener().on_open(|socket| socket.close()));
    let server = backend.serve(Setup::default(), handler);
    let browser = BROWSER.replace("dGhlIHNhbXBsZSBub25jZQ==", "MDAwMDAwMDAwMDAwMDAwMA==");
    let request = format!(
        "GET / HTTP/1.1\r\nHost: public.example\r\nConnection: close, upgrade\r\nUpgrade: websocket\r\n{browser}\r\n"
    );
    let mut stream = TcpStream::connect(server.addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream.write_all(&Frame::close(1000, "").encode(true)).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.contains("tb403IRLas8CVkLDneo/uRhHmBg="), "{answer}");
    drop(stream);
    logs.next().ends_with([Event::Open, Event::close(1000, "")]);
}

/// The head that each hands to the client, with `ACCEPT` for the value that it has to have.
const ANSWERS: [(&str, &str); 8] = [
    (
        "nginx",
        "Server: nginx/1.22.1\r\nDate: Sat, 28 Nov 2026 12:00:00 GMT\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: ACCEPT\r\n",
    ),
    ("HAProxy", "upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ACCEPT\r\n"),
    ("Apache", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n"),
    (
        "Caddy",
        "Connection: Upgrade\r\nSec-Websocket-Accept: ACCEPT\r\nServer: Caddy\r\nServer: another\r\nUpgrade: websocket\r\n",
    ),
    (
        "lighttpd",
        "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ACCEPT\r\nDate: Sat, 28 Nov 2026 12:00:00 GMT\r\n\
         Server: lighttpd/1.4.69\r\n",
    ),
    (
        "Traffic Server",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\
         Date: Sat, 28 Nov 2026 12:00:00 GMT\r\nAge: 0\r\nServer: ATS/9.2.9\r\n",
    ),
    (
        "Squid",
        "Upgrade: websocket\r\nSec-WebSocket-Accept: ACCEPT\r\nX-Cache: MISS from public.example\r\n\
         X-Cache-Lookup: MISS from public.example:80\r\nVia: 1.1 public.example (squid/5.7)\r\nConnection: upgrade\r\n",
    ),
    (
        "h2o",
        "Connection: upgrade\r\nDate: Sat, 28 Nov 2026 12:00:00 GMT\r\nServer: h2o/2.2.5\r\nupgrade: websocket\r\n\
         sec-websocket-accept: ACCEPT\r\n",
    ),
];

/// In one segment with the first messages, as all of them may send it.
fn p2_the_answer_is_accepted_as_each_proxy_passes_it_on<B: Backend>() {
    let backend = B::start();
    for (proxy, lines) in ANSWERS {
        let (url, server) = raw_server(move |mut raw| {
            let ours = String::from_utf8(raw.switching(&[])).unwrap();
            let accept = ours.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Accept: ")).unwrap().to_owned();
            let mut bytes =
                format!("HTTP/1.1 101 Switching Protocols\r\n{}\r\n", lines.replace("ACCEPT", &accept)).into_bytes();
            for frame in [Frame::text("one"), Frame::text("two"), Frame::close(1000, "")] {
                bytes.extend(frame.encode(false));
            }
            raw.write(&bytes);
            raw.expect([Frame::close(1000, "")]);
        });
        let (listener, log) = logged(listener());
        let client = backend.connect(Connect::to(url), listener).unwrap_or_else(|error| panic!("{proxy}: {error}"));
        drop(client);
        log.ends_with([Event::Open, Event::text("one"), Event::text("two"), Event::close(1000, "")]);
        server.join().unwrap();
    }
}
