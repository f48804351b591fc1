//! The way to a server: TLS, proxies, redirects.

mod support;
#[path = "support/trust.rs"]
mod trust;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use bellwire::{Request, Response, listener};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use support::{Ended, Running, Served, answers, program, run};
use trust::Trust;

/// A server that echoes over TLS, with a certificate for this name.
fn secure(trust: &Trust, name: &str) -> (Running, String) {
    let [cert, key] = trust.certify(name);
    let mut server = Running::start(&["listen", "127.0.0.1:0", "--jsonl", "--echo", "--tls", &cert, &key]);
    let url = server.event("listening")["url"].as_str().unwrap().into();
    (server, url)
}

fn says(ended: &Ended, status: i32, text: &str) {
    assert!(ended.status == Some(status) && ended.err.contains(text), "{text}: {ended:?}");
}

#[test]
fn a_servers_certificate_is_checked_with_roots_of_the_users_own() {
    let trust = Trust::new();
    let (_server, url) = secure(&trust, "127.0.0.1");
    assert!(url.starts_with("wss://"), "{url}");
    let ended = run(&["connect", &url, "--ca", &trust.root()], "hello\n");
    assert_eq!((ended.text(), ended.status), ("hello\n", Some(0)), "{ended:?}");
    assert!(!ended.err.contains("warning"), "{ended:?}");
    // Neither those of the system nor others have signed it.
    assert_eq!(run(&["connect", &url], "").status, Some(3));
    says(&run(&["connect", &url, "--ca", &Trust::new().root()], ""), 3, "(--ca FILE takes other roots)");
    let (_server, url) = secure(&trust, "other.example");
    says(&run(&["connect", &url, "--ca", &trust.root()], ""), 3, "certificate is not trusted");
}

#[test]
fn without_checks_there_is_a_warning() {
    let (_server, url) = secure(&Trust::new(), "other.example");
    let ended = run(&["connect", &url, "-k", "-q"], "hello\n");
    assert_eq!((ended.text(), ended.status), ("hello\n", Some(0)), "{ended:?}");
    assert!(ended.err.starts_with("bellwire: warning: --insecure: certificates are not checked"), "{ended:?}");
    let ended = run(&["bench", &url, "-k", "--json", "--rate", "20", "--duration", "0.1"], "");
    assert!(ended.status == Some(0) && ended.text().contains("\"answered\":2"), "{ended:?}");
}

#[test]
fn a_client_may_have_a_certificate() {
    let trust = Trust::new();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(trust.root()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap();
    let [cert, key] = trust.certify("127.0.0.1");
    let chain = vec![CertificateDer::from_pem_file(cert).unwrap()];
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_client_cert_verifier(verifier);
    let config = config.with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap();
    let server = Served::over_tls(config);

    let ([cert, key], ca) = (trust.certify("client.example"), trust.root());
    let ended = run(&["connect", &server.url(), "--ca", &ca, "--cert", &cert, "--key", &key], "hello\n");
    assert_eq!((ended.text(), ended.status), ("hello\n", Some(0)), "{ended:?}");
    assert_ne!(run(&["connect", &server.url(), "--ca", &ca, "--stay"], "").status, Some(0));
}

#[test]
fn files_that_are_none_are_told() {
    let trust = Trust::new();
    let ([cert, key], empty, root) = (trust.certify("a"), trust.file("empty", ""), trust.root());
    let broken = trust.file("broken", "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n");
    for (arguments, status, text) in [
        (&["--ca", "/nonexistent"][..], 1, "bellwire: /nonexistent: "),
        (&["--ca", &empty], 1, "there is no certificate in it, in PEM"),
        (&["--ca", &broken], 1, &*broken),
        (&["--cert", &cert, "--key", &cert], 1, "there is no private key in it, in PEM"),
        (&["--cert", &cert], 2, "--cert and --key belong together"),
        (&["--ca", &root, "--insecure"], 2, "exclude each other"),
    ] {
        says(&run(&[&["connect", "wss://127.0.0.1:1"], arguments].concat(), ""), status, text);
    }
    says(&run(&["listen", "0", "--tls", &key, &key], ""), 1, "there is no certificate in it");
    says(&run(&["listen", "0", "--tls", &cert], ""), 2, "--tls");
}

#[test]
fn tls_and_plain_text_do_not_meet() {
    let plain = Served::echo();
    says(&run(&["connect", &format!("wss://{}/", plain.addr)], ""), 3, "does not speak TLS");
    let (_server, url) = secure(&Trust::new(), "127.0.0.1");
    let ended = run(&["connect", &url.replace("wss:", "ws:")], "");
    assert!(matches!(ended.status, Some(3 | 5)), "{ended:?}");
}

/// A proxy that takes CONNECT, and the heads that it was asked with.
fn proxy() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, heads) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let asked = heads.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut client, mut head) = (stream.unwrap(), Vec::new());
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                client.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            let head = String::from_utf8(head).unwrap();
            let mut server = TcpStream::connect(head.split(' ').nth(1).unwrap()).unwrap();
            asked.lock().unwrap().push(head);
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let (mut up, mut down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let pass_on = |from: &mut TcpStream, to: &mut TcpStream| {
                let _ = io::copy(from, to);
                let _ = to.shutdown(Shutdown::Write);
            };
            thread::spawn(move || pass_on(&mut up, &mut server));
            thread::spawn(move || pass_on(&mut down, &mut client));
        }
    });
    (addr, heads)
}

#[test]
fn a_proxy_is_gone_through() {
    let ((proxy, heads), server) = (proxy(), Served::echo());
    let asked = || heads.lock().unwrap().drain(..).collect::<String>();
    let ended = run(&["connect", &server.url(), "--proxy", &format!("http://user:hunter2@{proxy}")], "hello\n");
    assert_eq!((ended.text(), ended.status), ("hello\n", Some(0)), "{ended:?}");
    assert!(!ended.err.contains("hunter2"), "{ended:?}");
    let head = asked();
    assert!(head.starts_with(&format!("CONNECT {} HTTP/1.1\r\n", server.addr)), "{head}");
    assert!(head.contains("Proxy-Authorization: Basic dXNlcjpodW50ZXIy\r\n"), "{head}");

    // The environment's is, too, unless the user says no.
    let with_environment = |arguments: &[&str]| {
        let url = server.url();
        let mut command = program(&[&["connect", &url, "--send", "a"], arguments].concat());
        assert!(command.env("http_proxy", format!("http://{proxy}")).output().unwrap().status.success());
        asked()
    };
    assert!(with_environment(&[]).starts_with("CONNECT "));
    assert_eq!(with_environment(&["--no-proxy"]), "");
}

#[test]
fn a_proxy_that_is_none_or_refuses_is_told() {
    let through = |proxy: SocketAddr| {
        let url = format!("http://user:hunter2@{proxy}");
        let ended = run(&["connect", "ws://host.invalid/", "--proxy", &url], "");
        assert!(!ended.err.contains("hunter2"), "{ended:?}");
        ended
    };
    let needs = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n";
    says(&through(answers(needs)), 4, "407");
    assert_eq!(through(answers(b"SSH-2.0-OpenSSH\r\n\r\n")).status, Some(5));
    assert_eq!(through(support::nobody()).status, Some(3));
    for (arguments, text) in
        [(&["--proxy", "ftp://secret"][..], "proxy"), (&["--proxy", "http://a", "--no-proxy"], "exclude")]
    {
        let ended = run(&[&["connect", "a"], arguments].concat(), "");
        says(&ended, 2, text);
        assert!(!ended.err.contains("secret"), "{ended:?}");
    }
}

#[test]
fn redirects_are_followed_if_that_is_wanted() {
    let server = Served::new(|request: &Request| match request.path() {
        "/old" => Response::new(301).header("Location", "/new"),
        _ => Response::websocket(listener().on_message(|socket, message| socket.send(message))),
    });
    let url = format!("{}old", server.url());
    assert_eq!(run(&["connect", &url, "--redirects", "1"], "hello\n").text(), "hello\n");
    says(&run(&["connect", &url], ""), 4, "301");
    says(&run(&["connect", &url, "--redirects", "256"], ""), 2, "--redirects takes");
}
