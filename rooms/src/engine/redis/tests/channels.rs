//! What goes over channels, in which order.

use super::*;

#[tokio::test]
#[ignore = "needs redis-server"]
async fn what_is_published_comes_back_and_to_all_others_in_order() {
    let server = Server::start(&[]).await;
    let (mut here, mut to_here) = connect(&server.url(), None).await;
    let (mut there, mut to_there) = connect(&server.unix_url(), None).await;
    let rooms = [room("a"), room("b=2E"), Channel::Nodes];
    soon(here.subscribe(&rooms)).await.unwrap();
    soon(there.subscribe(&rooms)).await.unwrap();

    let batch: Vec<_> = (0..1000).map(|number| said(&rooms[number % 3], number.to_string())).collect();
    publish(&mut here, &batch).await;

    let names = ["app.room.a", "app.room.b=2E", "app.nodes"];
    for messages in [&mut to_here, &mut to_there] {
        for number in 0..1000 {
            assert_eq!(messages.next().await, (names[number % 3].into(), None, number.to_string().into()));
        }
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn any_bytes_of_any_length_come_as_they_are() {
    let server = Server::start(&[]).await;
    for history in [None, Some(HISTORY)] {
        let (mut session, mut messages) = connect(&server.url(), history).await;
        soon(session.subscribe(&[room("a")])).await.unwrap();
        let all: Vec<u8> = (0..=255).collect();
        let payloads = [Vec::new(), all.clone(), b"K1-2 x".to_vec(), all.repeat(8192)];
        for payload in payloads {
            let publication =
                Publication { channel: room("a"), bytes: payload.clone().into(), keep: history.is_some() };
            publish(&mut session, &[publication]).await;
            let (_, position, bytes) = messages.next().await;
            assert_eq!(position.is_some(), history.is_some() || payload.starts_with(b"K"));
            if position.is_some() == history.is_some() {
                assert!(bytes == payload, "{} bytes came as {}", payload.len(), bytes.len());
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn thousands_of_channels_are_subscribed_to_at_once_and_left_again() {
    let server = Server::start(&[]).await;
    let (mut session, mut messages) = connect(&server.url(), None).await;
    let rooms: Vec<_> = (0..5000).map(|number| room(&number.to_string())).collect();
    soon(session.subscribe(&rooms)).await.unwrap();
    soon(session.unsubscribe(&rooms[..4999])).await.unwrap();

    publish(&mut session, &[said(&rooms[0], "left"), said(&rooms[4999], "stayed")]).await;

    assert_eq!(messages.texts(1).await, ["stayed"]);
    let channels = server.tell("PUBSUB CHANNELS").await;
    assert_eq!(channels, redis::Value::Array(vec![redis::Value::BulkString("app.room.4999".into())]));
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn nothing_to_do_is_done_at_once() {
    let server = Server::start(&[]).await;
    let (mut session, _) = connect(&server.url(), None).await;
    soon(session.subscribe(&[])).await.unwrap();
    soon(session.unsubscribe(&[])).await.unwrap();
    assert_eq!(soon(session.publish(&[])).await.unwrap(), []);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn credentials_and_the_database_come_from_the_url() {
    let server = Server::start(&["--requirepass", "hidden", "--user", "me on >pa/ss ~* &* +@all"]).await;
    let here = format!("127.0.0.1:{}", server.port());
    for url in [
        format!("redis://:hidden@{here}/3"),
        format!("redis://me:pa%2Fss@{here}/3"),
        format!("{}?user=me&pass=pa%2Fss&db=3", server.unix_url()),
    ] {
        let (mut session, _messages) = connect(&url, Some(HISTORY)).await;
        publish(&mut session, &[kept(&room("a"), "hello")]).await;
    }
    let streams = server.tell_as(&format!("redis://:hidden@{here}/3"), "XLEN {app}.keep.a").await;
    assert_eq!(streams, redis::Value::Int(3));
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn the_limit_of_redis_is_known() {
    let server = Server::start(&["--proto-max-bulk-len", "2mb"]).await;
    let (session, _) = connect(&server.url(), None).await;
    assert_eq!(session.max_payload(), 2 << 20);
}
