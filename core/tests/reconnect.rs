//! When a lost connection is tried again: delays, failures that are final, `Retry-After`, and ten thousand clients at
//! once. Time is virtual.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::ErrorKind;
use std::time::Duration;

use bellwire_core::proto::client::{Phase, ProxyError, SocksFailure};
use bellwire_core::proto::{Entropy, Time};
use bellwire_core::reconnect::{Backoff, Failure, Next, Policy};
use bellwire_core::{BoxError, Closed, ClosedBy, ConnectError, Target, TlsError};
use proptest::prelude::*;

const START: Time = Time::ZERO;
/// Sun, 06 Nov 1994 08:49:37 GMT
const UNIX: Duration = Duration::from_secs(784_111_777);

/// Numbers that look random, and are the same in each run (SplitMix64).
fn seeded(mut seed: u64) -> Box<dyn Entropy> {
    Box::new(move |bytes: &mut [u8]| {
        for chunk in bytes.chunks_mut(8) {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = seed;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..chunk.len()]);
        }
    })
}

/// Always the shortest delay, or always the longest.
fn fixed(byte: u8) -> Box<dyn Entropy> {
    Box::new(move |bytes: &mut [u8]| bytes.fill(byte))
}

fn refused_connection() -> Failure {
    Failure::Connect(ConnectError::Connect(ErrorKind::ConnectionRefused.into()))
}

fn closed(code: u16) -> Failure {
    Failure::Closed(Closed::clean(code, "", ClosedBy::Peer))
}

/// What comes of this head in place of a 101.
fn answered(head: &str) -> Failure {
    let mut handshake = Target::new("ws://h/").unwrap().handshake(START);
    let mut bytes = format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n").into_bytes();
    let answer = handshake.receive(START, &mut &mut bytes[..]).unwrap();
    Failure::Connect(answer.unwrap_err().into())
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The longest delays of a policy, one failure after the other.
fn longest(policy: Policy, count: usize) -> Vec<Duration> {
    let mut backoff = Backoff::new(policy, fixed(0xff));
    (0..count).map(|_| delay(backoff.failed(START, UNIX, &refused_connection()))).collect()
}

#[track_caller]
fn delay(next: Next) -> Duration {
    match next {
        Next::RetryAt(at) => at.saturating_since(START),
        next => panic!("{next:?}"),
    }
}

#[test]
fn delays_are_at_most_5_seconds_then_twice_as_long_each_time_up_to_a_minute() {
    assert_eq!(longest(Policy::new(), 7), [5, 10, 20, 40, 60, 60, 60].map(seconds));
    let mut backoff = Backoff::new(Policy::new(), fixed(0));
    assert_eq!(delay(backoff.failed(START, UNIX, &refused_connection())), Duration::ZERO);
}

#[test]
fn odd_policies_do_no_harm() {
    let policy = || Policy::new().first_delay(seconds(1));
    for factor in [f64::NAN, f64::NEG_INFINITY, -3.0, 0.0, 0.5, 1.0] {
        assert_eq!(longest(policy().factor(factor), 3), [1, 1, 1].map(seconds), "{factor}");
    }
    assert_eq!(longest(policy().factor(f64::INFINITY), 3), [1, 60, 60].map(seconds));
    assert_eq!(longest(policy().factor(1.5), 3), [1000, 1500, 2250].map(Duration::from_millis));
    // The first is one that is drawn, too.
    assert_eq!(longest(policy().max_delay(Duration::ZERO), 3), [0; 3].map(seconds));
    // Whoever wants the first at once does not want to ask for ever without a pause.
    assert_eq!(longest(Policy::new().first_delay(Duration::ZERO), 4), [0, 20, 40, 80].map(Duration::from_millis));
    let for_ever = Policy::new().first_delay(Duration::MAX).max_delay(Duration::MAX);
    let mut backoff = Backoff::new(for_ever, fixed(0xff));
    for _ in 0..3 {
        assert_eq!(backoff.failed(START, UNIX, &refused_connection()), Next::RetryAt(Time::MAX));
    }
}

#[test]
fn a_delay_is_drawn_from_all_of_its_range_evenly() {
    let mut buckets = [0; 10];
    let mut backoff = Backoff::new(Policy::new().first_delay(seconds(1)).factor(1.0), seeded(1));
    for _ in 0..10_000 {
        let drawn = delay(backoff.failed(START, UNIX, &refused_connection()));
        buckets[usize::try_from(drawn.as_millis() / 100).unwrap().min(9)] += 1;
    }
    // 1000 each, with a standard deviation of 30.
    assert!(buckets.iter().all(|count| (850..1150).contains(count)), "{buckets:?}");
}

#[test]
fn a_connection_that_lived_begins_anew_and_one_that_did_not_counts_as_a_try() {
    let policy = Policy::new().reset_after(seconds(30)).max_tries(4);
    let mut backoff = Backoff::new(policy, fixed(0xff));
    let mut now = START;
    let mut lose_after = |backoff: &mut Backoff, lived: Option<u64>| {
        if let Some(lived) = lived {
            backoff.connected(now);
            now += seconds(lived);
        }
        match backoff.failed(now, UNIX, &closed(1006)) {
            Next::RetryAt(at) => Some((at.saturating_since(now), backoff.tries())),
            Next::GiveUp => None,
            next => panic!("{next:?}"),
        }
    };
    assert_eq!(lose_after(&mut backoff, None), Some((seconds(5), 1)));
    assert_eq!(lose_after(&mut backoff, Some(29)), Some((seconds(10), 2)));
    assert_eq!(lose_after(&mut backoff, Some(30)), Some((seconds(5), 0)));
    assert_eq!(lose_after(&mut backoff, Some(0)), Some((seconds(10), 1)));
    assert_eq!(lose_after(&mut backoff, None), Some((seconds(20), 2)));
    assert_eq!(lose_after(&mut backoff, None), Some((seconds(40), 3)));
    assert_eq!(lose_after(&mut backoff, None), None);
    // None at all.
    let mut backoff = Backoff::new(Policy::new().max_tries(0), fixed(0));
    backoff.connected(START);
    assert_eq!(backoff.failed(START + seconds(100), UNIX, &closed(1006)), Next::GiveUp);
}

#[test]
fn each_failure_is_worth_another_try_or_is_final() {
    let io = |kind: ErrorKind| kind.into();
    let retried = [
        Failure::Connect(ConnectError::Resolve(io(ErrorKind::NotFound))),
        refused_connection(),
        Failure::Connect(ConnectError::Io(io(ErrorKind::ConnectionReset))),
        Failure::Hook("the token service is down".into()),
        Failure::Connect(ConnectError::Timeout(Phase::Tls)),
        Failure::Connect(ConnectError::Tls(TlsError::Eof)),
        Failure::Connect(ConnectError::Proxy(ProxyError::Connect(io(ErrorKind::TimedOut)))),
        Failure::Connect(ConnectError::Proxy(ProxyError::Socks(SocksFailure::HostUnreachable))),
        answered("429 Too Many Requests"),
        answered("500 Internal Server Error"),
        answered("502 Bad Gateway"),
        answered("503 Service Unavailable"),
        answered("504 Gateway Timeout"),
    ];
    let closes = [1001, 1006, 1011, 1012, 1013, 1014].map(closed);
    for failure in retried.iter().chain(&closes) {
        assert!(failure.is_retryable(), "{failure}");
        assert!(matches!(Backoff::new(Policy::new(), fixed(0)).failed(START, UNIX, failure), Next::RetryAt(_)));
        let never = Policy::new().retry_if(|_| Some(false));
        assert_eq!(Backoff::new(never, fixed(0)).failed(START, UNIX, failure), Next::Final);
    }
    let wrong_url = || Target::new("http//h").unwrap_err();
    let finals = [
        Failure::Connect(wrong_url()),
        Failure::Hook(wrong_url().into()),
        Failure::Connect(ConnectError::Tls(TlsError::Certificate("expired".into()))),
        Failure::Connect(ConnectError::Tls(TlsError::NotTls)),
        Failure::Connect(ConnectError::Proxy(ProxyError::CredentialsRefused)),
        Failure::Connect(ConnectError::Proxy(ProxyError::Socks(SocksFailure::NotAllowed))),
        answered("101 Switching Protocols"),
        answered("200 OK"),
        answered("302 Found\r\nLocation: ws://other/"),
        answered("400 Bad Request"),
        answered("401 Unauthorized"),
        answered("403 Forbidden"),
        answered("404 Not Found"),
        answered("407 Proxy Authentication Required"),
        answered("501 Not Implemented"),
        answered("505 HTTP Version Not Supported"),
    ];
    let closes = [1000, 1002, 1003, 1005, 1007, 1008, 1009, 1010, 1015, 3000, 4000, 4999].map(closed);
    for failure in finals.iter().chain(&closes) {
        assert!(!failure.is_retryable(), "{failure}");
        assert_eq!(Backoff::new(Policy::new(), fixed(0)).failed(START, UNIX, failure), Next::Final);
        let always = Policy::new().retry_if(|_| Some(true));
        assert!(matches!(Backoff::new(always, fixed(0)).failed(START, UNIX, failure), Next::RetryAt(_)));
    }
}

#[test]
fn a_function_decides_of_some_failures_and_leaves_the_others() {
    let policy = Policy::new().retry_if(|failure| match failure.closed()?.code.0 {
        4001 => Some(true),
        1001 => Some(false),
        _ => None,
    });
    let next = |failure| Backoff::new(policy.clone(), fixed(0)).failed(START, UNIX, &failure);
    let again = Next::RetryAt(START);
    assert_eq!([4001, 4002, 1001, 1006].map(|code| next(closed(code))), [again, Next::Final, Next::Final, again]);
    assert_eq!([next(refused_connection()), next(answered("404 Not Found"))], [again, Next::Final]);
}

#[test]
fn retry_after_is_obeyed_in_each_form_and_within_its_bound() {
    let waits = |head: &str| {
        let mut backoff = Backoff::new(Policy::new().max_retry_after(seconds(600)), fixed(0));
        delay(backoff.failed(START, UNIX, &answered(head)))
    };
    for (value, waited) in [
        ("120", 120),
        (" 120 ", 120),
        ("0", 0),
        ("600", 600),
        ("601", 600),
        ("18446744073709551616", 600),
        ("Sun, 06 Nov 1994 08:51:37 GMT", 120),
        ("Sunday, 06-Nov-94 08:51:37 GMT", 120),
        ("Sun Nov  6 08:51:37 1994", 120),
        ("Sun, 06 Nov 1994 08:49:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 600),
        ("soon", 0),
        ("-5", 0),
        ("", 0),
        ("1.5", 0),
    ] {
        for status in ["429 Too Many Requests", "503 Service Unavailable"] {
            assert_eq!(waits(&format!("{status}\r\nRetry-After: {value}")), seconds(waited), "{value}");
        }
    }
    // This clock is an hour slow, or the server's is an hour fast.
    let by_its_clock = "503 No\r\nDate: Sun, 06 Nov 1994 09:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 09:50:37 GMT";
    assert_eq!(waits(by_its_clock), seconds(60));
    // A random delay comes on top, or all would come at once.
    let mut backoff = Backoff::new(Policy::new(), fixed(0xff));
    assert_eq!(delay(backoff.failed(START, UNIX, &answered("503 No\r\nRetry-After: 120"))), seconds(125));
    // The next server's silence is not that.
    assert_eq!(delay(backoff.failed(START, UNIX, &refused_connection())), seconds(10));
}

#[test]
fn a_failure_says_what_it_is_and_keeps_secrets() {
    let texts = [
        (refused_connection(), "cannot connect: connection refused"),
        (closed(1001), "the connection has ended: 1001, closed by the peer"),
        (Failure::Hook(BoxError::from("no token")), "preparing to connect has failed: no token"),
    ];
    for (failure, text) in texts {
        assert_eq!(failure.to_string(), text);
    }
    let printed = format!("{:?}", answered("401 Unauthorized\r\nSet-Cookie: id=secret"));
    assert!(!printed.contains("secret"), "{printed}");
}

proptest! {
    #[test]
    fn every_delay_is_between_zero_and_its_ceiling(
        first in 0..100_000_u64,
        factor in 0.0..10.0_f64,
        max in 0..1_000_000_u64,
        seed: u64,
        steps in prop::collection::vec((any::<bool>(), 0..5000_u64), 1..60),
    ) {
        let (first, max) = (Duration::from_millis(first), Duration::from_millis(max));
        let policy = Policy::new().first_delay(first).factor(factor).max_delay(max).reset_after(seconds(1));
        let mut backoff = Backoff::new(policy, seeded(seed));
        let mut now = START;
        let (mut ceiling, mut tries) = (first.min(max), 0);
        for (connects, lived) in steps {
            let lived = Duration::from_millis(lived);
            if connects {
                backoff.connected(now);
                now += lived;
            }
            if connects && lived >= seconds(1) {
                (ceiling, tries) = (first.min(max), 0);
            } else {
                tries += 1;
            }
            let Next::RetryAt(at) = backoff.failed(now, UNIX, &closed(1006)) else { panic!() };
            prop_assert!(at >= now && at.saturating_since(now) <= ceiling);
            prop_assert_eq!(backoff.tries(), tries);
            ceiling = ceiling.max(Duration::from_millis(10)).mul_f64(factor.max(1.0)).min(max);
            now = at;
        }
    }
}

/// 10,000 clients of a server that is drained: each is told 1012 at its time, and comes to the next server.
#[test]
fn who_is_told_of_a_restart_comes_again_at_a_random_moment() {
    const CLIENTS: u64 = 10_000;
    // When they come, in seconds, if they were told over so many.
    let arrivals = |over: u64| {
        let mut counts = vec![0_u32; 70];
        for client in 0..CLIENTS {
            let mut backoff = Backoff::new(Policy::new(), seeded(client * 7919));
            backoff.connected(START);
            let told = START + seconds(3600);
            let now = told + Duration::from_millis(over * 1_000 * client / CLIENTS);
            let Next::RetryAt(at) = backoff.failed(now, UNIX, &closed(1012)) else { panic!("it has to try again") };
            assert!(at <= now + seconds(5));
            counts[usize::try_from(at.saturating_since(told).as_secs()).unwrap()] += 1;
        }
        counts
    };
    // Told all at once they come over five seconds.
    let at_once = arrivals(0);
    assert!(at_once[..5].iter().all(|count| (1_850..2_150).contains(count)), "{at_once:?}");
    // Told over a minute, never more than half above the 167 that leave in each second.
    let drained = arrivals(60);
    assert!(drained.iter().all(|count| *count < 250), "{drained:?}");
    assert!(drained[5..60].iter().all(|count| *count > 100), "{drained:?}");
}

/// 10,000 clients lose their server at once. It comes back after a minute, and takes 500 connections in each second.
#[test]
fn a_herd_of_ten_thousand_is_spread() {
    const CLIENTS: u64 = 10_000;
    let mut clients: Vec<Backoff> = (0..CLIENTS).map(|seed| Backoff::new(Policy::new(), seeded(seed * 7919))).collect();
    let mut due = BinaryHeap::new();
    let lost = START + seconds(3600);
    for (id, client) in clients.iter_mut().enumerate() {
        client.connected(START);
        let Next::RetryAt(at) = client.failed(lost, UNIX, &closed(1006)) else { panic!() };
        due.push(Reverse((at, id)));
    }
    // Tries in each tenth of a second, and connections in each second.
    let (mut tries, mut taken) = (vec![0_u32; 10 * 3600], vec![0_u32; 3600]);
    let (mut connected, mut last) = (0, lost);
    while let Some(Reverse((now, id))) = due.pop() {
        let since = now.saturating_since(lost);
        tries[usize::try_from(since.as_millis() / 100).unwrap()] += 1;
        let second = usize::try_from(since.as_secs()).unwrap();
        if since >= seconds(60) && taken[second] < 500 {
            taken[second] += 1;
            (connected, last) = (connected + 1, now);
            continue;
        }
        let Next::RetryAt(at) = clients[id].failed(now, UNIX, &refused_connection()) else { panic!() };
        due.push(Reverse((at, id)));
    }
    assert_eq!(connected, CLIENTS);
    // The first five seconds have the first try of each, evenly: 200 in each tenth of a second, and second tries among
    // them, up to 10 s later. No tenth has as much as twice the 200.
    let first = &tries[..50];
    assert!(first.iter().all(|count| (140..400).contains(count)), "{first:?}");
    assert!(first[..5].iter().all(|count| *count < 260), "{first:?}");
    // It gets calmer, the longer that takes: after half a minute, fewer than 70 in a tenth of a second.
    let later = &tries[300..600];
    assert!(later.iter().all(|count| (10..70).contains(count)), "{later:?}");
    // And the server, with room for 500 in a second, has all of them soon.
    let took = last.saturating_since(lost);
    assert!(took < seconds(60 + 75), "{took:?}");
}
