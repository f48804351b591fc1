//! What connections cost in memory. A binary of its own: its allocator counts.

use allocation_counter::{AllocationInfo, measure};
use bellwire_core::backend::{Driver, Shared, spare};
use bellwire_core::listener::{AnyListener, IntoAnyListener, Writable};
use bellwire_core::proto::SocketContext;
use bellwire_core::proto::{Connection, Event, Output, Time};
use bellwire_core::{Config, Role, WebSocket, async_listener, broadcast, listener, stream};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

const ROLES: [Role; 2] = [Role::Server, Role::Client];
const START: Time = Time::ZERO;
/// More than anybody sends, and still a length on this machine.
const HUGE: u64 = 1 << (usize::BITS - 2);

fn open(role: Role, config: Config) -> Connection {
    match role {
        Role::Server => Connection::server(config.into(), START),
        Role::Client => Connection::client(config.into(), Box::new(|bytes: &mut [u8]| bytes.fill(0)), START),
    }
}

/// A header as `role` receives it; its mask key, if any, is zero, and changes nothing.
fn header(role: Role, first: u8, length: u64) -> Vec<u8> {
    let mask = if role == Role::Server { 0x80 } else { 0 };
    let mut header = match length {
        0..126 => vec![first, mask | length as u8],
        126..0x1_0000 => [&[first, mask | 126][..], &(length as u16).to_be_bytes()].concat(),
        _ => [&[first, mask | 127][..], &length.to_be_bytes()].concat(),
    };
    if role == Role::Server {
        header.extend([0; 4]);
    }
    header
}

fn frame(role: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    [&header(role, first, payload.len() as u64), payload].concat()
}

/// How many events come of these bytes, which are changed but not copied.
fn feed(connection: &mut Connection, mut bytes: &mut [u8]) -> usize {
    std::iter::from_fn(|| connection.next_event(START, &mut bytes).map(drop)).count()
}

fn for_both(test: impl Fn(Role)) {
    ROLES.into_iter().for_each(test);
}

#[test]
fn the_allocator_counts() {
    let info = measure(|| drop(Vec::<u8>::with_capacity(12_345)));
    assert_eq!((info.count_total, info.bytes_max, info.bytes_current), (1, 12_345, 0));
}

#[test]
fn a_connection_is_a_few_hundred_bytes_and_allocates_nothing() {
    for_both(|role| {
        assert!(size_of::<Connection>() <= 512, "{}", size_of::<Connection>());
        let config = std::sync::Arc::new(Config::default());
        let AllocationInfo { count_total, .. } = measure(|| match role {
            Role::Server => std::mem::forget(Connection::server(config.clone(), START)),
            Role::Client => {
                let entropy = Box::new(bellwire_core::proto::SystemEntropy);
                std::mem::forget(Connection::client(config.clone(), entropy, START));
            }
        });
        assert_eq!(count_total, 0);
    });
}

#[test]
fn u1_what_a_socket_knows_costs_its_text_and_less_than_a_hundred_bytes() {
    let share = |context: Option<SocketContext>| {
        measure(|| {
            let mut connection = open(Role::Server, Config::default());
            if let Some(context) = context {
                connection.set_context(context);
            }
            std::mem::forget(Shared::new(connection));
        })
    };
    let peer: std::net::SocketAddr = "[2001:db8::1]:9001".parse().unwrap();
    let known = || SocketContext::new().peer_addr(peer).path("/chat/room").protocol("mqtt");
    let (nothing, all) = (share(None), share(Some(known())));
    let text = "/chat/room".len() + "mqtt".len();
    // What was made before it was measured is freed or kept there, but not allocated.
    assert_eq!(all.count_total - nothing.count_total, 1, "{all:?}");
    assert!(all.bytes_total - nothing.bytes_total <= 80, "{all:?}, {nothing:?}");
    assert_eq!(measure(|| std::mem::forget(known())).bytes_total, text as u64);
    // A client that is the peer costs nothing more, and one that a proxy has named one piece of memory.
    assert_eq!(share(Some(known().client_ip(peer.ip()))), all);
    let behind = || known().client_ip(std::net::IpAddr::from([192, 0, 2, 1]));
    let pieces = |context: &dyn Fn() -> SocketContext| measure(|| std::mem::forget(context())).count_total;
    assert_eq!(pieces(&behind), pieces(&known) + 1);
    // Where nothing is known, nothing is kept.
    assert_eq!(share(Some(SocketContext::new())), nothing);
    // A handle is what it was: the number is kept once for all of them.
    assert_eq!(size_of::<WebSocket>(), 2 * size_of::<usize>());
}

#[test]
fn t16_a_length_that_is_only_claimed_reserves_nothing() {
    for_both(|role| {
        for first in [0x01, 0x02, 0x81, 0x82] {
            let mut connection = open(role, Config::default().max_message(usize::MAX));
            let mut head = header(role, first, HUGE);
            let info = measure(|| assert_eq!(feed(&mut connection, &mut head), 0));
            assert!(info.bytes_total < 1024, "{role:?} {first:x}: {info:?}");
            // Nor do the first bytes that come.
            let mut some = [b'x'; 100];
            let info = measure(|| assert_eq!(feed(&mut connection, &mut some), 0));
            assert!(info.bytes_total < 1024, "{role:?} {first:x}: {info:?}");
            assert!(connection.is_open());
        }
    });
}

#[test]
fn a_claim_above_the_limit_costs_its_error_only() {
    for_both(|role| {
        let mut connection = open(role, Config::default());
        let mut head = header(role, 0x82, 8 << 20);
        let info = measure(|| assert_eq!(feed(&mut connection, &mut head), 2));
        assert!(info.bytes_total < 1024, "{info:?}");
    });
}

#[test]
fn memory_grows_with_what_has_come() {
    for_both(|role| {
        for first in [0x81, 0x82] {
            let mut connection = open(role, Config::default().max_message(usize::MAX));
            feed(&mut connection, &mut header(role, first, HUGE));
            let mut piece = [b'x'; 4096];
            let info = measure(|| {
                for _ in 0..64 {
                    feed(&mut connection, &mut piece);
                }
            });
            let came = 64 * 4096;
            assert!(info.bytes_current >= came && info.bytes_current <= 2 * came, "{info:?}");
        }
    });
}

#[test]
fn a_message_that_is_cut_takes_its_own_length_and_no_more() {
    for_both(|role| {
        for first in [0x81, 0x82] {
            let mut connection = open(role, Config::default());
            let mut bytes = frame(role, first, &[b'x'; 1_000_000]);
            let mut kept = None;
            let info = measure(|| {
                for mut piece in bytes.chunks_mut(4096) {
                    kept = match connection.next_event(START, &mut piece) {
                        Some(Event::Text(text)) => Some(text.into_owned().into_bytes()),
                        Some(Event::Binary(bytes)) => Some(bytes.into_owned()),
                        _ => None,
                    };
                }
            });
            assert_eq!(kept.unwrap().len(), 1_000_000);
            assert!(info.bytes_current <= 1_001_000, "{first:x}: {info:?}");
            // While the buffer grows there are two.
            assert!(info.bytes_max <= 2_001_000, "{first:x}: {info:?}");
            // It grows in steps, not with each piece.
            assert!(info.count_total < 30, "{first:x}: {info:?}");
        }
    });
}

#[test]
fn a_million_empty_fragments_cost_nothing() {
    for_both(|role| {
        for first in [0x01, 0x02] {
            let mut connection = open(role, Config::default());
            feed(&mut connection, &mut frame(role, first, b""));
            let empty = frame(role, 0x00, b"").repeat(1000);
            let mut bytes = empty.clone();
            let info = measure(|| {
                for _ in 0..1000 {
                    bytes.copy_from_slice(&empty);
                    assert_eq!(feed(&mut connection, &mut bytes), 0);
                }
            });
            assert!(info.bytes_max < 1024, "{info:?}");
            assert_eq!(feed(&mut connection, &mut frame(role, 0x80, b"")), 1);
        }
    });
}

#[test]
fn fragments_of_one_byte_cost_their_bytes() {
    for_both(|role| {
        for first in [0x01, 0x02] {
            let mut connection = open(role, Config::default());
            feed(&mut connection, &mut frame(role, first, b""));
            let one = frame(role, 0x00, b"x").repeat(100_000);
            let mut bytes = one.clone();
            let info = measure(|| assert_eq!(feed(&mut connection, &mut bytes), 0));
            assert!(info.bytes_current <= 2 * 100_000, "{info:?}");
        }
    });
}

#[test]
fn a_connection_that_is_idle_again_holds_no_buffer() {
    for_both(|role| {
        let payload = vec![b'x'; 10_000];
        let mut bytes = frame(role, 0x01, &payload);
        for _ in 0..8 {
            bytes.extend(frame(role, 0x00, &payload));
        }
        bytes.extend(frame(role, 0x89, &[b'p'; 125]));
        bytes.extend(frame(role, 0x80, &payload));
        let mut connection = open(role, Config::default());
        let info = measure(|| {
            // In pieces, so that the ping is cut, too.
            let events: usize = bytes.chunks_mut(100).map(|piece| feed(&mut connection, piece)).sum();
            assert_eq!(events, 2);
            connection.send("an answer").unwrap();
            let count = connection.output().len();
            connection.wrote(START, count);
        });
        assert!(info.bytes_max > 100_000, "it was joined: {info:?}");
        assert_eq!(info.bytes_current, 0, "{info:?}");
    });
}

#[test]
fn a_flood_of_pings_that_reads_nothing_keeps_memory_bounded() {
    for_both(|role| {
        let mut connection = open(role, Config::default());
        let pings = frame(role, 0x89, &[b'p'; 125]).repeat(1000);
        let mut bytes = pings.clone();
        let info = measure(|| {
            for _ in 0..100 {
                bytes.copy_from_slice(&pings);
                assert_eq!(feed(&mut connection, &mut bytes), 1000);
            }
        });
        assert!(info.bytes_max < 256 * 1024, "{info:?}");
    });
}

#[test]
fn whole_messages_are_received_without_allocating() {
    for_both(|role| {
        let mut connection = open(role, Config::default());
        connection.set_auto_pong(false);
        let mut bytes = [
            frame(role, 0x81, &[b'x'; 1000]),
            frame(role, 0x82, &[0; 100_000]),
            frame(role, 0x89, b"ping"),
            frame(role, 0x8a, b""),
        ]
        .concat();
        let info = measure(|| assert_eq!(feed(&mut connection, &mut bytes), 4));
        assert_eq!(info.count_total, 0);
    });
}

#[test]
fn an_echo_into_lent_memory_does_not_allocate() {
    for_both(|role| {
        let mut connection = open(role, Config::default());
        let bytes = frame(role, 0x82, &[7; 1000]).repeat(10);
        let mut spare = Output::new();
        let mut echo = || {
            let mut bytes = bytes.clone();
            let mut input = &mut bytes[..];
            measure(|| {
                connection.lend_output(&mut spare);
                while let Some(Event::Binary(payload)) = connection.next_event(START, &mut input) {
                    connection.send(&*payload).unwrap();
                }
                let mut output = connection.take_output().unwrap();
                connection.wrote(START, output.len());
                output.clear();
                spare = output;
            })
            .count_total
        };
        echo();
        assert_eq!(echo(), 0);
    });
}

/// Servers' connections, and a handle to each.
fn members(count: usize) -> (Vec<Arc<Shared>>, Vec<WebSocket>) {
    (0..count)
        .map(|_| Arc::new(Shared::new(open(Role::Server, Config::default()))))
        .map(|shared| (shared.clone(), WebSocket::from_arc(shared)))
        .unzip()
}

/// Writes all there is, and hands back the memory that it lay in.
fn write(shared: &Shared) -> Output {
    let mut output = shared.take_output().unwrap();
    shared.wrote(START, output.len());
    output.clear();
    output
}

#[test]
fn a_large_broadcast_is_held_once_and_not_for_each_receiver() {
    let (connections, sockets) = members(1000);
    let payload = vec![7; 64 * 1024];
    let all = measure(|| {
        let info = measure(|| assert_eq!(broadcast(&sockets, &payload).sent, 1000));
        // Each receiver has a queue with the frame in it, and no buffer.
        assert!(info.bytes_max <= 65 * 1024 + 1000 * 200, "{info:?}");
        assert!(info.count_total <= 1000 + 2, "{info:?}");
        for shared in &connections {
            write(shared);
        }
    });
    assert_eq!(all.bytes_current, 0, "{all:?}");
}

#[test]
fn a_small_broadcast_costs_each_receiver_its_output_and_nothing_else() {
    let (connections, sockets) = members(1000);
    let message = || broadcast(&sockets, "a small message");
    let info = measure(|| assert_eq!(message().sent, 1000));
    // The queue, and its buffer.
    assert_eq!(info.count_total, 2 * 1000 + 1, "{info:?}");
    // Where there is a buffer already, one frame is all that is allocated.
    for shared in &connections {
        let mut output = write(shared);
        shared.with(|connection| connection.lend_output(&mut output));
    }
    let info = measure(|| assert_eq!(message().sent, 1000));
    assert_eq!(info.count_total, 1, "{info:?}");
}

#[test]
fn what_was_written_serves_the_next_message_to_an_idle_connection() {
    let (connections, sockets) = members(1000);
    let message = || {
        broadcast(&sockets, "a small message");
        connections.iter().for_each(|shared| spare::keep(write(shared)));
    };
    message();
    // The frame, which all of them share.
    assert_eq!(measure(message).count_total, 1);
    let one = || {
        sockets[0].send("a small message").unwrap();
        spare::keep(write(&connections[0]));
    };
    // It may be larger.
    one();
    assert_eq!(measure(|| (0..10).for_each(|_| one())).count_total, 0);
}

#[test]
fn a_thread_keeps_so_much_memory_for_what_it_writes_and_no_more() {
    let (connections, sockets) = members(2_000);
    for length in [1, 100, 1000, 10_000, 100_000] {
        let kept = measure(|| {
            broadcast(&sockets, &vec![0; length]);
            let outputs: Vec<_> = connections.iter().map(|shared| write(shared)).collect();
            outputs.into_iter().for_each(spare::keep);
        });
        assert!(kept.bytes_current <= 64 * 1024 + 192 * 1024, "{length}: {kept:?}");
    }
}

/// Handles so many messages that arrive at once, with a callback that is pending once for each.
fn pending_once_for_each_of(count: usize) -> AllocationInfo {
    let done = Arc::new(AtomicUsize::new(0));
    let counts = done.clone();
    let listener = async_listener().on_message(move |_, _| {
        let (done, mut waits) = (counts.clone(), true);
        poll_fn(move |_| {
            if std::mem::take(&mut waits) {
                return Poll::Pending;
            }
            done.fetch_add(1, Ordering::Relaxed);
            Poll::Ready(())
        })
    });
    let mut driver = Driver::connected(open(Role::Server, Config::default()), listener.into_any_listener());
    driver.start(START);
    let mut bytes = frame(Role::Server, 0x81, b"x").repeat(count);
    let info = measure(|| {
        driver.receive(START, &mut bytes);
        while driver.poll_pending(START, Waker::noop()).is_err() {}
    });
    assert_eq!(done.load(Ordering::Relaxed), count);
    info
}

/// Callbacks of several types that take turns, some of which are pending once.
#[test]
fn asynchronous_callbacks_that_are_done_leave_their_memory_to_the_next_of_their_type() {
    let pending_once = || {
        let mut asked = false;
        poll_fn(move |_| if std::mem::replace(&mut asked, true) { Poll::Ready(()) } else { Poll::Pending })
    };
    let listener = async_listener()
        .on_message(async |socket, message| socket.send(message))
        .on_ping(async |socket, data| socket.pong(&data))
        .on_pong(move |_, _| pending_once());
    let mut driver = Driver::connected(open(Role::Server, Config::default()), listener.into_any_listener());
    driver.start(START);
    let mut turn = || {
        for first in [0x81, 0x89, 0x8a] {
            driver.receive(START, &mut frame(Role::Server, first, b""));
            while driver.poll_pending(START, Waker::noop()).is_err() {}
        }
        let output = driver.take_output().unwrap();
        driver.wrote(START, output.len());
        spare::keep(output);
    };
    turn();
    let rounds = 100;
    let AllocationInfo { count_total, .. } = measure(|| (0..rounds).for_each(|_| turn()));
    // The frames of the test itself are allocated, twice each; and what is kept while a callback is pending.
    let pending = measure(|| drop(Box::new([0_u8; 64]))).count_total;
    let frames = measure(|| drop(frame(Role::Server, 0x81, b""))).count_total;
    assert_eq!(count_total, rounds * (3 * frames + pending));
}

#[test]
fn what_waits_behind_pending_callbacks_is_kept_once_and_not_for_each_of_them() {
    let (few, many) = (pending_once_for_each_of(1_000), pending_once_for_each_of(9_000));
    assert!(many.bytes_total < 2 * 9 * few.bytes_total, "{few:?}, {many:?}");
    // One message takes seven bytes on the wire.
    assert!(many.bytes_max < 2 * 7 * 9_000, "{many:?}");
}

#[test]
fn waits_that_are_given_up_leave_nothing() {
    let (_connections, sockets) = members(1);
    let socket = &sockets[0];
    socket.send(vec![0; 100_000]).unwrap();
    let waits = |writable: &mut Writable| Pin::new(writable).poll(&mut Context::from_waker(Waker::noop())).is_pending();
    let give_up = |count: usize| {
        measure(|| {
            for _ in 0..count {
                assert!(waits(&mut socket.writable()));
            }
        })
    };
    // Also while somebody else waits.
    for others in 0..3 {
        let mut others: Vec<_> = (0..others).map(|_| socket.writable()).collect();
        assert!(others.iter_mut().all(waits));
        give_up(1);
        let info = give_up(100_000);
        assert!(info.bytes_current == 0 && info.bytes_max < 1024, "{info:?}");
    }
}

/// How many bytes are allocated for the last of a few equal messages that a server sends back as they come.
fn last_of_some_echoes(driver: &mut Driver, message: &[u8], mut answer: impl FnMut()) -> u64 {
    let mut echo = || {
        let mut bytes = message.to_vec();
        measure(|| {
            for piece in bytes.chunks_mut(64 * 1024) {
                driver.receive(START, piece);
            }
            answer();
            while driver.poll_pending(START, Waker::noop()).is_err() {}
            let mut written = 0;
            while let Some(output) = driver.take_output() {
                written += output.len();
                driver.wrote(START, output.len());
            }
            // All but the mask key comes back.
            assert_eq!(written, message.len() - 4);
        })
        .bytes_total
    };
    (0..3).map(|_| echo()).last().unwrap()
}

/// A text and binary messages, as a client's frames.
fn large_messages() -> impl Iterator<Item = Vec<u8>> {
    [(0x81, 1 << 20), (0x82, 1 << 20), (0x82, 64 * 1024), (0x81, 100_000)]
        .into_iter()
        .map(|(first, length)| frame(Role::Server, first, &vec![b'x'; length]))
}

#[test]
fn a_large_message_is_sent_on_without_a_copy_and_leaves_its_memory_to_the_next() {
    let listeners: [fn() -> AnyListener; 2] = [
        || listener().on_message(|socket, message| socket.send(message)).into_any_listener(),
        || async_listener().on_message(async |socket, message| socket.send(message)).into_any_listener(),
    ];
    for (make, message) in listeners.iter().flat_map(|make| large_messages().map(move |message| (make, message))) {
        let mut driver = Driver::connected(open(Role::Server, Config::default()), make());
        driver.start(START);
        let bytes = last_of_some_echoes(&mut driver, &message, || ());
        assert!(bytes < 4096, "{bytes} of {}", message.len());
    }
}

#[test]
fn so_it_is_by_a_stream() {
    fn ready<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("it waits"),
        }
    }
    for message in large_messages() {
        let (listener, opened) = stream();
        let mut driver = Driver::connected(open(Role::Server, Config::default()), listener.into_any_listener());
        driver.start(START);
        let mut messages = ready(opened).unwrap();
        let bytes = last_of_some_echoes(&mut driver, &message, || {
            let message = ready(messages.recv()).unwrap().unwrap();
            ready(messages.send(message)).unwrap();
        });
        assert!(bytes < 4096, "{bytes} of {}", message.len());
    }
}

/// `buffered` says how much of it waits: that bounds what a peer that does not read can hold.
#[test]
fn an_echo_that_waits_for_its_peer_holds_about_as_much_as_it_says() {
    let echo = || {
        let listener = listener().on_message(|socket, message| socket.send(message)).into_any_listener();
        let config = Config::default().keepalive_interval(None);
        let mut driver = Driver::connected(open(Role::Server, config), listener);
        driver.start(START);
        driver
    };
    let (mut slow, mut other) = (echo(), echo());
    let large = frame(Role::Server, 0x82, &vec![1; 256 * 1024]);
    let small = frame(Role::Server, 0x02, &vec![2; 16 * 1024]);
    let end = frame(Role::Server, 0x80, b"");
    let info = measure(|| {
        while slow.is_reading() {
            for piece in large.chunks(64 * 1024) {
                other.receive(START, &mut piece.to_vec());
            }
            // Its peer reads.
            let output = other.take_output().unwrap();
            other.wrote(START, output.len());
            spare::keep(output);
            // This one's does not.
            slow.receive(START, &mut small.clone());
            slow.receive(START, &mut end.clone());
        }
    });
    let buffered = slow.socket().unwrap().buffered() as i64;
    // 16 times as much, beside what the thread keeps for the next.
    assert!(info.bytes_current <= 2 * buffered + 384 * 1024, "{} bytes for {buffered}", info.bytes_current);
}
