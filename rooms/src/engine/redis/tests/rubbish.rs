//! What answers where Redis should.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// What comes of a server that says this at once, and again whenever it is told something; or says it and hangs up.
async fn from(says: &'static [u8], hangs_up: bool, history: Option<History>) -> BrokerError {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://user:hidden@{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(says).await.unwrap();
        if hangs_up {
            socket.shutdown().await.unwrap();
        }
        while matches!(socket.read(&mut [0; 4096]).await, Ok(1..)) && !hangs_up {
            let _ = socket.write_all(says).await;
        }
    });
    let error = refused(&url, history).await;
    server.abort();
    assert!(!format!("{error:?}{error}").contains("hidden"), "{error:?}");
    error
}

#[tokio::test]
async fn what_is_no_redis_is_said_to_be_none() {
    for says in [
        &b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..],
        b"INFO {\"server_id\":\"N\"}\r\n",
        b"220 mail.example.com ESMTP\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"\0\0\0\0\0\0\0\0",
        b"+OK ready\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n",
        b"%0\r\n%0\r\n+OK\r\n+OK\r\n%0\r\n$1\r\nx\r\n:0\r\n",
        b"|-1\r\n+a\r\n",
        b"%-1\r\n+a\r\n",
    ] {
        for history in [None, Some(HISTORY)] {
            let error = from(says, false, history).await;
            assert!(matches!(error, BrokerError::Protocol(_)), "{}: {error:?}", String::from_utf8_lossy(says));
        }
    }
}

#[tokio::test]
async fn what_says_nothing_that_has_an_end_is_unreachable() {
    for says in [&b""[..], b"*9223372036854775807\r\n", b"~9223372036854775807\r\n", b">9223372036854775807\r\n"] {
        let error = from(says, true, None).await;
        assert!(matches!(error, BrokerError::Unreachable(_)), "{}: {error:?}", String::from_utf8_lossy(says));
    }
}

#[tokio::test]
async fn what_redis_says_before_it_hangs_up_is_not_lost() {
    let error = from(b"-ERR max number of clients reached\r\n", true, None).await;
    assert!(matches!(&error, BrokerError::Unreachable(text) if text.contains("`maxclients`")), "{error:?}");
    let error =
        from(b"-DENIED Redis is running in protected mode because protected mode is enabled\r\n", true, None).await;
    assert!(matches!(&error, BrokerError::Denied(text) if text.contains("`protected-mode no`")), "{error:?}");
}

#[tokio::test]
async fn a_redis_that_is_too_old_is_said_to_be() {
    for says in
        [&b"-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n"[..], b"-ERR unknown command 'HELLO'\r\n"]
    {
        let error = from(says, false, None).await;
        assert!(matches!(&error, BrokerError::Protocol(text) if text.contains("Redis 6 or later")), "{error:?}");
    }
}

#[tokio::test]
async fn an_address_where_nobody_is_is_unreachable_and_named_without_credentials() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for (url, expected) in [
        (format!("redis://me:s3cr3t@{address}/3"), format!("redis://{address}: ")),
        ("unix:///nowhere/at/all?user=me&pass=s3cr3t".into(), "unix:///nowhere/at/all: ".into()),
    ] {
        let error = refused(&url, None).await;
        assert!(matches!(&error, BrokerError::Unreachable(text) if text.starts_with(&expected)), "{error:?}");
        assert!(!format!("{error:?} {error}").contains("s3cr3t"));
    }
}
