//! What is published comes where it is subscribed.

use super::*;
use crate::error::PublishError;

#[tokio::test]
#[ignore = "needs nats-server"]
async fn what_is_published_comes_to_all_sessions_in_order() {
    let server = Server::start();
    let ((mut one, at_one), (mut two, at_two)) = (connect(server.url()).await, connect(server.url()).await);
    one.subscribe(&[room("a"), Channel::Nodes]).await.unwrap();
    two.subscribe(&[room("a"), room("b=20c")]).await.unwrap();
    let batch: Vec<_> = (0..1000).map(|number| say("a", &number.to_string())).collect();
    assert!(one.publish(&batch).await.unwrap().iter().all(Result::is_ok));
    let expected: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
    assert_eq!(at_one.texts(1000), expected);
    assert_eq!(at_two.texts(1000), expected);
    let nodes = Publication { channel: Channel::Nodes, ..say("", "all") };
    two.publish(&[say("b=20c", "b"), say("c", "nobody hears it"), nodes]).await.unwrap();
    assert_eq!(at_one.next(), ("app.nodes".into(), None, "all".into()));
    assert_eq!(at_two.next(), ("app.room.b=20c".into(), None, "b".into()));
    assert!(at_one.is_empty() && at_two.is_empty());
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn a_room_that_is_left_costs_the_server_nothing() {
    let server = Server::start();
    let (mut session, received) = connect(server.url()).await;
    let before = server.subscriptions();
    session.subscribe(&[room("a"), room("b"), room("a")]).await.unwrap();
    session.subscribe(&[room("a")]).await.unwrap();
    assert_eq!(server.subscriptions(), before + 2);
    session.unsubscribe(&[room("a"), room("never"), room("a")]).await.unwrap();
    assert_eq!(server.subscriptions(), before + 1);
    session.publish(&[say("a", "1"), say("b", "2")]).await.unwrap();
    assert_eq!(received.text(), "2");
    for number in 0..50 {
        session.subscribe(&[room("a")]).await.unwrap();
        session.publish(&[say("a", &number.to_string())]).await.unwrap();
        session.unsubscribe(&[room("a")]).await.unwrap();
    }
    assert_eq!(received.texts(50), (0..50).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(server.subscriptions(), before + 1);
    drop(session);
    server::until(|| server.connections() == 0);
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn a_flood_is_not_dropped() {
    let server = Server::start();
    let ((mut one, _), (mut two, received)) = (connect(server.url()).await, connect(server.url()).await);
    two.subscribe(&[room("a")]).await.unwrap();
    let batch: Vec<_> = (0..1000).map(|number| say("a", &number.to_string())).collect();
    for _ in 0..300 {
        one.publish(&batch).await.unwrap();
    }
    for number in 0..300_000 {
        assert_eq!(received.text(), (number % 1000).to_string());
    }
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn a_message_above_the_limit_of_the_server_is_refused_and_no_other() {
    let server = Server::with("max_payload: 1024");
    let (mut session, received) = connect(server.url()).await;
    assert_eq!(session.max_payload(), 1024);
    session.subscribe(&[room("a")]).await.unwrap();
    let (most, more) = ("m".repeat(1024), "m".repeat(1025));
    let results = session.publish(&[say("a", &more), say("a", &most), say("a", "")]).await.unwrap();
    assert_eq!(results, [Err(PublishError::TooLong { length: 1025, limit: 1024 }), Ok(()), Ok(())]);
    assert_eq!(received.texts(2), [most, String::new()]);
}

/// A user that may do some things, and another that may do others.
const USERS: &str = r#"
    authorization { users: [
        { user: "some", password: "secret", permissions: {
            publish: ["app.echo.>", "app.room.yes", "app.room.many"]
            subscribe: ["app.echo.>", "app.room.yes"] } }
        { user: "none", password: "secret", permissions: { publish: ["other.>"], subscribe: ["other.>"] } }
    ] }"#;

#[tokio::test]
#[ignore = "needs nats-server"]
async fn what_the_server_does_not_allow_is_refused_one_by_one() {
    let server = Server::with(USERS);
    let (mut session, received) = connect(format!("nats://some:secret@{}", server.place)).await;
    session.subscribe(&[room("yes")]).await.unwrap();
    let batch = [say("yes", "1"), say("no", "2"), say("yes", "3"), say("no", "4")];
    for _ in 0..20 {
        let results = session.publish(&batch).await.unwrap();
        let refused: Vec<_> = results.iter().map(Result::is_err).collect();
        assert_eq!(refused, [false, true, false, true]);
        let Err(PublishError::Refused(reason)) = &results[1] else { panic!("{results:?}") };
        assert!(
            reason.contains("app.room.no") && reason.contains("\"app.>\"") && !reason.contains("secret"),
            "{reason}"
        );
    }
    assert_eq!(received.texts(40), ["1", "3"].repeat(20));
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn of_more_denials_than_the_client_tells_of_none_is_taken_for_a_success() {
    let server = Server::with(USERS);
    let (mut session, _) = connect(format!("nats://some:secret@{}", server.place)).await;
    let batch: Vec<_> = (0..1000).map(|number| say(&format!("no{number}"), "")).collect();
    let results = session.publish(&batch).await.unwrap();
    assert!(results.iter().all(|result| matches!(result, Err(PublishError::Refused(_) | PublishError::Lost))));
    assert_eq!(session.publish(&[say("yes", "")]).await.unwrap(), [Ok(())]);
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn a_subscription_that_is_not_allowed_is_an_error() {
    let server = Server::with(USERS);
    let (mut session, _) = connect(format!("nats://some:secret@{}", server.place)).await;
    let error = session.subscribe(&[room("yes"), room("many")]).await.unwrap_err();
    assert!(matches!(&error, BrokerError::Denied(reason) if reason.contains("app.room.many")), "{error}");
    let error = refused(format!("nats://none:secret@{}", server.place)).await;
    assert!(matches!(&error, BrokerError::Denied(reason) if reason.contains("app.echo.")), "{error}");
}
