//! Which of a host's addresses are tried, and when: RFC 8305, without sockets and without a clock.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, ErrorKind};

use crate::time::Time;

/// How long an address has before the next one is tried beside it. RFC 8305 §5: "One recommended value for a default
/// delay is 250 milliseconds."
const DELAY: Duration = Duration::from_millis(250);

/// The addresses of a host, which are tried one beside the other until the first succeeds. RFC 8305 §5: "Once one of
/// the connection attempts succeeds [...], all other connections attempts that have not yet succeeded SHOULD be
/// canceled." That is for the caller, who makes the attempts.
pub struct Race {
    waiting: VecDeque<SocketAddr>,
    running: usize,
    /// When the next is tried.
    due: Time,
    failures: Vec<(SocketAddr, io::Error)>,
}

impl Race {
    /// Creates a race of these addresses, the most wanted first.
    pub fn new(addrs: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self { waiting: interleaved(addrs), running: 0, due: Time::ZERO, failures: Vec::new() }
    }

    /// Returns the address that is to be tried now, beside those that are being tried: at most one. RFC 8305 §5: "connection
    /// attempts SHOULD NOT be made simultaneously. Instead, one connection attempt to a single address is started
    /// first, followed by the others in the list, one at a time."
    pub fn next(&mut self, now: Time) -> Option<SocketAddr> {
        if now < self.due {
            return None;
        }
        let addr = self.waiting.pop_front()?;
        self.running += 1;
        self.due = now + DELAY;
        Some(addr)
    }

    /// Returns when to ask for the [next](Self::next); `None` if there is none.
    pub fn poll_timeout(&self) -> Option<Time> {
        (!self.waiting.is_empty()).then_some(self.due)
    }

    /// An attempt has failed. The next address need not wait for its turn.
    pub fn failed(&mut self, addr: SocketAddr, error: io::Error) {
        self.running = self.running.saturating_sub(1);
        self.due = Time::ZERO;
        self.failures.push((addr, error));
    }

    /// Returns `true` if all attempts have failed.
    pub fn is_lost(&self) -> bool {
        self.running == 0 && self.waiting.is_empty()
    }

    /// Returns what each address has failed with.
    pub fn into_error(self) -> io::Error {
        let Some((_, last)) = self.failures.last() else {
            return io::Error::new(ErrorKind::NotFound, "the host has no address");
        };
        let kind = last.kind();
        if self.failures.len() > 1 {
            let texts: Vec<String> = self.failures.iter().map(|(addr, error)| format!("{addr}: {error}")).collect();
            return io::Error::new(kind, texts.join("; "));
        }
        self.failures.into_iter().next().map_or_else(|| kind.into(), |(_, error)| error)
    }
}

debug!(Race => |this| waiting: this.waiting, running: this.running);

/// RFC 8305 §4: "the client SHOULD modify the ordered list to interleave address families. Whichever address family is
/// first in the list should be followed by an address of the other address family". An address that comes twice is
/// tried once.
fn interleaved(addrs: impl IntoIterator<Item = SocketAddr>) -> VecDeque<SocketAddr> {
    let mut seen = Vec::new();
    let (mut first, mut other) = (VecDeque::new(), VecDeque::new());
    for addr in addrs {
        if seen.contains(&addr) {
            continue;
        }
        seen.push(addr);
        let is_first = first.front().is_none_or(|front: &SocketAddr| front.is_ipv4() == addr.is_ipv4());
        if is_first { first.push_back(addr) } else { other.push_back(addr) }
    }
    let mut all = VecDeque::new();
    while !first.is_empty() || !other.is_empty() {
        all.extend(first.pop_front());
        all.extend(other.pop_front());
    }
    all
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    const fn ms(milliseconds: u64) -> Time {
        Time::from_start(Duration::from_millis(milliseconds))
    }

    fn addrs(text: &str) -> Vec<SocketAddr> {
        text.split_whitespace().map(|ip| SocketAddr::new(ip.parse().unwrap(), 1)).collect()
    }

    fn order(text: &str) -> String {
        let all: Vec<String> = interleaved(addrs(text)).iter().map(|addr| addr.ip().to_string()).collect();
        all.join(" ")
    }

    #[test]
    fn e8_families_take_turns_and_the_first_stays_first() {
        assert_eq!(order("::1 ::2 ::3 10.0.0.1 10.0.0.2"), "::1 10.0.0.1 ::2 10.0.0.2 ::3");
        assert_eq!(order("10.0.0.1 10.0.0.2 ::1"), "10.0.0.1 ::1 10.0.0.2");
        assert_eq!(order("10.0.0.1 10.0.0.2"), "10.0.0.1 10.0.0.2");
        assert_eq!(order("::1 10.0.0.1 ::1 10.0.0.1"), "::1 10.0.0.1", "once each");
        assert_eq!(order(""), "");
    }

    #[test]
    fn e8_attempts_are_250_ms_apart_and_those_that_run_are_not_disturbed() {
        let [first, second, third] = addrs("10.0.0.1 10.0.0.2 10.0.0.3")[..] else { panic!() };
        let mut race = Race::new([first, second, third]);
        assert_eq!(race.next(ms(5)), Some(first));
        assert_eq!((race.next(ms(5)), race.poll_timeout()), (None, Some(ms(255))));
        assert_eq!(race.next(ms(254)), None);
        assert_eq!(race.next(ms(255)), Some(second));
        // Late, and the others are no sooner for it.
        assert_eq!(race.next(ms(900)), Some(third));
        assert_eq!((race.next(ms(2000)), race.poll_timeout(), race.is_lost()), (None, None, false));
    }

    #[test]
    fn e8_a_failure_lets_the_next_one_start_at_once_and_the_end_says_what_each_failed_with() {
        let [first, second] = addrs("::1 10.0.0.2")[..] else { panic!() };
        let mut race = Race::new([first, second]);
        race.next(ms(0));
        race.failed(first, ErrorKind::ConnectionRefused.into());
        assert!(!race.is_lost());
        assert_eq!(race.next(ms(1)), Some(second));
        race.failed(second, ErrorKind::NetworkUnreachable.into());
        assert!(race.is_lost());
        let error = race.into_error();
        assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
        assert_eq!(error.to_string(), "[::1]:1: connection refused; 10.0.0.2:1: network unreachable");
    }

    #[test]
    fn e8_a_single_failure_is_told_as_it_is_and_no_address_in_words() {
        let [only] = addrs("10.0.0.1")[..] else { panic!() };
        let mut race = Race::new([only]);
        race.next(ms(0));
        race.failed(only, io::Error::from_raw_os_error(111));
        assert_eq!(race.into_error().raw_os_error(), Some(111));
        let race = Race::new([]);
        assert!(race.is_lost());
        assert_eq!(race.into_error().to_string(), "the host has no address");
    }
}
