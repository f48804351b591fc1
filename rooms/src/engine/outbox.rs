//! What waits to be published.

use std::collections::VecDeque;
use std::iter;
use std::sync::Arc;

use super::{Channel, Publication};
use crate::builder::{Settings, WhileAway};
use crate::core::contain;
use crate::error::PublishError;
use crate::wire::HEADER;

/// Is called once, with what became of a message.
pub(crate) type Done = Box<dyn FnOnce(Result<(), PublishError>) + Send>;

/// As much is handed over at a time.
const MOST_AT_ONCE: usize = 512;
const MOST_BYTES_AT_ONCE: usize = 256 * 1024;

/// What waits to be published, up to its bounds.
pub(crate) struct Outbox {
    items: VecDeque<Item>,
    bytes: usize,
    most: usize,
    most_bytes: usize,
    max_message: usize,
    while_away: WhileAway,
    /// The most bytes that the broker has taken at once, since there was a connection.
    max_payload: usize,
    way: Way,
}

/// A message that waits, and whom to tell.
struct Item {
    publication: Publication,
    done: Option<Done>,
}

/// A message that was accepted, and not published.
pub(crate) struct Unpublished {
    pub(crate) room: Arc<str>,
    pub(crate) why: PublishError,
    /// Its publisher was told.
    pub(crate) is_told: bool,
}

/// Messages that are handed over together.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) publications: Vec<Publication>,
    /// Whom to tell, in the same order.
    done: Vec<Option<Done>>,
}

impl Batch {
    /// How many messages these are.
    pub(crate) fn len(&self) -> usize {
        self.done.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.publications.is_empty()
    }

    /// Adds what nobody wants to know of what became of it.
    pub(crate) fn extend(&mut self, publications: Vec<Publication>) {
        self.publications.extend(publications);
    }

    /// Tells whoever wants to know what became of the messages: what is not said of the last was well. Returns those that
    /// were not published.
    pub(crate) fn tell(mut self, outcomes: Vec<Result<(), PublishError>>) -> Vec<Unpublished> {
        self.tell_each(outcomes.into_iter().chain(iter::repeat(Ok(()))))
    }

    /// The same became of all.
    pub(crate) fn tell_all(mut self, why: &PublishError) -> Vec<Unpublished> {
        self.tell_each(iter::repeat_with(|| Err(why.clone())))
    }

    fn tell_each(&mut self, outcomes: impl Iterator<Item = Result<(), PublishError>>) -> Vec<Unpublished> {
        let mut unpublished = Vec::new();
        let done = std::mem::take(&mut self.done);
        for ((done, outcome), publication) in done.into_iter().zip(outcomes).zip(&self.publications) {
            if let (Err(why), Channel::Room(room)) = (&outcome, &publication.channel) {
                unpublished.push(Unpublished { room: room.clone(), why: why.clone(), is_told: done.is_some() });
            }
            if let Some(done) = done {
                contain(|| done(outcome));
            }
        }
        unpublished
    }
}

/// Its runtime has ended while it was on its way.
impl Drop for Batch {
    fn drop(&mut self) {
        self.tell_each(iter::repeat_with(|| Err(PublishError::Lost)));
    }
}

impl FromIterator<Item> for Batch {
    fn from_iter<I: IntoIterator<Item = Item>>(items: I) -> Self {
        let (publications, done) = items.into_iter().map(|Item { publication, done }| (publication, done)).unzip();
        Self { publications, done }
    }
}

/// Whether there is a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Away,
    Open,
    Closed,
}

impl Outbox {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            items: VecDeque::new(),
            bytes: 0,
            most: settings.most_queued,
            most_bytes: settings.most_queued_bytes,
            max_message: settings.max_message,
            while_away: settings.while_away,
            max_payload: usize::MAX,
            way: Way::Away,
        }
    }

    /// Says whether a message of this length may be queued.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(&self, length: usize) -> Result<(), PublishError> {
        let limit = self.max_message.min(self.max_payload.saturating_sub(HEADER));
        if length > limit {
            return Err(PublishError::TooLong { length, limit });
        }
        match (self.way, self.while_away) {
            (Way::Closed, _) | (Way::Away, WhileAway::Refuse) => return Err(PublishError::Unavailable),
            (Way::Open, _) | (Way::Away, WhileAway::Keep) => {}
        }
        if self.items.len() >= self.most || self.bytes + length > self.most_bytes {
            return Err(PublishError::Full);
        }
        Ok(())
    }

    /// Queues a message that was [checked](Self::check).
    pub(crate) fn push(&mut self, publication: Publication, done: Option<Done>) {
        self.bytes += publication.bytes.len();
        self.items.push_back(Item { publication, done });
    }

    /// Takes the messages to hand over next.
    pub(crate) fn take(&mut self) -> Batch {
        let mut bytes = 0;
        let fits = |item: &&Item| {
            bytes += item.publication.bytes.len();
            bytes <= MOST_BYTES_AT_ONCE
        };
        let count = self.items.iter().take(MOST_AT_ONCE).take_while(fits).count();
        // A single one may be longer than that.
        let batch: Batch = self.items.drain(..count.max(1).min(self.items.len())).collect();
        self.bytes -= batch.publications.iter().map(|publication| publication.bytes.len()).sum::<usize>();
        batch
    }

    /// Takes everything.
    pub(crate) fn take_all(&mut self) -> Batch {
        self.bytes = 0;
        self.items.drain(..).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.way == Way::Open
    }

    /// There is a connection that takes so many bytes at once.
    pub(crate) fn open(&mut self, max_payload: usize) {
        self.max_payload = max_payload;
        if self.way != Way::Closed {
            self.way = Way::Open;
        }
    }

    pub(crate) fn away(&mut self) {
        if self.way != Way::Closed {
            self.way = Way::Away;
        }
    }

    /// Nothing is taken any more.
    pub(crate) fn close(&mut self) {
        self.way = Way::Closed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(settings: Settings) -> Outbox {
        let mut outbox = Outbox::new(&settings);
        outbox.open(1024 * 1024);
        outbox
    }

    fn publication(length: usize) -> Publication {
        Publication { channel: Channel::Nodes, bytes: vec![0; length].into(), keep: false }
    }

    #[test]
    fn it_takes_no_more_messages_and_no_more_bytes_than_it_may() {
        let mut outbox = outbox(Settings { most_queued: 2, most_queued_bytes: 10, ..Settings::default() });
        assert_eq!(outbox.check(11), Err(PublishError::Full));
        outbox.push(publication(9), None);
        assert_eq!(outbox.check(2), Err(PublishError::Full));
        assert_eq!(outbox.check(1), Ok(()));
        outbox.push(publication(0), None);
        assert_eq!(outbox.check(0), Err(PublishError::Full));
        assert_eq!(outbox.take().len(), 2);
        assert_eq!(outbox.check(10), Ok(()));
    }

    #[test]
    fn what_is_longer_than_the_broker_takes_is_refused() {
        let mut outbox = outbox(Settings { max_message: 100, ..Settings::default() });
        assert_eq!(outbox.check(101), Err(PublishError::TooLong { length: 101, limit: 100 }));
        outbox.open(50 + HEADER);
        assert_eq!(outbox.check(51), Err(PublishError::TooLong { length: 51, limit: 50 }));
        assert_eq!(outbox.check(50), Ok(()));
    }

    #[test]
    fn without_a_connection_messages_are_refused_or_kept_as_was_set() {
        let mut refusing = outbox(Settings::default());
        refusing.away();
        assert_eq!(refusing.check(1), Err(PublishError::Unavailable));
        let mut keeping = outbox(Settings { while_away: WhileAway::Keep, most_queued: 1, ..Settings::default() });
        keeping.away();
        assert_eq!(keeping.check(1), Ok(()));
        keeping.push(publication(1), None);
        assert_eq!(keeping.check(1), Err(PublishError::Full));
        keeping.close();
        assert_eq!(keeping.check(1), Err(PublishError::Unavailable));
        keeping.open(1024);
        assert!(!keeping.is_open());
    }

    #[test]
    fn batches_are_bounded_and_one_that_is_longer_goes_alone() {
        let mut outbox = outbox(Settings::default());
        assert_eq!(outbox.take().len(), 0);
        for length in [MOST_BYTES_AT_ONCE + 1, MOST_BYTES_AT_ONCE, 1] {
            outbox.push(publication(length), None);
        }
        assert_eq!([outbox.take().len(), outbox.take().len(), outbox.take().len()], [1, 1, 1]);
        (0..MOST_AT_ONCE + 1).for_each(|_| outbox.push(publication(1), None));
        assert_eq!([outbox.take().len(), outbox.take().len()], [MOST_AT_ONCE, 1]);
        assert!(outbox.is_empty() && outbox.bytes == 0);
    }
}
