//! What Redis does not do, and what is said about that.

use super::*;

fn says<T: std::fmt::Debug>(error: T, words: &[&str]) {
    let text = format!("{error:?}");
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("hidden"), "{text}");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn wrong_credentials_are_an_error_that_does_not_repeat_them() {
    let server = Server::start(&["--requirepass", "right"]).await;
    let here = format!("127.0.0.1:{}", server.port());
    says(refused(&server.url(), None).await, &["Credentials(", "NOAUTH", "redis://user:password@host"]);
    says(refused(&format!("redis://:hidden@{here}"), None).await, &["Credentials(", "WRONGPASS"]);
    says(refused(&format!("redis://hidden:hidden@{here}"), None).await, &["Credentials(", "WRONGPASS"]);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn channels_that_a_user_may_not_have_are_refused_one_by_one() {
    let server = Server::start(&["--user", "me on nopass resetchannels &app.room.a ~{app}.keep.a +@all"]).await;
    let url = format!("redis://me:x@127.0.0.1:{}", server.port());
    let (a, b) = (room("a"), room("b"));
    for history in [None, Some(HISTORY)] {
        if history.is_some() {
            server.tell("ACL SETUSER me ~{app}.keep.*").await;
        }
        let (mut session, mut messages) = connect(&url, history).await;
        soon(session.subscribe(std::slice::from_ref(&a))).await.unwrap();
        let batch = [kept(&a, "1"), kept(&b, "2"), kept(&a, "3"), said(&b, "4"), said(&a, "5")];
        let outcomes = soon(session.publish(&batch)).await.unwrap();
        assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true, false, true]);
        says(&outcomes[1], &["Refused(", "ACL SETUSER"]);
        assert_eq!(messages.texts(3).await, ["1", "3", "5"]);
        says(soon(session.subscribe(&[a.clone(), b.clone()])).await, &["Denied(", "NOPERM", "ACL SETUSER"]);
    }
    // What was refused is not kept either.
    assert_eq!(server.tell("XLEN {app}.keep.b").await, redis::Value::Int(0));
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_user_with_what_the_advice_says_can_do_all() {
    let user = "me on nopass resetchannels &app.* ~{app}.keep.* -@all \
                +publish +subscribe +unsubscribe \
                +eval +evalsha +script|load +xadd +xrange +xlen +xtrim +xdel +pexpire +time";
    let server = Server::start(&["--user", user]).await;
    let url = format!("redis://me:x@127.0.0.1:{}", server.port());
    let (mut session, mut messages) = connect(&url, Some(HISTORY)).await;
    soon(session.subscribe(&[room("a"), Channel::Nodes])).await.unwrap();
    publish(&mut session, &[kept(&room("a"), "1"), said(&Channel::Nodes, "2")]).await;
    assert_eq!(messages.texts(2).await, ["1", "2"]);
    assert_eq!(soon(session.history("a".into(), None)).await.unwrap().kept.len(), 1);
    assert!(matches!(server.tell("PTTL {app}.keep.a").await, redis::Value::Int(1..)));
    soon(session.unsubscribe(&[room("a")])).await.unwrap();
    // `HELLO`, too, and with it whatever it begins with.
    server.tell("ACL SETUSER me -xlen").await;
    says(refused(&url, Some(HISTORY)).await, &["History(", "NOPERM"]);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_redis_that_has_enough_clients_says_so() {
    let server = Server::start(&[]).await;
    let (_session, _messages) = connect(&server.url(), None).await;
    server.tell("CONFIG SET maxclients 1").await;
    says(refused(&server.url(), None).await, &["Unreachable(", "max number of clients", "`maxclients`"]);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn without_memory_nothing_is_kept_but_all_else_goes_on() {
    let server = Server::start(&[]).await;
    let (mut session, mut messages) = connect(&server.url(), Some(HISTORY)).await;
    soon(session.subscribe(&[room("a")])).await.unwrap();
    server.tell("CONFIG SET maxmemory 1").await;
    let outcomes = soon(session.publish(&[kept(&room("a"), "1"), said(&room("a"), "2")])).await.unwrap();
    says(&outcomes[0], &["Refused(", "OOM", "`maxmemory`"]);
    assert_eq!(outcomes[1], Ok(()));
    assert_eq!(messages.texts(1).await, ["2"]);

    server.tell("CONFIG SET maxmemory 0").await;
    publish(&mut session, &[kept(&room("a"), "3")]).await;
    assert_eq!(messages.texts(1).await, ["3"]);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_replica_is_no_broker() {
    let server = Server::start(&["--replicaof", "127.0.0.1 1"]).await;
    for history in [None, Some(HISTORY)] {
        says(refused(&server.url(), history).await, &["Protocol(", "replica", "connect to the primary"]);
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_node_of_a_cluster_is_a_broker_and_has_a_history_if_the_slot_is_there() {
    let server = Server::start(&["--cluster-enabled", "yes"]).await;
    let (mut session, mut messages) = connect(&server.url(), None).await;
    soon(session.subscribe(&[room("a")])).await.unwrap();
    publish(&mut session, &[said(&room("a"), "1")]).await;
    assert_eq!(messages.texts(1).await, ["1"]);
    says(refused(&server.url(), Some(HISTORY)).await, &["History(", "CLUSTERDOWN", "Redis Cluster"]);

    server.tell("CLUSTER ADDSLOTSRANGE 0 16383").await;
    soon(async {
        while try_connect(&server.url(), Some(HISTORY)).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (mut session, mut messages) = connect(&server.url(), Some(HISTORY)).await;
    soon(session.subscribe(&[room("a"), room("b")])).await.unwrap();
    publish(&mut session, &[kept(&room("a"), "1"), kept(&room("b"), "2")]).await;
    assert_eq!(messages.texts(2).await, ["1", "2"]);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_redis_that_is_busy_with_a_script_refuses() {
    let server = Server::start(&["--busy-reply-threshold", "1"]).await;
    let (mut session, _messages) = connect(&server.url(), Some(HISTORY)).await;
    let url = server.unix_url();
    let endless = tokio::spawn(async move {
        let mut connection = redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
        let _: Result<(), _> = redis::cmd("EVAL").arg("while true do end").arg(0).query_async(&mut connection).await;
    });
    let batch = [kept(&room("a"), "1"), said(&room("a"), "2")];
    let outcomes = soon(async {
        loop {
            let outcomes = session.publish(&batch).await.unwrap();
            if outcomes[0].is_err() {
                return outcomes;
            }
        }
    })
    .await;
    for outcome in outcomes {
        says(outcome, &["Refused(", "BUSY", "SCRIPT KILL"]);
    }
    endless.abort();
}
