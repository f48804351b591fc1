//! Servers that are there, that are not, that want credentials, and that are none.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread;

use super::*;

#[tokio::test]
#[ignore = "needs nats-server"]
async fn credentials_are_those_of_the_url() {
    let server = Server::with(r#"authorization { user: "u@", password: "s/,%" }"#);
    connect(format!("nats://u%40:s%2F%2C%25@{}", server.place)).await;
    for wrong in ["", "u%40@", "u%40:secret@", "secret:s@"] {
        let error = refused(format!("nats://{wrong}{}", server.place)).await;
        let texts = format!("{error} {error:?}");
        assert!(matches!(error, BrokerError::Credentials(_)) && !texts.contains("secret"), "{texts}");
        assert!(texts.contains(&server.place), "{texts}");
    }
    let server = Server::with(r#"authorization { token: "t t" }"#);
    connect(format!("nats://t%20t@{}", server.place)).await;
    assert!(matches!(refused(server.url()).await, BrokerError::Credentials(_)));
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn options_are_made_for_each_connection_and_the_url_adds_to_them() {
    let server = Server::with(r#"authorization { user: "u", password: "p" }"#);
    let options = || ConnectOptions::with_user_and_password("u".into(), "p".into()).retry_on_initial_connect();
    let broker = broker(Nats::from(server.url()).options(options));
    for _ in 0..2 {
        within(broker.connect(inbox().0)).await.unwrap();
    }
    let wrong = Nats::from(format!("nats://u:wrong@{}", server.place)).options(options);
    assert!(within(self::broker(wrong).connect(inbox().0)).await.is_err());
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn a_client_that_gets_nothing_back_is_of_no_use() {
    let server = Server::start();
    let nats = Nats::from(server.url()).options(|| ConnectOptions::new().no_echo());
    let broker = nats.broker("app", None, Duration::from_millis(300)).unwrap();
    let error = within(broker.connect(inbox().0)).await.err().unwrap();
    assert!(matches!(&error, BrokerError::Protocol(reason) if reason.contains("no_echo")), "{error}");
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn over_tls_a_server_has_to_show_a_certificate() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = std::env::temp_dir().join(format!("bellwire-nats-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let server = Server::with(&format!("tls {{ cert_file: {certificate:?}, key_file: {key:?} }}"));
    let (_, port) = server.place.rsplit_once(':').unwrap();
    let url = format!("tls://localhost:{port}");
    let error = refused(url.clone()).await;
    assert!(matches!(&error, BrokerError::Protocol(reason) if reason.contains("TLS")), "{error:?}");
    let root = certificate.clone();
    let nats = Nats::from(url).options(move || ConnectOptions::new().add_root_certificates(root.clone()));
    let (mut session, received) = connect(nats).await;
    session.subscribe(&[room("a")]).await.unwrap();
    session.publish(&[say("a", "1")]).await.unwrap();
    assert_eq!(received.text(), "1");
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn of_several_servers_one_that_is_there_will_do() {
    let server = Server::start();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let broker = broker(format!("nats://{gone},{},nats://nowhere.invalid", server.url()));
    for _ in 0..4 {
        within(broker.connect(inbox().0)).await.unwrap();
    }
    let error = refused(format!("nats://{gone}")).await;
    assert!(matches!(&error, BrokerError::Unreachable(reason) if reason.contains(&gone.to_string())), "{error}");
    assert!(matches!(refused("nats://nowhere.invalid").await, BrokerError::Unreachable(_)));
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn the_others_of_a_cluster_are_found_when_one_is_gone() {
    let cluster = "cluster { name: c, listen: \"127.0.0.1:-1\"";
    let one = Server::with(&format!("{cluster} }}"));
    let two = Server::with(&format!("{cluster}, routes: [\"nats://{}\"] }}", one.cluster));
    let (broker, (mut other, _)) = (broker(one.url()), connect(two.url()).await);
    let (inbox, received) = inbox();
    server::until(|| one.count("routez", "num_routes") == 1);
    let mut session = within(broker.connect(inbox.clone())).await.unwrap();
    session.subscribe(&[room("a")]).await.unwrap();
    // The other server hears of the subscription a moment later.
    while received.is_empty() {
        other.publish(&[say("a", "1")]).await.unwrap();
    }
    drop(one);
    assert!(matches!(within(session.ended()).await, BrokerError::Lost(_)));
    drop(session);
    while !received.is_empty() {}
    let mut session = within(broker.connect(inbox)).await.unwrap();
    session.subscribe(&[room("a")]).await.unwrap();
    other.publish(&[say("a", "2")]).await.unwrap();
    assert_eq!(received.text(), "2");
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn a_server_that_was_stopped_is_not_waited_for() {
    let server = Server::start();
    server.signal("-STOP");
    let nats = Nats::from(server.url()).broker("app", None, Duration::from_millis(300)).unwrap();
    let error = within(nats.connect(inbox().0)).await.err().unwrap();
    assert!(matches!(&error, BrokerError::Unreachable(reason) if reason.contains("does not greet")), "{error}");
    server.signal("-CONT");
    within(nats.connect(inbox().0)).await.unwrap();
}

/// Says this to whoever connects.
fn liar(says: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.write_all(says);
            let _ = stream.read(&mut [0; 4096]);
        }
    });
    url
}

#[tokio::test]
async fn what_is_no_nats_server_is_told_from_one() {
    for says in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"-ERR unknown command\r\n",
        b"-ERR\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"INFO nonsense\r\n",
        b"INFO {\"max_payload\":\"secret\"}\r\n",
        b"PING\r\n",
        b"MSG a 1 99999999999999999999\r\n",
        b"MSG \xff 1 1\r\n\xff\r\n",
        b"HMSG a 1 12 5\r\n",
        b"INFO {\"max_payload\":1}\r\nMSG \xff 1 1\r\n\xff\r\n",
        b"INFO {\"max_payload\":1}\r\nwhat?\r\n",
        b"\xff\xfe\r\n",
    ] {
        let error = refused(liar(says)).await;
        let is = matches!(error, BrokerError::Protocol(_));
        assert!(is, "{}: {error:?}", String::from_utf8_lossy(says));
    }
}

/// Speaks as a server does, and says this when the second marker has come.
fn turncoat(says: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"INFO {\"max_payload\":1000}\r\n").unwrap();
        let mut says = [&b""[..], says].into_iter();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).split(b'\n').map(Result::unwrap);
        while let Some(line) = lines.next() {
            let line = String::from_utf8_lossy(&line).into_owned();
            if line.starts_with("PING") {
                stream.write_all(b"PONG\r\n").unwrap();
            } else if let Some(marker) = line.strip_prefix("PUB ") {
                let subject = marker.split(' ').next().unwrap();
                let payload = lines.next().unwrap();
                write!(stream, "MSG {subject} 1 8\r\n").unwrap();
                stream.write_all(&[&payload[..], b"\n", says.next().unwrap_or_default()].concat()).unwrap();
            }
        }
    });
    url
}

#[tokio::test]
async fn a_server_that_speaks_rubbish_later_ends_the_session() {
    for says in [
        &b"-ERR\r\n"[..],
        b"MSG \xff 1 1\r\n\xff\r\n",
        b"HMSG a 1 2 1\r\n",
        b"MSG a 1 many\r\n",
        b"\xff\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ] {
        let (mut session, received) = connect(turncoat(says)).await;
        let _ = within(session.publish(&[])).await;
        let error = within(session.ended()).await;
        assert!(matches!(error, BrokerError::Lost(_)), "{}: {error:?}", String::from_utf8_lossy(says));
        assert!(within(session.publish(&[])).await.is_err() && received.is_empty());
    }
}

#[tokio::test]
async fn a_server_that_ends_the_connection_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            if number % 2 == 1 {
                stream.unwrap().write_all(b"INFO {\"max_payload\":1}\r\n").unwrap();
            }
        }
    });
    for _ in 0..4 {
        let error = refused(url.clone()).await;
        assert!(matches!(error, BrokerError::Unreachable(_) | BrokerError::Protocol(_)), "{error:?}");
    }
}

#[test]
fn what_is_printed_of_it_holds_no_secret() {
    let nats = Nats::from("nats://user:secret@a,tls://secret@b:1");
    assert_eq!(format!("{nats:?}"), "Nats([a:4222, b:1])");
    assert!(!format!("{:?}", Nats::from("http://user:secret@a")).contains("secret"));
    let error = Nats::from("http://user:secret@a").broker("app", None, HANG).err().unwrap();
    assert!(matches!(error, BrokerError::Url(_)));
}
