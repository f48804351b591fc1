//! Some nodes with rooms in this process, and the broker between them if there is one.

use std::collections::BTreeMap;

use bellwire_core::OwnedMessage;
use bellwire_core::testing::{Recorder, Sent};
use bellwire_rooms::{Builder, PublishError, Rooms};
use bellwire_rooms_tests::{Broker, Kind, look_for, wait_until};

/// What names at the broker begin with.
pub(crate) const PREFIX: &str = "test";

pub(crate) struct Site {
    pub(crate) nodes: Vec<Rooms>,
    pub(crate) broker: Option<Broker>,
}

/// How each of the tests is run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum On {
    Local,
    Broker(Kind),
}

/// Makes a test of each of these functions for each engine. Those over a broker are for those who have one.
macro_rules! on_each_engine {
    ($($test:ident)*) => {
        mod local {
            $(#[test] fn $test() { super::$test(crate::site::On::Local); })*
        }
        crate::site::on_each_broker! { @on $($test)* }
    };
}

macro_rules! on_each_broker {
    (@on $($test:ident)*) => {
        mod nats {
            $(#[test] #[ignore = "needs nats-server"]
            fn $test() { super::$test(crate::site::On::Broker(bellwire_rooms_tests::Kind::Nats)); })*
        }
        mod redis {
            $(#[test] #[ignore = "needs redis-server"]
            fn $test() { super::$test(crate::site::On::Broker(bellwire_rooms_tests::Kind::Redis)); })*
        }
    };
    ($($test:ident)*) => {
        mod nats {
            $(#[test] #[ignore = "needs nats-server"] fn $test() { super::$test(bellwire_rooms_tests::Kind::Nats); })*
        }
        mod redis {
            $(#[test] #[ignore = "needs redis-server"] fn $test() { super::$test(bellwire_rooms_tests::Kind::Redis); })*
        }
    };
}

pub(crate) use {on_each_broker, on_each_engine};

impl Site {
    /// So many nodes. Without a broker there is but one, with as many handles.
    pub(crate) fn new(on: On, nodes: usize) -> Self {
        Self::with(on, nodes, |builder| builder)
    }

    pub(crate) fn with(on: On, nodes: usize, set_up: impl Fn(Builder) -> Builder) -> Self {
        let builder = || set_up(Rooms::builder().prefix(PREFIX));
        match on {
            On::Local => {
                let rooms = builder().local();
                Self { nodes: vec![rooms; nodes], broker: None }
            }
            On::Broker(kind) => Self::around(Broker::start(kind), nodes, builder),
        }
    }

    pub(crate) fn around(broker: Broker, nodes: usize, builder: impl Fn() -> Builder) -> Self {
        let nodes: Vec<_> = (0..nodes).map(|_| open(builder(), broker.kind(), &broker.url())).collect();
        wait_until("nodes that are connected", || nodes.iter().all(Rooms::is_connected));
        Self { nodes, broker: Some(broker) }
    }

    /// Waits until the broker knows of those of these rooms that have members, and of no other.
    #[track_caller]
    pub(crate) fn settle<R: AsRef<str>>(&self, rooms: &[R]) {
        if let Some(broker) = &self.broker {
            settle(broker, &self.nodes.iter().collect::<Vec<_>>(), rooms);
        }
    }

    /// Joins a room with a socket of its own, on a node.
    pub(crate) fn member(&self, node: usize, room: &str) -> Recorder {
        let member = Recorder::new();
        self.nodes[node].join(room, &member.socket()).unwrap();
        member
    }

    /// Is one order of messages the same for all?
    pub(crate) fn has_one_order(&self) -> bool {
        self.broker.as_ref().is_none_or(|broker| broker.kind() == Kind::Redis)
    }
}

/// Rooms over the broker at this URL.
pub(crate) fn open(builder: Builder, kind: Kind, url: &str) -> Rooms {
    match kind {
        Kind::Nats => builder.nats(url).unwrap(),
        Kind::Redis => builder.redis(url).unwrap(),
    }
}

/// The names of rooms at the broker.
pub(crate) const ROOMS: &str = "test.room.";

#[track_caller]
pub(crate) fn settle<R: AsRef<str>>(broker: &Broker, nodes: &[&Rooms], rooms: &[R]) {
    let subscribed = |room: &R| nodes.iter().filter(|node| !node.members(room.as_ref()).is_empty()).count();
    let counts = rooms.iter().map(|room| (format!("{ROOMS}{}", token(room.as_ref())), subscribed(room)));
    let expected: BTreeMap<_, _> = counts.filter(|&(_, count)| count > 0).collect();
    let found = look_for(|| (broker.channels(ROOMS) == expected).then_some(()));
    assert!(found.is_some(), "the broker has {:?}, not {expected:?}", broker.channels(ROOMS));
}

/// What the documentation says of names at the broker.
fn token(room: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let escaped = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("={byte:02X}") };
    room.bytes().map(escaped).collect()
}

/// The messages that a member has got, as text.
pub(crate) fn texts(member: &Recorder) -> Vec<String> {
    let messages = member.sent().into_iter().filter_map(|sent| match sent {
        Sent::Message(OwnedMessage::Text(text)) => Some(text.to_string()),
        Sent::Message(OwnedMessage::Binary(bytes)) => Some(format!("{bytes:?}")),
        _ => None,
    });
    messages.collect()
}

/// Waits until a member has got so many messages.
#[track_caller]
pub(crate) fn wait_for_messages(member: &Recorder, count: usize) -> Vec<String> {
    look_for(|| Some(texts(member)).filter(|texts| texts.len() >= count)).unwrap_or_else(|| {
        let texts = texts(member);
        panic!("{count} messages; there were {}, at last: {:?}", texts.len(), &texts[texts.len().saturating_sub(20)..])
    })
}

/// Publishes as soon as there is room.
pub(crate) fn publish_patiently(rooms: &Rooms, room: &str, text: &str) {
    let accepted = look_for(|| match rooms.publish(room, text) {
        Err(PublishError::Full) => None,
        outcome => Some(outcome),
    });
    assert_eq!(accepted, Some(Ok(())));
}
