//! How connections end.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_redis_that_is_killed_ends_the_connection() {
    let mut server = Server::start(&[]).await;
    let (mut session, _messages) = connect(&server.url(), None).await;
    soon(session.subscribe(&[room("a")])).await.unwrap();
    // It may be asked in vain first.
    assert!(tokio::time::timeout(Duration::ZERO, session.ended()).await.is_err());
    server.kill();
    for _ in 0..2 {
        assert!(matches!(soon(session.ended()).await, BrokerError::Lost(_)));
    }
    assert!(matches!(soon(session.publish(&[said(&room("a"), "x")])).await, Err(BrokerError::Lost(_))));
    assert!(matches!(soon(session.subscribe(&[room("b")])).await, Err(BrokerError::Lost(_))));
    assert!(matches!(refused(&server.url(), None).await, BrokerError::Unreachable(_)));

    server.start_again().await;
    connect(&server.url(), None).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_client_that_is_killed_ends() {
    let server = Server::start(&[]).await;
    let (mut session, _messages) = connect(&server.url(), None).await;
    soon(session.subscribe(&[room("a")])).await.unwrap();
    server.tell("CLIENT KILL TYPE pubsub").await;
    assert!(matches!(soon(session.ended()).await, BrokerError::Lost(_)));
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_session_that_is_dropped_leaves_redis() {
    let server = Server::start(&[]).await;
    let (mut session, mut messages) = connect(&server.url(), None).await;
    soon(session.subscribe(&[room("a")])).await.unwrap();
    assert_eq!(server.tell("PUBLISH app.room.a x").await, redis::Value::Int(1));
    messages.next().await;
    drop(session);
    assert!(soon(messages.0.recv()).await.is_none());
    soon(async {
        while server.tell("PUBLISH app.room.a x").await != redis::Value::Int(0) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_node_that_is_too_slow_loses_the_connection_and_holds_little_itself() {
    let server = Server::start(&["--client-output-buffer-limit pubsub 1mb 0 0"]).await;
    let mut node = slow_node(server.url()).await;
    let (mut quick, _messages) = connect(&server.url(), None).await;
    let batch: Vec<_> = (0..64).map(|_| said(&room("a"), "x".repeat(64 * 1024))).collect();
    let mut published = 0;
    soon(async {
        while server.tell("PUBSUB CHANNELS").await != redis::Value::Array(Vec::new()) {
            publish(&mut quick, &batch).await;
            published += batch.len();
        }
    })
    .await;
    drop(node.hold);
    let (received, reason) = soon(&mut node.ended).await.unwrap();
    assert!(received < published, "{received} of {published}");
    assert!(
        matches!(&reason, BrokerError::Lost(reason) if reason.contains("client-output-buffer-limit")),
        "{reason:?}"
    );
}

struct SlowNode {
    /// Until this is dropped it is stuck in its first message.
    hold: std::sync::mpsc::Sender<()>,
    /// How many messages it got, and why no more.
    ended: tokio::sync::oneshot::Receiver<(usize, BrokerError)>,
}

/// A node with a runtime of its own, which is blocked.
async fn slow_node(url: String) -> SlowNode {
    let (hold, held) = std::sync::mpsc::channel();
    let (subscribed, is_subscribed) = tokio::sync::oneshot::channel();
    let (sender, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let (held, counted) = (Mutex::new(held), count.clone());
        let inbox = Inbox::tapped(move |_: &str, _, _: &Bytes| {
            counted.fetch_add(1, Ordering::Relaxed);
            let _ = held.lock().unwrap().recv();
        });
        let reason = runtime.block_on(async {
            let broker = RedisBroker::new(url.into(), "app", None, PATIENCE).unwrap();
            let mut session = broker.connect(inbox).await.unwrap();
            session.subscribe(&[room("a")]).await.unwrap();
            subscribed.send(()).unwrap();
            session.ended().await
        });
        let _ = sender.send((count.load(Ordering::Relaxed), reason));
    });
    soon(is_subscribed).await.unwrap();
    SlowNode { hold, ended }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_redis_that_becomes_a_replica_ends_the_connection_that_keeps() {
    let server = Server::start(&[]).await;
    let (mut session, _messages) = connect(&server.url(), Some(HISTORY)).await;
    server.tell("REPLICAOF 127.0.0.1 1").await;
    let outcomes = soon(session.publish(&[kept(&room("a"), "x")])).await.unwrap();
    assert!(outcomes[0].as_ref().unwrap_err().to_string().contains("connect to the primary"), "{outcomes:?}");
    let reason = soon(session.ended()).await;
    assert!(matches!(&reason, BrokerError::Protocol(reason) if reason.contains("READONLY")), "{reason:?}");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_redis_that_becomes_a_replica_is_found_out_by_asking() {
    let server = Server::start(&[]).await;
    let (mut session, _messages) = connect(&server.url(), None).await;
    assert_eq!(soon(session.publish(&[])).await.unwrap(), []);
    server.tell("REPLICAOF 127.0.0.1 1").await;
    let error = soon(session.publish(&[])).await.unwrap_err();
    assert!(matches!(&error, BrokerError::Protocol(reason) if reason.contains("connect to the primary")), "{error:?}");
}
