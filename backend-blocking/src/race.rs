//! Connects to the first of a host's addresses that answers: a thread for each attempt, as RFC 8305 times them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use bellwire_core::ConnectError;
use bellwire_core::backend::Race;
use bellwire_core::proto::Time;
use bellwire_core::proto::client::Phase;

/// How much longer than the race an attempt may take: so it is the race that ends at the deadline.
const SLACK: Duration = Duration::from_secs(1);

/// Makes a connection: to this address, and when it may give up.
pub(crate) trait Connect<S>: Fn(SocketAddr, Option<Duration>) -> io::Result<S> + Send + Sync + 'static {}

impl<S, C: Fn(SocketAddr, Option<Duration>) -> io::Result<S> + Send + Sync + 'static> Connect<S> for C {}

/// What an attempt has come to.
type Attempt<S> = (SocketAddr, io::Result<S>);

/// Tries the addresses, 250 ms apart, until the first succeeds. A connect cannot be interrupted: the threads of the
/// others end a little after the deadline at the latest, and what they have connected is closed.
pub(crate) fn race<S: Send + 'static>(
    addrs: impl IntoIterator<Item = SocketAddr>,
    deadline: Option<Instant>,
    connect: impl Connect<S>,
) -> Result<S, ConnectError> {
    let (start, connect) = (Instant::now(), Arc::new(connect));
    let (sender, results) = mpsc::channel();
    let mut race = Race::new(addrs);
    loop {
        if let Some(addr) = race.next(Time::from_start(start.elapsed())) {
            if let Err(error) = attempt(addr, deadline, &connect, &sender) {
                race.failed(addr, error);
            }
        }
        if race.is_lost() {
            return Err(ConnectError::Connect(race.into_error()));
        }
        let next = race.poll_timeout().and_then(|due| start.checked_add(due.since_start()));
        let result = match deadline.into_iter().chain(next).min() {
            Some(until) => results.recv_timeout(until.saturating_duration_since(Instant::now())),
            None => results.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match result {
            Ok((_, Ok(stream))) => return Ok(stream),
            Ok((addr, Err(error))) => race.failed(addr, error),
            Err(_) if deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                return Err(ConnectError::Timeout(Phase::Connect));
            }
            Err(_) => {}
        }
    }
}

/// Starts an attempt's thread.
fn attempt<S: Send + 'static>(
    addr: SocketAddr,
    deadline: Option<Instant>,
    connect: &Arc<impl Connect<S>>,
    sender: &Sender<Attempt<S>>,
) -> io::Result<()> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()) + SLACK);
    let (connect, sender) = (connect.clone(), sender.clone());
    let attempt = move || {
        // If the race is over, what was connected is closed.
        let _ = sender.send((addr, connect(addr, left)));
    };
    thread::Builder::new().name("bellwire-connect".into()).spawn(attempt).map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::sync::Mutex;

    use super::*;

    /// What becomes of the attempts, by port: when each began, and what was connected and is dropped.
    #[derive(Clone, Default)]
    struct Network {
        starts: Arc<Mutex<Vec<(u16, Duration)>>>,
        dropped: Arc<Mutex<Vec<u16>>>,
    }

    struct Connected(u16, Network);

    impl Drop for Connected {
        fn drop(&mut self) {
            self.1.dropped.lock().unwrap().push(self.0);
        }
    }

    const REFUSES: u16 = 1;
    const SWALLOWS: u16 = 2;
    const SLOW: u16 = 3;
    const FINE: u16 = 4;

    fn run(network: &Network, ports: &[u16], timeout: Duration) -> Result<Connected, ConnectError> {
        let (start, network) = (Instant::now(), network.clone());
        let addrs: Vec<SocketAddr> = ports.iter().map(|&port| SocketAddr::from(([192, 0, 2, 1], port))).collect();
        race(addrs, Some(start + timeout), move |addr, timeout| {
            let port = addr.port();
            network.starts.lock().unwrap().push((port, start.elapsed()));
            match port {
                REFUSES => return Err(ErrorKind::ConnectionRefused.into()),
                SWALLOWS => {
                    thread::sleep(timeout.unwrap());
                    return Err(ErrorKind::TimedOut.into());
                }
                SLOW => thread::sleep(Duration::from_millis(600)),
                _ => {}
            }
            Ok(Connected(port, network.clone()))
        })
    }

    #[test]
    fn e8_threads_race_as_tasks_do() {
        let network = Network::default();
        let won = run(&network, &[SWALLOWS, FINE], Duration::from_secs(60)).unwrap();
        assert_eq!(won.0, FINE);
        let starts = network.starts.lock().unwrap().clone();
        assert_eq!((starts[0].0, starts[1].0), (SWALLOWS, FINE));
        assert!(starts[1].1 >= Duration::from_millis(250), "{starts:?}");
        assert!(starts[1].1 < Duration::from_secs(10), "{starts:?}");
    }

    #[test]
    fn e8_a_connection_that_comes_too_late_is_closed() {
        let network = Network::default();
        let won = run(&network, &[SLOW, FINE], Duration::from_secs(60)).unwrap();
        assert_eq!(won.0, FINE);
        let start = Instant::now();
        while *network.dropped.lock().unwrap() != [SLOW] {
            assert!(start.elapsed() < Duration::from_secs(30), "the loser is kept");
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn e8_a_refusal_lets_the_next_start_at_once_and_all_are_told() {
        let network = Network::default();
        assert_eq!(run(&network, &[REFUSES, FINE], Duration::from_secs(60)).unwrap().0, FINE);
        let failed = run(&network, &[REFUSES], Duration::from_secs(60)).err();
        assert_eq!(failed.unwrap().to_string(), "cannot connect: connection refused");
    }

    #[test]
    fn e8_the_deadline_ends_the_race() {
        let start = Instant::now();
        let late = run(&Network::default(), &[SWALLOWS, SWALLOWS], Duration::from_millis(400));
        assert!(matches!(late, Err(ConnectError::Timeout(Phase::Connect))));
        assert!(start.elapsed() >= Duration::from_millis(400));
    }
}
