//! What is given as Sentinels, and what becomes of what they say. How they fail over is in the tests with processes.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// The URL of what says, like a Sentinel, that the primary is there since this failover.
pub(in crate::engine::redis) async fn saying(host: &str, port: u16, epoch: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let port = port.to_string();
    let state = format!("*2\r\n$12\r\nconfig-epoch\r\n$1\r\n{epoch}\r\n");
    let answer = format!("{state}*2\r\n${}\r\n{host}\r\n${}\r\n{port}\r\n", host.len(), port.len());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(say(stream, answer.clone()));
        }
    });
    url
}

async fn say(mut stream: TcpStream, answer: String) -> std::io::Result<()> {
    let mut asked = String::new();
    let mut buffer = [0; 1024];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        asked += &String::from_utf8_lossy(&buffer[..length]);
        if asked.ends_with("GET-MASTER-ADDR-BY-NAME\r\n$8\r\nmymaster\r\n") {
            asked.clear();
            stream.write_all(answer.as_bytes()).await?;
        }
    }
}

fn no_broker(redis: Redis) -> String {
    let shown = format!("{redis:?}");
    let error = RedisBroker::new(redis, "app", None, PATIENCE).unwrap_err();
    assert!(matches!(error, BrokerError::Url(_)), "{error:?}");
    let shown = format!("{shown} {error}");
    assert!(!shown.contains("hidden"), "{shown}");
    shown
}

#[test]
fn a_redis_behind_sentinels_shows_them_and_no_credentials() {
    let redis = Redis::from("redis://user:hidden@My.master_1/3")
        .sentinels(["redis://:hidden@s1", "redis://user:hidden@s2:5000"]);
    assert_eq!(format!("{redis:?}"), "Redis(My.master_1, by the Sentinels redis://s1:26379, redis://s2:5000)");
    let broker = RedisBroker::new(redis, "app", None, PATIENCE).unwrap();
    assert!(!format!("{broker:?}").contains("hidden"), "{broker:?}");
}

#[test]
fn what_cannot_be_sentinels_says_what_to_write() {
    let primary = || Redis::from("redis://user:hidden@mymaster");
    assert!(no_broker(primary().sentinels([""; 0])).contains("none is given"));
    assert!(no_broker(primary().sentinels(["redis://s1", "s2:hidden"])).contains("no scheme"));
    assert!(no_broker(Redis::from("hidden").sentinels(["redis://s1"])).contains("no scheme"));
    let socket = Redis::from("unix:///run/redis.sock?pass=hidden").sentinels(["redis://s1"]);
    assert!(no_broker(socket).contains("redis://mymaster"));
}

#[test]
fn whoever_waits_for_ever_is_told_nevertheless_that_no_sentinel_is_there() {
    let (told, hear) = std::sync::mpsc::channel();
    let rooms = crate::Rooms::builder()
        .answer_timeout(Duration::MAX)
        .on_away(move |error| _ = told.send(error.clone()))
        // Nobody may listen there.
        .redis(Redis::from("redis://mymaster").sentinels(["redis://127.0.0.1:1"]))
        .unwrap();
    let error = hear.recv_timeout(PATIENCE);
    assert!(matches!(error, Ok(BrokerError::Unreachable(_))), "{error:?}");
    rooms.close().wait();
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_sentinel_that_leads_nowhere_is_not_the_first_to_be_asked_again() {
    let server = Server::start(&["--requirepass", "right"]).await;
    let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let sentinels = [saying("127.0.0.1", nowhere, 1).await, saying("127.0.0.1", server.port(), 1).await];
    let redis = Redis::from("redis://:right@mymaster/3").sentinels(&sentinels);
    let broker = RedisBroker::new(redis, "app", Some(HISTORY), PATIENCE).unwrap();
    let connect = || soon(broker.connect(Inbox::tapped(|_: &str, _, _: &Bytes| {})));
    let error = connect().await.map(drop).unwrap_err();
    let expected = format!("the Sentinel {} says that `mymaster` is at redis://127.0.0.1:{nowhere}: ", sentinels[0]);
    assert!(matches!(&error, BrokerError::Unreachable(text) if text.starts_with(&expected)), "{error:?}");
    let mut session = connect().await.unwrap();
    publish(&mut session, &[kept(&room("a"), "1")]).await;
    // In the database of the URL.
    let url = format!("redis://:right@127.0.0.1:{}/3", server.port());
    assert_eq!(server.tell_as(&url, "XLEN {app}.keep.a").await, redis::Value::Int(1));
    connect().await.unwrap();
}
