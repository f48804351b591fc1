//! A node at a broker in memory, in virtual time.

pub(super) use std::sync::Mutex;

pub(super) use bellwire_core::testing::{Recorder, Sent};

use super::super::*;
pub(super) use crate::builder::{Builder, History, WhileAway};
pub(super) use crate::core::lock;
pub(super) use crate::engine::testing::Memory;
pub(super) use crate::gap::Gap;
pub(super) use crate::rooms::Rooms;

/// Rooms over a broker in memory, and what their hooks were told.
pub(super) struct Node {
    pub(super) rooms: Rooms,
    pub(super) broker: Memory,
    pub(super) gaps: Arc<Mutex<Vec<Gap>>>,
    pub(super) away: Arc<Mutex<Vec<String>>>,
}

impl Node {
    pub(super) fn new(broker: &Memory, builder: Builder) -> Self {
        let (gaps, away) = (Arc::<Mutex<Vec<Gap>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (told_gaps, told_away) = (gaps.clone(), away.clone());
        let builder = builder
            .on_gap(move |_, gap| lock(&told_gaps).push(gap.clone()))
            .on_away(move |why| lock(&told_away).push(why.to_string()));
        let rooms = Rooms::over(builder, broker.clone()).unwrap();
        Self { rooms, broker: broker.clone(), gaps, away }
    }

    pub(super) async fn connected(broker: &Memory, builder: Builder) -> Self {
        let node = Self::new(broker, builder);
        node.rooms.connected().await.unwrap();
        node
    }

    pub(super) fn member(&self, room: &str) -> Recorder {
        let member = Recorder::new();
        self.rooms.join(room, &member.socket()).unwrap();
        member
    }

    /// Loses the connection, and returns when that was noticed.
    pub(super) async fn lose(&self) {
        self.broker.stop();
        settle().await;
        assert!(!self.rooms.is_connected());
    }

    pub(super) async fn come_back(&self) {
        self.broker.start();
        self.rooms.connected().await.unwrap();
        settle().await;
    }
}

/// Two nodes at the same broker.
pub(super) async fn two(broker: &Memory, builder: impl Fn() -> Builder) -> (Node, Node) {
    (Node::connected(broker, builder()).await, Node::connected(broker, builder()).await)
}

/// Everything that can happen at this time happens.
pub(super) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

pub(super) fn texts(recorder: &Recorder) -> Vec<String> {
    let text = |sent| match sent {
        Sent::Message(message) => message.as_text().map(String::from),
        _ => None,
    };
    recorder.take_sent().into_iter().filter_map(text).collect()
}
