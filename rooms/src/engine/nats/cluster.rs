//! The servers of a cluster: those that were listed, and those that they tell of.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::server::Server;

/// More servers are not learned.
const MOST_LEARNED: usize = 16;

/// The servers of a cluster, or one.
pub(super) struct Cluster {
    listed: Vec<Server>,
    learned: Mutex<Vec<Server>>,
    /// How often this was gone through.
    rounds: AtomicUsize,
}

impl Cluster {
    pub(super) fn new(listed: Vec<Server>) -> Self {
        Self { listed, learned: Mutex::default(), rounds: AtomicUsize::new(0) }
    }

    /// Returns the servers to try, in this order: each time it begins with the next of those that were listed. Those that
    /// were learned come last, since not all of them may be reached from here.
    pub(super) fn round(&self) -> Vec<Server> {
        let first = self.rounds.fetch_add(1, Ordering::Relaxed) % self.listed.len().max(1);
        let listed = self.listed.iter().cycle().skip(first).take(self.listed.len());
        listed.chain(&*self.learned()).cloned().collect()
    }

    /// A server has told where servers of its cluster are.
    pub(super) fn learn(&self, from: &Server, places: &[String]) {
        let told = places.iter().filter_map(|place| from.sibling(place));
        let mut new: Vec<Server> = Vec::new();
        for server in told.take(MOST_LEARNED) {
            if !self.listed.iter().chain(&new).any(|known| known.is_at(&server)) {
                new.push(server);
            }
        }
        *self.learned() = new;
    }

    fn learned(&self) -> MutexGuard<'_, Vec<Server>> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::parse;
    use super::*;

    fn round(cluster: &Cluster) -> String {
        format!("{:?}", cluster.round())
    }

    #[test]
    fn each_round_begins_with_the_next_server() {
        let cluster = Cluster::new(parse("nats://a,nats://b,nats://c").unwrap());
        assert_eq!(round(&cluster), "[a:4222, b:4222, c:4222]");
        assert_eq!(round(&cluster), "[b:4222, c:4222, a:4222]");
        assert_eq!(round(&cluster), "[c:4222, a:4222, b:4222]");
        assert_eq!(round(&cluster), "[a:4222, b:4222, c:4222]");
    }

    #[test]
    fn what_a_server_tells_is_tried_last_with_the_credentials_for_it() {
        let cluster = Cluster::new(parse("nats://u:p@a").unwrap());
        let told = ["a:4222", "10.0.0.1:4333", "[::1]:1", "10.0.0.1:4333", "", "u:secret@b", "c/d"].map(String::from);
        cluster.learn(&cluster.round()[0], &told);
        assert_eq!(round(&cluster), "[a:4222, 10.0.0.1:4333, [::1]:1]");
        cluster.learn(&cluster.round()[0], &["b:1".into()]);
        assert_eq!(round(&cluster), "[a:4222, b:1]");
        let many: Vec<_> = (1..100).map(|port| format!("b:{port}")).collect();
        cluster.learn(&cluster.round()[0], &many);
        assert_eq!(cluster.round().len(), 1 + MOST_LEARNED);
    }

    #[test]
    fn over_tls_servers_without_names_are_not_tried() {
        let cluster = Cluster::new(parse("tls://a").unwrap());
        cluster.learn(&cluster.round()[0], &["10.0.0.1:4333".into()]);
        assert_eq!(round(&cluster), "[a:4222]");
    }
}
