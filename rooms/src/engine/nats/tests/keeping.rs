//! History, in JetStream.

use super::*;
use crate::engine::Kept;
use crate::error::{HistoryError, PublishError};

const STREAMS: &str = "jetstream { store_dir: \"STORE\" }";

async fn keeping(server: &Server, history: History) -> (NatsSession, Received) {
    let (inbox, received) = inbox();
    let broker = Nats::from(server.url()).broker("app", Some(history), Duration::from_secs(5)).unwrap();
    (within(broker.connect(inbox)).await.unwrap(), received)
}

async fn past(session: &NatsSession, token: &str, since: Option<Position>) -> Vec<(Position, String)> {
    let kept = within(session.history(token.into(), since)).await.unwrap().kept;
    let text = |Kept { position, bytes }| (position, String::from_utf8(bytes.to_vec()).unwrap());
    kept.into_iter().map(text).collect()
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn what_is_kept_comes_once_with_its_position_and_can_be_read_again() {
    let server = Server::with(STREAMS);
    let ((mut one, at_one), (mut two, at_two)) =
        (keeping(&server, History::last(100)).await, keeping(&server, History::last(100)).await);
    for session in [&mut one, &mut two] {
        session.subscribe(&[room("a"), room("b")]).await.unwrap();
    }
    let batch: Vec<_> = (0..50).flat_map(|n| [keep("a", &n.to_string()), keep("b", "b")]).collect();
    assert!(one.publish(&batch).await.unwrap().iter().all(Result::is_ok));
    let mut live = Vec::new();
    for received in [&at_one, &at_two] {
        let all: Vec<_> = (0..100).map(|_| received.next()).collect();
        live = all.into_iter().filter(|(name, ..)| name == "app.room.a").collect();
        assert_eq!(live.len(), 50);
        assert!(received.is_empty());
    }
    assert_eq!(two.now().await.unwrap().parts().1, 100);
    let kept = past(&two, "a", None).await;
    let live: Vec<_> =
        live.into_iter().map(|(_, at, bytes)| (at.unwrap(), String::from_utf8(bytes.to_vec()).unwrap())).collect();
    assert_eq!(kept, live);
    assert_eq!(
        kept.iter().map(|(_, text)| text.parse::<usize>().unwrap()).collect::<Vec<_>>(),
        (0..50).collect::<Vec<_>>()
    );
    for since in [0, 17, 49] {
        assert_eq!(past(&one, "a", Some(kept[since].0)).await, kept[since + 1..]);
    }
    // A position that the stream has not got to: that of another, or of one before it.
    let (era, _) = two.now().await.unwrap().parts();
    for elsewhere in [Position::new(era, u64::MAX), Position::new(era - 1, 1), Position::new(era + 1, 1)] {
        assert_eq!(within(one.history("a".into(), Some(elsewhere))).await, Err(HistoryError::Gone));
    }
    assert!(past(&one, "nobody", None).await.is_empty());
    two.publish(&[say("a", "passing")]).await.unwrap();
    assert_eq!(at_one.next(), ("app.room.a".into(), None, "passing".into()));
    assert_eq!(past(&one, "a", None).await.len(), 50);
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn each_room_keeps_its_last_messages_as_many_as_it_may() {
    let server = Server::with(STREAMS);
    let (mut session, _) = keeping(&server, History::last(3000)).await;
    for part in 0..10 {
        let batch: Vec<_> = (0..400).map(|n| keep("a", &(part * 400 + n).to_string())).collect();
        session.publish(&batch).await.unwrap();
    }
    session.publish(&[keep("b", "b")]).await.unwrap();
    let texts: Vec<_> = past(&session, "a", None).await.into_iter().map(|(_, text)| text).collect();
    // One more than was wanted.
    assert_eq!(texts, (999..4000).map(|n| n.to_string()).collect::<Vec<_>>());
    // Another limit takes the place of the old one, and what is in the stream stays in it.
    let (session, _) = keeping(&server, History::last(2)).await;
    let texts: Vec<_> = past(&session, "a", None).await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["3997", "3998", "3999"]);
    assert_eq!(past(&session, "b", None).await.len(), 1);
    assert_eq!(server.count("jsz", "consumers"), 0);
    let (session, _) = keeping(&server, History::last(2).for_at_most(Duration::ZERO)).await;
    server::until(|| server.count("jsz", "messages") == 0);
    assert!(past(&session, "a", None).await.is_empty());
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn the_history_outlives_its_server() {
    let mut server = Server::with(STREAMS);
    let (mut session, _) = keeping(&server, History::last(10)).await;
    session.publish(&[keep("a", "1"), keep("a", "2")]).await.unwrap();
    server.restart(STREAMS);
    assert!(matches!(within(session.ended()).await, BrokerError::Lost(_)));
    assert_eq!(within(session.history("a".into(), None)).await, Err(HistoryError::Unavailable));
    let (mut session, received) = keeping(&server, History::last(10)).await;
    session.subscribe(&[room("a")]).await.unwrap();
    session.publish(&[keep("a", "3")]).await.unwrap();
    let (_, position, _) = received.next();
    let kept = past(&session, "a", None).await;
    assert_eq!(kept.iter().map(|(_, text)| &**text).collect::<Vec<_>>(), ["1", "2", "3"]);
    assert_eq!(position, kept.last().map(|(position, _)| *position));
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn without_jetstream_it_is_said_how_to_start_it() {
    let server = Server::start();
    let broker = Nats::from(server.url()).broker("app", Some(History::last(1)), Duration::from_secs(5)).unwrap();
    let error = within(broker.connect(inbox().0)).await.err().unwrap();
    assert!(matches!(&error, BrokerError::History(reason) if reason.contains("nats-server -js")), "{error}");
    let (session, _) = connect(server.url()).await;
    assert_eq!(session.history("a".into(), None).await, Err(HistoryError::NotKept));
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn a_stream_that_takes_no_more_refuses_messages_and_one_that_is_gone_too() {
    let server = Server::with(STREAMS);
    let (mut session, _) = keeping(&server, History::last(10)).await;
    let context = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let mut config = context.get_stream("rooms-app").await.unwrap().cached_info().config.clone();
    config.max_message_size = 5;
    context.update_stream(&config).await.unwrap();
    let results = session.publish(&[keep("a", "short"), keep("a", "too long"), say("a", "too long")]).await.unwrap();
    assert!(matches!(&results[..], [Ok(()), Err(PublishError::Refused(_)), Ok(())]), "{results:?}");
    context.delete_stream("rooms-app").await.unwrap();
    let results = session.publish(&[keep("a", "short"), say("a", "x")]).await.unwrap();
    assert!(matches!(&results[..], [Err(PublishError::Refused(_)), Ok(())]), "{results:?}");
    assert!(matches!(within(session.history("a".into(), None)).await, Err(HistoryError::Failed(_))));
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn a_user_who_may_not_use_jetstream_is_told_so() {
    let server = Server::with(&format!(
        r#"{STREAMS}
        authorization {{ users: [
            {{ user: "u", password: "secret", permissions: {{ publish: ["app.>"], subscribe: ["app.>", "_INBOX.>"] }} }}
            {{ user: "v", password: "secret", permissions: {{ publish: ["app.>", "$JS.API.>"], subscribe: ["app.>", "_INBOX.>"] }} }}
        ] }}"#
    ));
    let broker = |user| {
        let nats = Nats::from(format!("nats://{user}:secret@{}", server.place));
        nats.broker("app", Some(History::last(1)), Duration::from_secs(5)).unwrap()
    };
    let error = within(broker("u").connect(inbox().0)).await.err().unwrap();
    assert!(matches!(&error, BrokerError::Denied(reason) if reason.contains("$JS.API")), "{error}");
    let mut session = within(broker("v").connect(inbox().0)).await.unwrap();
    session.publish(&[keep("a", "1")]).await.unwrap();
    assert_eq!(past(&session, "a", None).await.len(), 1);
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn what_becomes_too_old_while_it_is_read_keeps_nobody_waiting() {
    let server = Server::with(STREAMS);
    let (mut session, _) = keeping(&server, History::last(10).for_at_most(Duration::from_millis(100))).await;
    for _ in 0..10 {
        session.publish(&[keep("a", "1"), keep("a", "2")]).await.unwrap();
        // Some of these come when the server has counted a message, and drops it.
        while !past(&session, "a", None).await.is_empty() {}
    }
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn a_stream_that_was_replaced_is_another_history_however_far_it_has_come() {
    let server = Server::with(STREAMS);
    let (mut session, _) = keeping(&server, History::last(10)).await;
    session.publish(&[keep("a", "1"), keep("a", "2")]).await.unwrap();
    let before = past(&session, "a", None).await;
    let context = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
    context.delete_stream("rooms-app").await.unwrap();
    let (mut anew, _) = keeping(&server, History::last(10)).await;
    let batch: Vec<_> = (0..5).map(|n| keep("a", &n.to_string())).collect();
    anew.publish(&batch).await.unwrap();
    assert_eq!(within(anew.history("a".into(), Some(before[0].0))).await, Err(HistoryError::Gone));
    assert!(anew.now().await.unwrap() > before[1].0);
    // Who has not noticed does not take the one for the other.
    assert_eq!(within(session.history("a".into(), Some(before[0].0))).await, Err(HistoryError::Gone));
    assert!(matches!(session.now().await, Err(BrokerError::History(_))));
}
