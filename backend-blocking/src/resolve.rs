//! Resolves a host's name. The system's resolver cannot be interrupted: it runs on a thread beside, which is abandoned at
//! the deadline and ends when the resolver does.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use bellwire_core::ConnectError;
use bellwire_core::proto::client::Phase;

/// Returns the addresses of a host. One that is an address itself needs no thread, and no resolver.
pub(crate) fn resolve(host: &str, port: u16, deadline: Option<Instant>) -> Result<Vec<SocketAddr>, ConnectError> {
    resolve_by(look_up, host, port, deadline)
}

fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

fn resolve_by(
    look_up: impl FnOnce(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + 'static,
    host: &str,
    port: u16,
    deadline: Option<Instant>,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let deadline = deadline.filter(|_| !is_address(host));
    let Some(deadline) = deadline else { return look_up(host, port).map_err(ConnectError::Resolve) };
    let (sender, resolved) = mpsc::channel();
    let host = host.to_owned();
    let looking_up = move || {
        // Nobody may be waiting any more.
        let _ = sender.send(look_up(&host, port));
    };
    thread::Builder::new().name("bellwire-resolve".into()).spawn(looking_up).map_err(ConnectError::Thread)?;
    match resolved.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(addrs) => addrs.map_err(ConnectError::Resolve),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(ConnectError::Timeout(Phase::Resolve)),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            Err(ConnectError::Resolve(io::Error::other("the resolver has panicked")))
        }
    }
}

/// An IPv6 address may have a zone, which the system knows without asking anybody.
fn is_address(host: &str) -> bool {
    host.contains(':') || host.parse::<Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    const FOUND: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 80);

    fn soon(time: Duration) -> Option<Instant> {
        Some(Instant::now() + time)
    }

    /// How many threads of this process resolve something now.
    #[cfg(target_os = "linux")]
    fn resolving() -> usize {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|name| name.starts_with("bellwire-resolv")).count()
    }

    /// A resolver that says that it has begun, and hangs until its gate is opened.
    fn hanging(begun: mpsc::Sender<()>) -> (mpsc::Sender<()>, impl FnOnce(&str, u16) -> io::Result<Vec<SocketAddr>>) {
        let (open, gate) = mpsc::channel();
        (open, move |_: &str, _| {
            begun.send(()).unwrap_or_default();
            gate.recv().unwrap_or_default();
            Ok(vec![FOUND])
        })
    }

    #[test]
    fn e8_a_resolver_that_hangs_is_left_alone_at_the_deadline_and_its_thread_ends_when_it_does() {
        let timeout = Duration::from_millis(50);
        let (begins, begun) = mpsc::channel();
        let gates: Vec<_> = (0..8)
            .map(|_| {
                let (open, look_up) = hanging(begins.clone());
                let start = Instant::now();
                let late = resolve_by(look_up, "slow.example", 80, soon(timeout));
                assert!(matches!(late, Err(ConnectError::Timeout(Phase::Resolve))), "{late:?}");
                assert!(start.elapsed() >= timeout);
                begun.recv().unwrap();
                open
            })
            .collect();
        #[cfg(target_os = "linux")]
        assert!(resolving() >= gates.len());
        drop(gates);
        #[cfg(target_os = "linux")]
        while resolving() > 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn e8_a_resolver_that_answers_in_time_is_waited_for() {
        let (open, look_up) = hanging(mpsc::channel().0);
        let opening = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            open.send(()).unwrap();
        });
        let found = resolve_by(look_up, "slow.example", 80, soon(Duration::from_secs(60))).unwrap();
        assert_eq!(found, [FOUND]);
        opening.join().unwrap();
        for result in [Err(io::ErrorKind::NotFound.into()), Ok(Vec::new())] {
            let fails = result.is_err();
            let resolved = resolve_by(|_, _| result, "none.example", 80, soon(Duration::from_secs(60)));
            assert_eq!(matches!(resolved, Err(ConnectError::Resolve(_))), fails, "{resolved:?}");
        }
    }

    #[test]
    fn e8_an_address_needs_no_thread_and_so_does_a_client_without_a_deadline() {
        let here = thread::current().id();
        for (host, deadline) in [
            ("127.0.0.1", soon(Duration::ZERO)),
            ("::1", soon(Duration::ZERO)),
            ("fe80::1%lo", soon(Duration::ZERO)),
            ("slow.example", None),
        ] {
            let on = Arc::new(std::sync::Mutex::new(None));
            let seen = on.clone();
            let look_up = move |_: &str, _| {
                *seen.lock().unwrap() = Some(thread::current().id());
                Ok(vec![FOUND])
            };
            assert_eq!(resolve_by(look_up, host, 80, deadline).unwrap(), [FOUND]);
            assert_eq!(*on.lock().unwrap(), Some(here), "{host}");
        }
        assert_eq!(resolve("127.0.0.1", 80, soon(Duration::ZERO)).unwrap(), [FOUND]);
        assert!(is_address("::ffff:1.2.3.4") && !is_address("localhost") && !is_address("1.2.3.example"));
    }

    #[test]
    fn e8_a_resolver_that_panics_is_an_error() {
        let panics = |_: &str, _| panic!("as this test wants it");
        let failed = resolve_by(panics, "a.example", 80, soon(Duration::from_secs(60)));
        assert_eq!(failed.unwrap_err().to_string(), "cannot resolve the host: the resolver has panicked");
    }
}
