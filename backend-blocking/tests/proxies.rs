//! The way of a client to its server on threads: proxies of each kind, redirects, and what is left of a way that leads
//! nowhere.

mod trust;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bellwire_blocking::{Server, Stream, TlsStream, connect_stream};
use bellwire_core::proto::client::{Phase, ProxyError, RedirectErrorKind, SocksFailure};
use bellwire_core::{Config, ConnectError, Proxy, Request, Response, ServerTls, Target, TlsError, listener};

use trust::{shared, trust, trust_of};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server that echoes, redirects by its query, or refuses.
fn server(tls: Option<ServerTls>) -> String {
    let server = Server::bind("127.0.0.1:0").unwrap().on_error(|_| ());
    let (scheme, server) = match tls {
        None => ("ws", server),
        Some(tls) => ("wss", server.tls(tls)),
    };
    let port = server.local_addr().unwrap().port();
    let handler = |request: &Request| match request.target().split_once('?') {
        Some((_, location)) => Response::new(302).header("Location", location),
        None => Response::websocket(listener().on_message(|socket, message| socket.send(message))),
    };
    thread::spawn(move || server.run(handler));
    format!("{scheme}://localhost:{port}/")
}

#[track_caller]
fn talks(target: &Target) {
    let (mut messages, _) = connect_stream(target).unwrap();
    for size in [1, 70_000, 1_000_000] {
        messages.send(vec![3; size]).unwrap();
        assert!(messages.recv_timeout(PATIENCE).unwrap().unwrap() == *vec![3; size], "{size}");
    }
    assert!(messages.close().clean);
}

/// What a proxy does with each client.
type Answer = fn(&mut dyn ReadWrite) -> io::Result<Option<TcpStream>>;

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

/// Answers clients one after the other, over TLS or not, and passes on what comes for the server that was found.
fn proxy(scheme: &str, tls: Option<ServerTls>, answer: Answer) -> Proxy {
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listening.local_addr().unwrap().port();
    thread::spawn(move || {
        for tcp in listening.incoming() {
            let (tcp, tls) = (tcp.unwrap(), tls.clone());
            thread::spawn(move || {
                let client: Arc<dyn Stream> = match tls {
                    None => Arc::new(tcp),
                    Some(tls) => Arc::new(TlsStream::server(tcp, &tls).unwrap()),
                };
                if let Ok(Some(server)) = answer(&mut Through(client.clone())) {
                    pass_on(&client, &server);
                }
            });
        }
    });
    Proxy::new(format!("{scheme}://a:b@localhost:{port}")).unwrap()
}

/// The library's streams as the standard library's traits.
struct Through(Arc<dyn Stream>);

impl Read for Through {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Through {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn pass_on(client: &Arc<dyn Stream>, server: &TcpStream) {
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = io::copy(&mut Through(client.clone()), &mut &*server);
            let _ = server.shutdown(Shutdown::Write);
        });
        let _ = io::copy(&mut &*server, &mut Through(client.clone()));
        let _ = client.shutdown(Shutdown::Write);
    });
}

fn read_head(client: &mut dyn ReadWrite) -> io::Result<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.extend(byte);
    }
    Ok(String::from_utf8(head).unwrap())
}

/// Leads to where CONNECT says.
fn http(client: &mut dyn ReadWrite) -> io::Result<Option<TcpStream>> {
    let head = read_head(client)?;
    assert!(head.contains("Proxy-Authorization: Basic YTpi\r\n"), "{head}");
    let host = head.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap();
    let server = TcpStream::connect(host)?;
    client.write_all(b"HTTP/1.1 200 Go on\r\n\r\n")?;
    Ok(Some(server))
}

/// Leads to where SOCKS5 says, by name or by address.
fn socks5(client: &mut dyn ReadWrite) -> io::Result<Option<TcpStream>> {
    let take = |count: usize, client: &mut dyn ReadWrite| {
        let mut bytes = vec![0; count];
        client.read_exact(&mut bytes).map(|()| bytes)
    };
    let methods = take(2, client)?[1];
    assert!(take(methods.into(), client)?.contains(&2));
    client.write_all(&[5, 2])?;
    assert_eq!(take(5, client)?, [1, 1, b'a', 1, b'b']);
    client.write_all(&[1, 0])?;
    let host = match take(4, client)?[..] {
        [5, 1, 0, 3] => {
            let length = take(1, client)?[0];
            String::from_utf8(take(length.into(), client)?).unwrap()
        }
        [5, 1, 0, 1] => take(4, client)?.iter().map(u8::to_string).collect::<Vec<_>>().join("."),
        [5, 1, 0, 4] => take(16, client).map(|_| "::1".into())?,
        ref other => panic!("{other:?}"),
    };
    let port = take(2, client)?;
    let server = TcpStream::connect((&*host, u16::from_be_bytes([port[0], port[1]])));
    client.write_all(&[5, if server.is_ok() { 0 } else { 5 }, 0, 1, 0, 0, 0, 0, 0, 0])?;
    server.map(Some)
}

#[test]
fn messages_pass_through_each_kind_of_proxy() {
    let (client, tls) = shared();
    let servers = [server(None), server(Some(tls.clone()))];
    for (scheme, secured, answer) in
        [("http", false, http as Answer), ("https", true, http), ("socks5h", false, socks5)]
    {
        let proxy = proxy(scheme, secured.then(|| tls.clone()), answer);
        for url in &servers {
            talks(&Target::new(url).unwrap().tls(client.clone()).proxy(proxy.clone()));
        }
    }
    // One that is given an address: the server listens on that of IPv4.
    let proxy = proxy("socks5", None, socks5);
    let url = servers[0].replace("localhost", "127.0.0.1");
    talks(&Target::new(url).unwrap().proxy(proxy));
}

#[test]
fn a_proxy_and_a_server_have_each_their_own_certificate() {
    let ((client, tls), (other_client, other)) = (shared(), trust_of(trust()));
    let (proxy, url) = (proxy("https", Some(other), http), server(Some(tls)));
    let target = || Target::new(&url).unwrap().tls(client.clone());
    let error = connect_stream(target().proxy(proxy.clone())).unwrap_err();
    assert!(matches!(error, ConnectError::Proxy(ProxyError::Tls(TlsError::Certificate(_)))), "{error:?}");
    let proxy = proxy.tls(other_client.clone());
    talks(&target().proxy(proxy.clone()));
    let error = connect_stream(target().tls(other_client).proxy(proxy)).unwrap_err();
    assert!(matches!(error, ConnectError::Tls(TlsError::Certificate(_))), "{error:?}");
}

#[test]
fn what_a_proxy_says_in_place_of_leading_on_is_told() {
    type Check = fn(&ConnectError) -> bool;
    let table: [(&str, Answer, Check); 6] = [
        (
            "http",
            |client| {
                read_head(client)?;
                client.write_all(b"HTTP/1.1 407 Who?\r\nContent-Length: 2\r\n\r\nno")?;
                Ok(None)
            },
            |error| matches!(error, ConnectError::Proxy(ProxyError::Refused(answer)) if answer.status() == 407),
        ),
        (
            "http",
            |client| {
                // Its body never ends; the refusal is known all the same.
                read_head(client)?;
                client.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 200\r\n\r\nno")?;
                thread::sleep(Duration::from_secs(2));
                Ok(None)
            },
            |error| matches!(error, ConnectError::Proxy(ProxyError::Refused(answer)) if answer.status() == 403),
        ),
        (
            "http",
            |client| {
                read_head(client)?;
                client.write_all(b"HTTP/1.1 200 Go on\r\n\r\nglued")?;
                Ok(None)
            },
            |error| matches!(error, ConnectError::Proxy(ProxyError::SpokeFirst)),
        ),
        (
            "http",
            |client| read_head(client).map(|_| None),
            |error| matches!(error, ConnectError::Proxy(ProxyError::Eof)),
        ),
        (
            "socks5h",
            |client| client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").map(|()| None),
            |error| matches!(error, ConnectError::Proxy(ProxyError::NotSocks5)),
        ),
        (
            "socks5h",
            |client| {
                let _ = socks5(client);
                Ok(None)
            },
            |error| matches!(error, ConnectError::Proxy(ProxyError::Socks(SocksFailure::Refused))),
        ),
    ];
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (index, (scheme, answer, is_right)) in table.into_iter().enumerate() {
        let config = Config::default().open_timeout(Duration::from_millis(500));
        let target = Target::new(format!("ws://{closed}/")).unwrap().config(config);
        let error = connect_stream(target.proxy(proxy(scheme, None, answer))).unwrap_err();
        assert!(is_right(&error), "{index}: {error:?}");
        assert!(!format!("{error:?} {error}").contains("YTpi"), "{error:?}");
    }
    let nobody = Proxy::new(format!("http://{closed}")).unwrap();
    let error = connect_stream(Target::new("ws://localhost:1/").unwrap().proxy(nobody)).unwrap_err();
    assert!(matches!(error, ConnectError::Proxy(ProxyError::Connect(_))), "{error:?}");
}

#[test]
fn a_proxy_that_stalls_is_what_took_too_long() {
    let timeout = Duration::from_millis(100);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr: SocketAddr = silent.local_addr().unwrap();
    for scheme in ["https", "http", "socks5h"] {
        let proxy = Proxy::new(format!("{scheme}://{addr}")).unwrap();
        let target = Target::new("ws://localhost:1/").unwrap().tls(shared().0).proxy(proxy);
        let start = Instant::now();
        let error = connect_stream(target.config(Config::default().open_timeout(timeout))).unwrap_err();
        assert!(matches!(error, ConnectError::Timeout(Phase::Proxy)), "{scheme}: {error:?}");
        assert!(start.elapsed() >= timeout);
        // Nothing of it is left.
        let (mut left, _) = silent.accept().unwrap();
        left.set_read_timeout(Some(PATIENCE)).unwrap();
        left.read_to_end(&mut Vec::new()).unwrap();
    }
}

#[test]
fn redirects_are_followed_to_tls_and_not_back() {
    let (client, tls) = shared();
    let (plain, secured) = (server(None), server(Some(tls)));
    let target = |url: String| Target::new(url).unwrap().tls(client.clone()).redirects(2);
    talks(&target(format!("{plain}a?{secured}")));
    talks(&target(format!("{plain}a?/b")));
    for (url, kind) in [
        (format!("{secured}a?{plain}"), RedirectErrorKind::Downgrade),
        (format!("{plain}a?/b?/c?/d?/e"), RedirectErrorKind::TooMany),
        (format!("{plain}a?http://a@b/"), RedirectErrorKind::UserInfo),
    ] {
        let error = connect_stream(target(url.clone())).unwrap_err();
        let ConnectError::Redirect(error) = error else { panic!("{url}: {error:?}") };
        assert_eq!(*error.kind(), kind, "{url}");
    }
    let error = connect_stream(target(format!("{plain}a?/b")).redirects(0)).unwrap_err();
    assert_eq!(error.response().unwrap().status(), 302);
}
