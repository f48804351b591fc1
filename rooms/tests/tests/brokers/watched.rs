//! A node in this process that reports what becomes of its connection.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bellwire_rooms::{BrokerError, Builder, Gap, PublishError, Rooms};
use bellwire_rooms_tests::{Broker, Kind, Relay, wait_until};

use crate::site::{PREFIX, open};

pub(crate) struct Watched {
    pub(crate) rooms: Rooms,
    gaps: Arc<Mutex<Vec<Gap>>>,
    away: Arc<Mutex<Vec<BrokerError>>>,
    outcomes: Outcomes,
}

type Outcomes = Arc<Mutex<Vec<(usize, Result<(), PublishError>)>>>;

/// Shorter than tests wait, and longer than a broker takes that is busy.
pub(crate) const ANSWER: Duration = Duration::from_millis(700);

impl Watched {
    pub(crate) fn new(kind: Kind, url: &str, set_up: impl FnOnce(Builder) -> Builder) -> Self {
        Self::over(|builder| open(set_up(builder), kind, url))
    }

    /// One with rooms that are made in some other way.
    pub(crate) fn over(open: impl FnOnce(Builder) -> Rooms) -> Self {
        let (gaps, away) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let (of_gap, of_away) = (gaps.clone(), away.clone());
        let builder = Rooms::builder()
            .prefix(PREFIX)
            .backoff(Duration::from_millis(5), Duration::from_millis(50))
            .on_gap(move |_, gap| of_gap.lock().unwrap().push(gap.clone()))
            .on_away(move |error| of_away.lock().unwrap().push(error.clone()));
        Self { rooms: open(builder), gaps, away, outcomes: Outcomes::default() }
    }

    /// One that is connected.
    pub(crate) fn at(broker: &Broker, set_up: impl FnOnce(Builder) -> Builder) -> Self {
        let this = Self::new(broker.kind(), &broker.url(), set_up);
        this.wait_connected();
        this
    }

    /// One that is connected through a relay.
    pub(crate) fn through(relay: &Relay, broker: &Broker, set_up: impl FnOnce(Builder) -> Builder) -> Self {
        let this = Self::new(broker.kind(), &broker.url_at(relay.port()), set_up);
        this.wait_connected();
        this
    }

    #[track_caller]
    pub(crate) fn wait_connected(&self) {
        wait_until("a connection", || self.rooms.is_connected());
    }

    #[track_caller]
    pub(crate) fn wait_away(&self) {
        wait_until("no connection", || !self.rooms.is_connected());
    }

    /// The rooms of each gap so far.
    pub(crate) fn gaps(&self) -> Vec<Gap> {
        self.gaps.lock().unwrap().clone()
    }

    #[track_caller]
    pub(crate) fn wait_for_gaps(&self, count: usize) {
        wait_until("a gap", || self.gaps().len() >= count);
    }

    /// Why there was no connection, each time.
    pub(crate) fn away(&self) -> Vec<BrokerError> {
        self.away.lock().unwrap().clone()
    }

    /// Waits until an attempt to connect has ended like this.
    #[track_caller]
    pub(crate) fn wait_for_error(&self, expected: impl Fn(&BrokerError) -> bool) -> BrokerError {
        let found = bellwire_rooms_tests::look_for(|| self.away().into_iter().find(&expected));
        found.unwrap_or_else(|| panic!("there were: {:?}", self.away()))
    }

    /// Publishes, and keeps the outcome under this number.
    pub(crate) fn publish(&self, room: &str, number: usize) {
        let outcomes = self.outcomes.clone();
        self.rooms.publish_with(room, number.to_string(), move |outcome| {
            outcomes.lock().unwrap().push((number, outcome));
        });
    }

    pub(crate) fn outcomes(&self) -> Vec<(usize, Result<(), PublishError>)> {
        self.outcomes.lock().unwrap().clone()
    }

    /// Waits until there are so many outcomes.
    #[track_caller]
    pub(crate) fn wait_for_outcomes(&self, count: usize) -> Vec<(usize, Result<(), PublishError>)> {
        let found = bellwire_rooms_tests::look_for(|| Some(self.outcomes()).filter(|outcomes| outcomes.len() >= count));
        found.unwrap_or_else(|| panic!("{count} outcomes; there were: {:?}", self.outcomes()))
    }
}
