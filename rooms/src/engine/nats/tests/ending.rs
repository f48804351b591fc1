//! Connections that end, and what they leave behind.

use super::server::{Relay, until};
use super::*;

#[tokio::test]
#[ignore = "needs nats-server"]
async fn a_connection_that_is_cut_ends_its_session_and_does_not_come_back() {
    let server = Server::start();
    let (relay, (mut other, received)) = (Relay::to(&server), connect(server.url()).await);
    other.subscribe(&[room("a")]).await.unwrap();
    for round in 1..=5 {
        let (mut session, _) = connect(relay.url()).await;
        session.subscribe(&[room("a")]).await.unwrap();
        session.publish(&[say("a", "before")]).await.unwrap();
        assert_eq!(received.text(), "before");
        relay.hold();
        let batch: Vec<_> = (0..300).map(|_| say("a", "in flight")).collect();
        let mut publishing = Box::pin(session.publish(&batch));
        tokio::select! {
            biased;
            result = &mut publishing => panic!("{result:?}"),
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
        relay.cut();
        assert!(matches!(within(publishing).await, Err(BrokerError::Lost(_))));
        assert!(matches!(within(session.ended()).await, BrokerError::Lost(_)));
        assert!(within(session.publish(&[say("a", "late")])).await.is_err());
        assert!(within(session.subscribe(&[room("b")])).await.is_err());
        drop(session);
        // What is published by others comes, and nothing of what was in the client when it was cut.
        other.publish(&[say("a", "after")]).await.unwrap();
        assert_eq!(received.text(), "after");
        until(|| server.connections() == 1);
        assert_eq!(relay.accepted(), round);
    }
    assert!(received.is_empty());
    drop(other);
    until(|| server.connections() == 0);
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn a_session_that_is_dropped_leaves_no_thread() {
    let server = Server::start();
    let relay = Relay::to(&server);
    let mut sessions = Vec::new();
    for number in 0..20 {
        let (mut session, _) = connect(relay.url()).await;
        session.subscribe(&[room("a"), room("b")]).await.unwrap();
        if number % 2 == 0 {
            sessions.push(session);
        }
    }
    relay.cut();
    for session in &mut sessions {
        within(session.ended()).await;
    }
    drop(sessions);
    until(|| server.connections() == 0);
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn a_connect_that_is_dropped_leaves_nothing() {
    let server = Server::start();
    server.signal("-STOP");
    for _ in 0..10 {
        let broker = broker(server.url());
        let connecting = broker.connect(inbox().0);
        assert!(tokio::time::timeout(Duration::from_millis(20), connecting).await.is_err());
    }
    server.signal("-CONT");
    until(|| server.connections() == 0);
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn a_server_that_was_killed_ends_the_session() {
    let mut server = Server::start();
    let (mut session, _) = connect(server.url()).await;
    server.restart("");
    assert!(matches!(within(session.ended()).await, BrokerError::Lost(_)));
    let (mut next, received) = connect(server.url()).await;
    next.subscribe(&[room("a")]).await.unwrap();
    next.publish(&[say("a", "1")]).await.unwrap();
    assert_eq!(received.text(), "1");
    assert_eq!(server.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server"]
async fn a_client_that_was_there_before_is_used_for_as_long_as_its_connection_holds() {
    let server = Server::start();
    let relay = Relay::to(&server);
    let before = server.subscriptions();
    let client = async_nats::connect(relay.url()).await.unwrap();
    let broker = broker(client.clone());
    let (inbox, received) = inbox();
    for round in 1..=3 {
        let mut session = within(broker.connect(inbox.clone())).await.unwrap();
        session.subscribe(&[room("a")]).await.unwrap();
        session.publish(&[say("a", "1")]).await.unwrap();
        assert_eq!(received.text(), "1");
        relay.cut();
        if round == 2 {
            // Before anybody has looked.
            until(|| relay.accepted() == round + 1);
            assert!(within(session.publish(&[say("a", "3")])).await.is_err());
        }
        assert!(matches!(within(session.ended()).await, BrokerError::Lost(_)));
        assert!(within(session.publish(&[say("a", "2")])).await.is_err());
        drop(session);
        // It has connected again, with none of our subscriptions.
        until(|| relay.accepted() == round + 1 && server.subscriptions() == before);
    }
    drop(within(broker.connect(inbox.clone())).await.unwrap());
    until(|| server.subscriptions() == before);
    client.publish("x", "the client is still good".into()).await.unwrap();
    client.flush().await.unwrap();
    let mut session = within(broker.connect(inbox)).await.unwrap();
    client.drain().await.unwrap();
    assert!(matches!(within(session.ended()).await, BrokerError::Lost(_)));
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn a_session_needs_no_runtime_of_its_owner() {
    let server = Server::start();
    let (mut session, received) = connect(server.url()).await;
    let thread = std::thread::spawn(move || {
        struct Unpark(std::thread::Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Arc::new(Unpark(std::thread::current())).into();
        let mut work = Box::pin(async move {
            session.subscribe(&[room("a")]).await.unwrap();
            session.publish(&[say("a", "1")]).await.unwrap();
        });
        while work.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending() {
            std::thread::park();
        }
    });
    assert_eq!(received.text(), "1");
    thread.join().unwrap();
    until(|| server.connections() == 0);
}
