//! Rooms over Redis, whose connections are ended again and again.

use std::sync::Mutex;

use bellwire_core::testing::{Recorder, Sent};

use super::*;
use crate::builder::{Builder, WhileAway};
use crate::core::lock;
use crate::error::PublishError;
use crate::gap::Gap;
use crate::rooms::Rooms;

/// Rooms over Redis, and what was told of gaps.
struct Node {
    rooms: Rooms,
    gaps: Arc<Mutex<Vec<Gap>>>,
}

impl Node {
    async fn new(server: &Server, builder: Builder) -> Self {
        let gaps = Arc::<Mutex<Vec<Gap>>>::default();
        let told = gaps.clone();
        let builder = builder.on_gap(move |_, gap| lock(&told).push(gap.clone()));
        let builder = builder.backoff(Duration::from_millis(1), Duration::from_millis(10));
        let rooms = builder.while_away(WhileAway::Keep).redis(server.url()).unwrap();
        soon(rooms.connected()).await.unwrap();
        Self { rooms, gaps }
    }

    /// Publishes a number, and notes which were confirmed.
    fn publish(&self, number: usize, confirmed: &Arc<Mutex<Vec<usize>>>) {
        let confirmed = confirmed.clone();
        self.rooms.publish_with("a", number.to_string(), move |outcome| match outcome {
            Ok(()) => lock(&confirmed).push(number),
            Err(error) => assert_eq!(error, PublishError::Lost),
        });
    }

    /// Which rooms may have missed something.
    fn missed(&self) -> Vec<String> {
        lock(&self.gaps).iter().flat_map(|gap| gap.rooms.clone()).collect()
    }
}

fn numbers(member: &Recorder) -> Vec<usize> {
    let number = |sent| match sent {
        Sent::Message(message) => message.as_text()?.parse().ok(),
        _ => None,
    };
    member.take_sent().into_iter().filter_map(number).collect()
}

/// Waits until somebody gets what is said in the room.
async fn subscribed(server: &Server) {
    soon(async {
        while server.tell("PUBSUB CHANNELS bellwire.room.a").await == redis::Value::Array(Vec::new()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Waits until this number has come, and returns all that have.
async fn until(member: &Recorder, last: usize) -> Vec<usize> {
    let mut all = Vec::new();
    soon(async {
        while all.last() != Some(&last) {
            all.extend(numbers(member));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    all
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn with_a_history_connections_that_end_cost_no_message_that_was_confirmed() {
    let server = Server::start(&[]).await;
    let builder = || Rooms::builder().history(HISTORY);
    let (speaker, listener) = (Node::new(&server, builder()).await, Node::new(&server, builder()).await);
    let member = Recorder::new();
    listener.rooms.join("a", &member.socket()).unwrap();
    subscribed(&server).await;
    let confirmed = Arc::default();
    for number in 0..200 {
        speaker.publish(number, &confirmed);
        if number % 10 == 5 {
            server.tell("CLIENT KILL TYPE pubsub").await;
        }
        tokio::task::yield_now().await;
    }
    soon(speaker.rooms.connected()).await.unwrap();
    soon(listener.rooms.connected()).await.unwrap();
    speaker.publish(200, &confirmed);
    let received = until(&member, 200).await;
    assert!(received.is_sorted_by(|one, other| one < other), "{received:?}");
    let confirmed: Vec<_> = lock(&confirmed).clone();
    assert_eq!(confirmed.iter().filter(|number| !received.contains(number)).collect::<Vec<_>>(), [&0; 0]);
    assert_eq!(listener.missed(), [""; 0]);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_redis_that_starts_again_without_its_history_is_a_gap() {
    let mut server = Server::start(&[]).await;
    let node = Node::new(&server, Rooms::builder().history(HISTORY)).await;
    let member = Recorder::new();
    node.rooms.join("a", &member.socket()).unwrap();
    subscribed(&server).await;
    let confirmed = Arc::default();
    node.publish(1, &confirmed);
    assert_eq!(until(&member, 1).await, [1]);
    server.start_again().await;
    soon(async {
        while node.missed() != ["a"] {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    node.publish(2, &confirmed);
    assert_eq!(until(&member, 2).await, [2]);
    assert_eq!(*lock(&confirmed), [1, 2]);
}
