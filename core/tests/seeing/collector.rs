//! A subscriber that keeps everything, as text.

use std::cell::RefCell;
use std::fmt::{self, Write};
use std::sync::{Arc, LazyLock, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// A span or an event, as text: `LEVEL target [span of it] message field=value ..`.
#[derive(Clone, Default)]
pub(crate) struct Collector(Arc<Mutex<Collected>>);

#[derive(Default)]
struct Collected {
    spans: Vec<String>,
    events: Vec<Seen>,
}

std::thread_local! {
    /// The spans that this thread is in.
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) level: Level,
    pub(crate) target: String,
    /// The span that it is in, as text.
    pub(crate) span: Option<String>,
    pub(crate) text: String,
}

/// While there is only one subscriber, `tracing` asks the thread that comes to an event first whether anybody wants it, and
/// believes that for all threads; tests beside a [`Collector`] want nothing. With this one there are two.
static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Collector::default()));

impl Collector {
    /// Runs this, and returns what was seen of it.
    pub(crate) fn watch<T>(act: impl FnOnce(&Self) -> T) -> (Self, T) {
        LazyLock::force(&ANOTHER);
        let collector = Self::default();
        let result = tracing::subscriber::with_default(collector.clone(), || act(&collector));
        (collector, result)
    }

    pub(crate) fn events(&self) -> Vec<Seen> {
        self.0.lock().unwrap().events.clone()
    }

    pub(crate) fn spans(&self) -> Vec<String> {
        self.0.lock().unwrap().spans.clone()
    }

    /// The texts of the events of a target.
    pub(crate) fn texts(&self, target: &str) -> Vec<String> {
        self.events()
            .into_iter()
            .filter(|seen| seen.target == target)
            .map(|seen| format!("{} {}", seen.level, seen.text))
            .collect()
    }

    /// Everything that was ever seen.
    pub(crate) fn everything(&self) -> String {
        format!("{:?} {:?}", self.spans(), self.events())
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.0.insert_str(0, &format!("{value:?}")),
            name => write!(self.0, " {name}={value:?}").unwrap(),
        }
    }
}

impl Subscriber for Collector {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut text = Text(String::new());
        attributes.record(&mut text);
        let mut collected = self.0.lock().unwrap();
        collected.spans.push(format!("{}{}", attributes.metadata().name(), text.0));
        Id::from_u64(collected.spans.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let mut collected = self.0.lock().unwrap();
        let inside = event.is_contextual().then(|| ENTERED.with_borrow(|entered| entered.last().copied())).flatten();
        let id = event.parent().map(|id| id.into_u64()).or(inside);
        let seen = Seen {
            level: *event.metadata().level(),
            target: event.metadata().target().into(),
            span: id.map(|id| collected.spans[id as usize - 1].clone()),
            text: text.0,
        };
        collected.events.push(seen);
    }

    fn enter(&self, id: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(id.into_u64()));
    }

    fn exit(&self, id: &Id) {
        let left = ENTERED.with_borrow_mut(Vec::pop);
        assert_eq!(left, Some(id.into_u64()), "spans are left in the order in which they were entered");
    }
}
