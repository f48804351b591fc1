//! What is kept of rooms.

use super::*;
use crate::engine::Kept;
use crate::error::HistoryError;

async fn history(session: &RedisSession, since: Option<Position>) -> Vec<Kept> {
    soon(session.history("a".into(), since)).await.unwrap().kept
}

fn numbers(kept: &[Kept]) -> Vec<usize> {
    kept.iter().map(|kept| std::str::from_utf8(&kept.bytes).unwrap().parse().unwrap()).collect()
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn what_is_kept_is_read_again_in_the_order_and_at_the_positions_of_the_channel() {
    let server = Server::start(&[]).await;
    let (mut session, mut messages) = connect(&server.url(), Some(HISTORY)).await;
    let a = room("a");
    soon(session.subscribe(std::slice::from_ref(&a))).await.unwrap();
    assert_eq!(history(&session, None).await, []);
    for start in (0..300).step_by(100) {
        let batch: Vec<_> = (start..start + 100).map(|number| kept(&a, number.to_string())).collect();
        publish(&mut session, &batch).await;
    }
    // It belongs to another room, or to no history.
    publish(&mut session, &[kept(&room("b"), "x"), said(&a, "x"), kept(&Channel::Nodes, "x")]).await;

    let mut live = Vec::new();
    for _ in 0..300 {
        let (_, position, bytes) = messages.next().await;
        live.push(Kept { position: position.unwrap(), bytes });
    }
    assert!(live.is_sorted_by(|one, other| one.position < other.position));
    assert_eq!(numbers(&live), (0..300).collect::<Vec<_>>());
    assert_eq!(history(&session, None).await, live);
    for index in [0, 63, 64, 150, 298, 299] {
        assert_eq!(history(&session, Some(live[index].position)).await, live[index + 1..]);
    }
    assert_eq!(history(&session, Some(Position::new(u64::MAX, u64::MAX))).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn publishers_at_the_same_time_see_one_order_which_is_that_of_the_history() {
    let server = Server::start(&[]).await;
    let mut tasks = Vec::new();
    let (mut reader, mut messages) = connect(&server.url(), Some(HISTORY)).await;
    soon(reader.subscribe(&[room("a")])).await.unwrap();
    for publisher in 0..4 {
        let (mut session, received) = connect(&server.url(), Some(HISTORY)).await;
        tasks.push(tokio::spawn(async move {
            for round in 0..20 {
                let batch: Vec<_> =
                    (0..10).map(|i| kept(&room("a"), format!("{}", publisher * 1000 + round * 10 + i))).collect();
                publish(&mut session, &batch).await;
            }
            drop(received);
        }));
    }
    for task in tasks {
        soon(task).await.unwrap();
    }
    let mut live = Vec::new();
    for _ in 0..800 {
        let (_, position, bytes) = messages.next().await;
        live.push(Kept { position: position.unwrap(), bytes });
    }
    assert!(live.is_sorted_by(|one, other| one.position < other.position));
    assert_eq!(history(&reader, None).await, live);
    for publisher in 0..4 {
        let own: Vec<_> = numbers(&live).into_iter().filter(|number| number / 1000 == publisher).collect();
        assert_eq!(own, (publisher * 1000..publisher * 1000 + 200).collect::<Vec<_>>());
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_script_that_redis_has_forgotten_is_given_to_it_again() {
    let mut server = Server::start(&[]).await;
    let (mut session, mut messages) = connect(&server.url(), Some(HISTORY)).await;
    soon(session.subscribe(&[room("a")])).await.unwrap();
    for number in ["1", "2"] {
        server.tell("SCRIPT FLUSH").await;
        publish(&mut session, &[kept(&room("a"), number), said(&room("a"), "x")]).await;
    }
    publish(&mut session, &[kept(&room("a"), "3")]).await;
    assert_eq!(messages.texts(5).await, ["1", "x", "2", "x", "3"]);
    assert_eq!(numbers(&history(&session, None).await), [1, 2, 3]);

    server.start_again().await;
    let (mut session, _messages) = connect(&server.url(), Some(HISTORY)).await;
    publish(&mut session, &[kept(&room("a"), "4")]).await;
    assert_eq!(numbers(&history(&session, None).await), [4]);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn old_messages_give_way_to_new_ones() {
    let server = Server::start(&[]).await;
    let few = History::last(10);
    let (mut session, _messages) = connect(&server.url(), Some(few)).await;
    let batch: Vec<_> = (0..1000).map(|number| kept(&room("a"), number.to_string())).collect();
    publish(&mut session, &batch).await;
    let kept = numbers(&history(&session, None).await);
    assert!((10..200).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept, (1000 - kept.len()..1000).collect::<Vec<_>>());
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn what_is_too_old_is_not_read_and_goes_in_time() {
    let server = Server::start(&[]).await;
    let short = HISTORY.for_at_most(Duration::from_millis(50));
    let (mut session, _messages) = connect(&server.url(), Some(short)).await;
    let (long, _) = connect(&server.url(), Some(HISTORY)).await;
    // What another has put there, with a longer life.
    server.tell("XADD {app}.keep.a 1-1 m old").await;
    assert_eq!(history(&long, None).await, []);
    assert_eq!(history(&session, None).await, []);
    publish(&mut session, &[kept(&room("a"), "1")]).await;
    soon(async {
        while server.tell("EXISTS {app}.keep.a").await != redis::Value::Int(0) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(history(&session, None).await, []);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn what_is_too_old_makes_room_while_others_come() {
    let server = Server::start(&[]).await;
    let (mut session, _messages) = connect(&server.url(), Some(HISTORY)).await;
    for number in 1..=300 {
        server.tell(&format!("XADD {{app}}.keep.a 1-{number} m old")).await;
    }
    publish(&mut session, &[kept(&room("a"), "1")]).await;
    // Redis removes them by the block, of which some are left.
    let redis::Value::Int(left) = server.tell("XLEN {app}.keep.a").await else { panic!("it has no length") };
    assert!((1..150).contains(&left), "{left}");
    assert_eq!(numbers(&history(&session, None).await), [1]);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn without_a_history_nothing_is_kept_and_nothing_read() {
    let server = Server::start(&[]).await;
    let (mut session, _messages) = connect(&server.url(), None).await;
    publish(&mut session, &[kept(&room("a"), "1")]).await;
    assert!(soon(session.history("a".into(), None)).await.is_err());
    assert_eq!(server.tell("DBSIZE").await, redis::Value::Int(0));
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_stream_that_is_something_else_is_an_error() {
    let server = Server::start(&[]).await;
    let (mut session, mut messages) = connect(&server.url(), Some(HISTORY)).await;
    soon(session.subscribe(&[room("a"), room("b")])).await.unwrap();
    server.tell("SET {app}.keep.a x").await;
    let outcomes = soon(session.publish(&[kept(&room("a"), "1"), kept(&room("b"), "2")])).await.unwrap();
    assert!(format!("{outcomes:?}").contains("WRONGTYPE"), "{outcomes:?}");
    assert_eq!(outcomes[1], Ok(()));
    assert_eq!(messages.texts(1).await, ["2"]);
    assert!(format!("{:?}", soon(session.history("a".into(), None)).await).contains("WRONGTYPE"));
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn what_is_kept_from_now_on_is_after_now() {
    let server = Server::start(&[]).await;
    let (mut session, mut messages) = connect(&server.url(), Some(HISTORY)).await;
    soon(session.subscribe(&[room("a")])).await.unwrap();
    publish(&mut session, &[kept(&room("a"), "0")]).await;
    let (_, before, _) = messages.next().await;
    for number in 1..100 {
        let now = soon(session.now()).await.unwrap();
        publish(&mut session, &[kept(&room("a"), number.to_string())]).await;
        let read = numbers(&history(&session, Some(now)).await);
        assert_eq!(read.last(), Some(&number));
        assert!(Some(now) < messages.next().await.1);
    }
    let now = soon(async {
        loop {
            let now = session.now().await.unwrap();
            if Some(now) > before {
                return now;
            }
        }
    })
    .await;
    assert!(!numbers(&history(&session, Some(now)).await).contains(&0));
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_position_that_was_lost_is_told_from_one_that_was_not_kept_any_more() {
    let mut server = Server::start(&[]).await;
    let (mut session, mut messages) = connect(&server.url(), Some(HISTORY)).await;
    soon(session.subscribe(&[room("a")])).await.unwrap();
    publish(&mut session, &[kept(&room("a"), "1"), kept(&room("a"), "2")]).await;
    let (_, first, _) = messages.next().await;
    assert_eq!(numbers(&history(&session, first).await), [2]);
    let now = soon(session.now()).await.unwrap();

    server.start_again().await;
    let (mut session, _messages) = connect(&server.url(), Some(HISTORY)).await;
    publish(&mut session, &[kept(&room("a"), "3")]).await;
    assert_eq!(soon(session.history("a".into(), first)).await, Err(HistoryError::Gone));
    assert_eq!(numbers(&history(&session, None).await), [3]);
    // Nothing had been there.
    assert_eq!(numbers(&history(&session, Some(now)).await), [3]);
    // It is too old, or had to give way to others.
    assert_eq!(numbers(&history(&session, Some(Position::new(1, 1))).await), [3]);
    let (few, _messages) = connect(&server.url(), Some(History::last(1))).await;
    assert_eq!(soon(few.history("a".into(), first)).await, Err(HistoryError::Gone));
    publish(&mut session, &[kept(&room("a"), "4")]).await;
    assert_eq!(numbers(&history(&few, first).await), [3, 4]);
}
