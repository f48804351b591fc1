//! Clients that are sent elsewhere: where they go, what they take along, and when they stop.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use bellwire::proto::client::{Phase, RedirectError, RedirectErrorKind};
use bellwire::{ConnectError, Response, Target, is_upgrade_request, listener};
use bellwire_tests::{Backend, Connect, Frame, Setup, Trust, backends, echo, next, quiet};

use crate::client::{fail, raw_server};

backends! {
    client {
        u15_u16_a_redirect_leads_to_another_server_and_takes_no_credentials_there,
        u15_nobody_is_asked_who_was_not_to_be,
        u15_one_deadline_is_for_all_of_it,
    }
    pair {
        u15_u16_a_server_may_redirect_to_itself,
        u17_a_way_that_leads_nowhere_is_an_error_that_lists_it,
    }
}

fn redirect(location: &str) -> Vec<u8> {
    format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

fn follow(url: impl Into<String>, redirects: u8) -> Connect {
    Connect { redirects, ..Connect::to(url) }
}

fn u15_u16_a_redirect_leads_to_another_server_and_takes_no_credentials_there<B: Backend>() {
    let backend = B::start();
    let (second, open) = raw_server(|mut raw| {
        raw.write(&raw.switching(&["Sec-WebSocket-Protocol: mqtt"]));
        raw.write(&Frame::text("hello").encode(false));
        (raw.head.clone(), raw)
    });
    let location = format!("{}chat?room=1", second.replace("ws://", "http://"));
    let (first, sent_on) = raw_server(move |mut raw| {
        raw.write(&redirect(&location));
        raw.drain();
        raw.head
    });
    let headers = vec![("Authorization", "Bearer 42"), ("Cookie", "id=42"), ("X-Own", "1")];
    let (sender, messages) = mpsc::channel();
    let hears = listener().on_message(move |_, message| sender.send(message.into_owned()));
    let connect = Connect { headers, protocols: vec!["mqtt"], ..follow(first.replace("://", "://u:42@"), 1) };
    let client = backend.connect(connect, hears).unwrap();
    let peer = second.trim_start_matches("ws://").trim_end_matches('/');
    assert_eq!((client.socket.path(), client.socket.protocol()), (Some("/chat"), Some("mqtt")));
    assert_eq!(client.socket.peer_addr().map(|addr| addr.to_string()).as_deref(), Some(peer));
    assert_eq!(client.response.status(), 101);
    assert_eq!(next(&messages), "hello");

    let first_head = sent_on.join().unwrap();
    assert!(first_head.contains("Authorization: Bearer 42\r\n") && first_head.contains("Cookie: id=42\r\n"));
    let (head, _raw) = open.join().unwrap();
    assert!(head.starts_with(&format!("GET /chat?room=1 HTTP/1.1\r\nHost: {peer}\r\n")), "{head}");
    assert!(head.contains("X-Own: 1\r\n") && !head.contains("42\r\n"), "{head}");
}

fn u15_nobody_is_asked_who_was_not_to_be<B: Backend>() {
    let backend = B::start();
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let location = format!("http://{}/", elsewhere.local_addr().unwrap());
    for redirects in [0, 1] {
        let location = if redirects == 0 { location.clone() } else { location.replace("://", "://user:secret@") };
        let (url, server) = raw_server(move |mut raw| {
            raw.write(&redirect(&location));
            raw.drain();
        });
        let error = fail(&backend, follow(url, redirects));
        assert_eq!(error.response().map(|response| response.status()), Some(307));
        assert_eq!(
            matches!(&error, ConnectError::Redirect(error) if *error.kind() == RedirectErrorKind::UserInfo),
            redirects == 1
        );
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        server.join().unwrap();
    }
    elsewhere.set_nonblocking(true).unwrap();
    assert_eq!(elsewhere.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

fn u15_one_deadline_is_for_all_of_it<B: Backend>() {
    let backend = B::start();
    let (silent, left) = raw_server(|mut raw| raw.drain());
    let (url, sent_on) = raw_server(move |mut raw| {
        raw.write(&redirect(&silent));
        raw.drain();
    });
    let config = quiet().open_timeout(Duration::from_millis(300));
    let error = fail(&backend, follow(url, 3).config(config));
    assert!(matches!(error, ConnectError::Timeout(Phase::Handshake)), "{error:?}");
    // Neither connection stays.
    sent_on.join().unwrap();
    left.join().unwrap();
}

/// A server that sends everybody on.
fn server<B: Backend>(backend: &B) -> (bellwire_tests::Server, mpsc::Receiver<String>) {
    let (sender, asked) = mpsc::channel();
    let server = backend.serve(Setup::default(), move |request| {
        sender.send(request.target().to_owned()).unwrap();
        let to = |location: &str| Response::new(302).header("Location", location);
        match request.path() {
            "/old/chat" => to("../chat?x#y"),
            "/a" => to("/b"),
            "/b" => to("/c?secret=1"),
            "/c" => to("a"),
            "/bad" => to("gopher://h/?secret=1"),
            "/chat" if is_upgrade_request(request) && request.cookie("id") == Some("42") => {
                assert!(request.basic_auth().is_some_and(|auth| auth.matches("u", "p")));
                Response::websocket(echo())
            }
            _ => Response::not_found(),
        }
    });
    (server, asked)
}

fn u15_u16_a_server_may_redirect_to_itself<B: Backend>() {
    let backend = B::start();
    let (server, asked) = server(&backend);
    let url = server.url("/old/chat").replace("://", "://u:p@");
    let connect = Connect { headers: vec![("Cookie", "id=42")], ..follow(url, 1) };
    let client = backend.connect(connect, listener()).unwrap();
    assert_eq!([next(&asked), next(&asked)], ["/old/chat", "/chat?x"]);
    assert_eq!(client.socket.path(), Some("/chat"));
}

fn u17_a_way_that_leads_nowhere_is_an_error_that_lists_it<B: Backend>() {
    let backend = B::start();
    let (server, asked) = server(&backend);
    let failed = |path: &str, redirects| match fail(&backend, follow(server.url(path), redirects)) {
        ConnectError::Redirect(error) => error,
        error => panic!("{error:?}"),
    };
    let at = |path: &str| server.url(path);
    let check = |error: RedirectError, kind: RedirectErrorKind, way: &[&str], requests: usize| {
        assert_eq!(*error.kind(), kind);
        let way: Vec<_> = way.iter().map(|path| at(path)).collect();
        assert!(error.to_string().contains(&way.join(" -> ")), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
        assert_eq!((asked.try_iter().count(), error.response().status()), (requests, 302));
    };
    check(failed("/a", 9), RedirectErrorKind::Loop, &["/a", "/b", "/c?..", "/a"], 3);
    check(failed("/a", 1), RedirectErrorKind::TooMany, &["/a", "/b", "/c?.."], 2);
    let scheme = bellwire::proto::UriError::Scheme("gopher".into());
    check(failed("/bad", 9), RedirectErrorKind::Location(scheme), &["/bad"], 1);
    assert_eq!(fail(&backend, follow(server.url("/nothing"), 9)).response().unwrap().status(), 404);
}

mod over_tls {
    use super::{ConnectError, RedirectErrorKind, Response, Target, Trust, echo, mpsc, next, raw_server, redirect};

    #[tokio::test]
    async fn u15_u16_from_http_to_https_and_never_back() {
        let trust = Trust::shared();
        let (sender, asked) = mpsc::channel();
        let server = bellwire::tokio::Server::bind("127.0.0.1:0").await.unwrap().tls(trust.server());
        let port = server.local_addr().unwrap().port();
        tokio::spawn(server.run(move |request| {
            sender.send(request.headers().clone()).unwrap();
            match request.path() {
                "/back" => Response::new(301).header("Location", "http://localhost/"),
                _ => Response::websocket(echo()),
            }
        }));
        let (plain, sent_on) = raw_server(move |mut raw| raw.write(&redirect(&format!("https://localhost:{port}/x"))));
        let target =
            |url: &str| Target::new(url).unwrap().tls(trust.client()).redirects(5).basic_auth("u", "42").unwrap();
        let (mut messages, _) = bellwire::tokio::connect_stream(target(&plain)).await.unwrap();
        messages.send("hello").await.unwrap();
        assert_eq!(messages.recv().await.unwrap().unwrap(), "hello");
        assert!(!next(&asked).contains("Authorization"));
        sent_on.join().unwrap();

        let error = bellwire::tokio::connect_stream(target(&format!("wss://localhost:{port}/back"))).await.unwrap_err();
        let ConnectError::Redirect(error) = error else { panic!("{error:?}") };
        assert_eq!(*error.kind(), RedirectErrorKind::Downgrade);
        assert!(error.to_string().ends_with(&format!(": wss://localhost:{port}/back -> ws://localhost/")), "{error}");
        assert!(next(&asked).contains("Authorization"));
    }
}
