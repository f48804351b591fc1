//! What `send` promises: from any thread, at once, in order, bounded.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bellwire::config::SlowReader;
use bellwire::{Config, Response, Role, SendError, WebSocket, listener};
use bellwire_tests::{
    BINARY, Backend, Connect, Event, Frame, Ours, Over, PING, PONG, Raw, Setup, backends, echo, logged, logged_handler,
    next, quiet, upgrade_request, within,
};
use tungstenite::Message as Their;

backends! {
    server {
        a_send_from_another_connections_callback_leaves_at_once,
        a_broadcast_reaches_everybody_the_sender_included,
        many_small_messages_come_back_in_few_writes,
        t21_a_large_message_arrives_through_a_small_pipe,
    }
    pair {
        a_clients_send_from_another_thread_leaves_at_once,
    }
    both {
        a_send_from_another_thread_leaves_at_once,
        a_send_from_another_thread_leaves_while_a_callback_takes_long,
        d12_long_ping_and_pong_data_is_an_error_at_the_call,
        t7_several_senders_are_not_interleaved,
        t20_send_with_tells_when_the_bytes_were_written,
        t20_send_with_tells_only_when_the_last_byte_was_written,
        t5_t20_e5_send_with_tells_once_when_the_peer_leaves_in_the_middle,
        d16_t13_a_peer_that_does_not_read_fills_the_queue_and_frees_it_again,
        d16_t13_a_slow_reader_is_closed_with_1013_if_so_configured,
        d16_t13_a_stalled_peer_is_not_read_and_slows_nobody_else_down,
        d16_each_ping_has_its_own_pong,
        d16_a_large_echo_leaves_room_for_a_small_one,
        d17_i6_a_peer_that_takes_no_byte_is_dropped_by_keepalive,
    }
}

/// Half of it is more than any buffer on the way takes.
const LARGE: usize = 64 * 1024 * 1024;

fn a_send_from_another_thread_leaves_at_once<B: Backend>(role: Role) {
    let backend = B::start();
    // Without keepalive nothing else ever wakes the connection.
    let Ours { socket, mut peer, .. } = Ours::raw(&backend, role, quiet(), echo());
    for index in 0..200 {
        socket.send(format!("{index}")).unwrap();
        // Now and then two at once, and now and then behind something that was read.
        if index % 3 == 0 {
            socket.ping("").unwrap();
        }
        peer.expect([Frame::text(index.to_string())]);
        if index % 3 == 0 {
            peer.expect([Frame::new(PING, "")]);
        }
        if index % 5 == 0 {
            peer.send([Frame::text("x")]);
            peer.expect([Frame::text("x")]);
        }
    }
}

fn a_send_from_another_thread_leaves_while_a_callback_takes_long<B: Backend>(role: Role) {
    let backend = B::start();
    let listener = listener().on_message(move |socket, _| {
        let (written, outcome) = mpsc::channel();
        let handle = socket.clone();
        // Another thread sends while this callback waits for nothing but the queueing.
        let sender = thread::spawn(move || {
            handle.send_with("from outside", move |result| written.send(result).unwrap());
        });
        sender.join().unwrap();
        drop(outcome);
        socket.send("from inside")
    });
    let Ours { socket, mut peer, .. } = Ours::raw(&backend, role, quiet(), listener);
    for _ in 0..2 {
        peer.send([Frame::text("x")]);
        peer.expect([Frame::text("from outside"), Frame::text("from inside")]);
        assert!(socket.is_open(), "a completion that panics harms nobody");
    }
}

fn a_clients_send_from_another_thread_leaves_at_once<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), echo);
    let (listener, log) = logged(listener());
    let client = backend.connect(Connect::to(server.url("/")), listener).unwrap();
    log.expect([Event::Open]);
    for index in 0..200 {
        client.socket.send(format!("{index}")).unwrap();
        log.expect([Event::text(index.to_string())]);
    }
}

fn a_send_from_another_connections_callback_leaves_at_once<B: Backend>() {
    let backend = B::start();
    let Ours { socket: other, peer: mut quiet_client, .. } = Ours::raw(&backend, Role::Server, quiet(), listener());
    let relay = backend.serve(Setup::default(), move |_| {
        let other = other.clone();
        Response::websocket(listener().on_message(move |_, message| other.send(message)))
    });
    let mut talker = Raw::open(relay.addr);
    for index in 0..50 {
        talker.send([Frame::text(index.to_string())]);
        quiet_client.expect([Frame::text(index.to_string())]);
    }
}

fn d12_long_ping_and_pong_data_is_an_error_at_the_call<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { socket, mut peer, .. } = Ours::raw(&backend, role, quiet(), listener());
    assert_eq!(socket.ping([0; 126]), Err(SendError::ControlTooLong(126)));
    assert_eq!(socket.pong([0; 200]), Err(SendError::ControlTooLong(200)));
    socket.ping([1; 125]).unwrap();
    socket.pong([2; 125]).unwrap();
    peer.expect([Frame::new(PING, [1; 125]), Frame::new(PONG, [2; 125])]);
}

fn t7_several_senders_are_not_interleaved<B: Backend>(role: Role) {
    const SENDERS: usize = 8;
    const MESSAGES: usize = 200;
    let backend = B::start();
    let Ours { socket, mut peer, .. } = Ours::theirs(&backend, role, quiet(), listener());
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let socket = socket.clone();
            thread::spawn(move || {
                for index in 0..MESSAGES {
                    // Of all kinds of lengths, together below the cap.
                    let filler = "x".repeat((index * 37 + sender * 101) % 500);
                    socket.send(format!("{sender}:{index}:{filler}")).unwrap();
                    if index % 50 == 0 {
                        socket.ping(format!("{sender}")).unwrap();
                    }
                }
            })
        })
        .collect();
    let (mut counts, mut pings) = ([0; SENDERS], 0);
    while counts.iter().sum::<usize>() < SENDERS * MESSAGES {
        match peer.read() {
            Their::Text(text) => {
                let mut parts = text.split(':');
                let sender: usize = parts.next().unwrap().parse().unwrap();
                let index = counts[sender];
                counts[sender] += 1;
                assert_eq!(parts.next(), Some(index.to_string().as_str()), "the order of sender {sender}");
                let filler = parts.next().unwrap();
                assert_eq!(filler.len(), (index * 37 + sender * 101) % 500);
                assert!(filler.bytes().all(|byte| byte == b'x'));
            }
            Their::Ping(_) => pings += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(pings, SENDERS * MESSAGES / 50);
    for sender in senders {
        sender.join().unwrap();
    }
}

fn t20_send_with_tells_when_the_bytes_were_written<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { socket, mut peer, .. } = Ours::raw(&backend, role, quiet(), listener());
    let (outcomes, outcome) = mpsc::channel();
    for index in 0..100 {
        let outcomes = outcomes.clone();
        socket.send_with(format!("{index}"), move |result| outcomes.send((index, result)).unwrap());
    }
    drop(outcomes);
    // Each once, in order, although nobody has read a byte.
    let told: Vec<_> = (0..100).map(|_| next(&outcome)).collect();
    assert_eq!(told, (0..100).map(|index| (index, Ok(()))).collect::<Vec<_>>());
    assert!(outcome.recv().is_err(), "no more than once");
    peer.expect((0..100).map(|index: u32| Frame::text(index.to_string())));
}

fn t20_send_with_tells_only_when_the_last_byte_was_written<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { socket, mut peer, .. } = Ours::raw(&backend, role, quiet().max_queued(LARGE), listener());
    let (outcomes, outcome) = mpsc::channel();
    let size = LARGE / 2;
    socket.send_with(vec![7; size], move |result| outcomes.send(result).unwrap());
    peer.wait_unread();
    assert!(outcome.try_recv().is_err(), "nobody has read anything yet");
    assert!(peer.read() == Frame::new(BINARY, vec![7; size]), "all of it");
    assert_eq!(next(&outcome), Ok(()));
    assert!(outcome.recv().is_err(), "no more than once");
}

fn t5_t20_e5_send_with_tells_once_when_the_peer_leaves_in_the_middle<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { socket, log, peer } = Ours::raw(&backend, role, quiet().max_queued(LARGE), listener());
    let (outcomes, outcome) = mpsc::channel();
    for size in [LARGE / 2, 1, 1] {
        let outcomes = outcomes.clone();
        socket.send_with(vec![0; size], move |result| outcomes.send((size, result)).unwrap());
    }
    drop(outcomes);
    peer.wait_unread();
    assert!(outcome.try_recv().is_err(), "nobody has read anything yet");
    drop(peer);
    let closed = Err(SendError::Closed);
    assert_eq!([next(&outcome), next(&outcome), next(&outcome)], [(LARGE / 2, closed), (1, closed), (1, closed)]);
    assert!(outcome.recv().is_err(), "no more than once");
    let vanished = Event::error("the peer ended the transport without a close frame");
    log.ends_with([Event::Open, vanished, Event::close(1006, "")]);
}

/// Sends until the queue is full. Says how many messages were accepted; the last one's completion goes to the channel.
fn fill(socket: &WebSocket, size: usize) -> (usize, Receiver<Result<(), SendError>>) {
    let socket = socket.clone();
    // Sending never waits.
    within("sending to a stalled peer", move || {
        let mut last = None;
        for count in 0.. {
            let (outcomes, outcome) = mpsc::channel();
            socket.send_with(vec![count as u8; size], move |result| {
                // Who has given up does not listen.
                let _ = outcomes.send(result);
            });
            if outcome.try_recv() == Ok(Err(SendError::Full)) {
                return (count, last.expect("nothing was accepted"));
            }
            last = Some(outcome);
        }
        unreachable!()
    })
}

fn d16_t13_a_peer_that_does_not_read_fills_the_queue_and_frees_it_again<B: Backend>(role: Role) {
    const SIZE: usize = 16 * 1024;
    let backend = B::start();
    let config = quiet().watermarks(SIZE, 4 * SIZE).max_queued(16 * SIZE);
    let Ours { socket, log, peer: mut stalled } = Ours::raw(&backend, role, config, echo());
    let (mut count, mut last) = fill(&socket, SIZE);
    // Until the queue stays full, although the transport has had time to take more.
    while last.recv_timeout(Duration::from_millis(100)).is_ok() || socket.buffered() <= 14 * SIZE {
        if let (more, Some(outcome)) = fill_more(&socket, SIZE, count) {
            (count, last) = (count + more, outcome);
        }
    }
    assert!(socket.is_open());
    // Beside what the cap allows there is at most the one message that had found the queue empty.
    assert!(socket.buffered() <= 17 * SIZE + 64, "{}", socket.buffered());

    // It reads again, and the queue is free again.
    for index in 0..count {
        assert_eq!(stalled.read(), Frame::new(BINARY, vec![index as u8; SIZE]), "message {index} of {count}");
    }
    assert_eq!(next(&last), Ok(()));
    socket.send("end").unwrap();
    stalled.expect([Frame::text("end")]);
    stalled.send([Frame::text("x"), Frame::close(1000, "")]);
    stalled.expect([Frame::text("x"), Frame::close(1000, "")]);
    stalled.hang_up();
    log.ends_with([Event::Open, Event::text("x"), Event::close(1000, "")]);
}

/// As [`fill`], from this index on, and maybe without anything accepted.
fn fill_more(socket: &WebSocket, size: usize, from: usize) -> (usize, Option<Receiver<Result<(), SendError>>>) {
    let mut last = None;
    for count in 0.. {
        let (outcomes, outcome) = mpsc::channel();
        socket.send_with(vec![(from + count) as u8; size], move |result| {
            // Who has given up does not listen.
            let _ = outcomes.send(result);
        });
        if outcome.try_recv() == Ok(Err(SendError::Full)) {
            return (count, last);
        }
        last = Some(outcome);
    }
    unreachable!()
}

fn d16_t13_a_slow_reader_is_closed_with_1013_if_so_configured<B: Backend>(role: Role) {
    const SIZE: usize = 16 * 1024;
    let backend = B::start();
    let config = quiet().max_queued(16 * SIZE).slow_reader(SlowReader::Close);
    let Ours { socket, log, mut peer } = Ours::raw(&backend, role, config, listener());
    let (count, _) = fill(&socket, SIZE);
    assert!(!socket.is_open());
    assert_eq!(socket.send("late"), Err(SendError::Closed));
    let (error, text) = ("too much unread output", "Too much unread output");
    // D21: at once, although nothing was read.
    log.expect([Event::Open, Event::error(error), Event::close(1013, text)]);
    // And what was accepted comes before the close frame.
    for index in 0..count {
        assert_eq!(peer.read(), Frame::new(BINARY, vec![index as u8; SIZE]), "message {index} of {count}");
    }
    peer.expect([Frame::close(1013, text)]);
    peer.expect_end();
    log.ends_with([]);
}

fn d16_t13_a_stalled_peer_is_not_read_and_slows_nobody_else_down<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { socket, mut peer, .. } = Ours::raw(&backend, role, quiet(), echo());
    peer.stall(&Frame::new(BINARY, vec![7; 16 * 1024]), || {
        assert!(socket.is_open());
        let mut other = Ours::theirs(&backend, role, quiet(), echo()).peer;
        for _ in 0..10 {
            other.send_text("x");
            assert_eq!(other.read(), Their::text("x"));
        }
    });
}

fn d16_each_ping_has_its_own_pong<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { mut peer, .. } = Ours::raw(&backend, role, quiet(), listener());
    peer.send((0..10).map(|index: u32| Frame::new(PING, index.to_string())));
    peer.expect((0..10).map(|index: u32| Frame::new(PONG, index.to_string())));
}

fn d16_a_large_echo_leaves_room_for_a_small_one<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { log, mut peer, .. } = Ours::raw(&backend, role, quiet(), echo());
    let mut writer = peer.twin();
    // The largest message that is taken by default, as large as the queue.
    let large = Frame::new(BINARY, vec![7; 1024 * 1024]);
    let messages = [large.clone(), Frame::text("small"), large, Frame::text("small"), Frame::close(1000, "")];
    let written = thread::spawn({
        let messages = messages.clone();
        move || writer.send(messages)
    });
    peer.expect(messages);
    written.join().unwrap();
    peer.hang_up();
    assert_eq!(log.rest().last(), Some(&Event::close(1000, "")));
}

fn d17_i6_a_peer_that_takes_no_byte_is_dropped_by_keepalive<B: Backend>(role: Role) {
    let backend = B::start();
    let timeout = Duration::from_millis(100);
    let config =
        Config::default().keepalive_interval(timeout).pong_timeout(timeout).close_timeout(timeout).max_queued(LARGE);
    let Ours { socket, log, peer } = Ours::raw(&backend, role, config, listener());
    let (outcomes, outcome) = mpsc::channel();
    socket.send_with(vec![0; LARGE / 2], move |result| outcomes.send(result).unwrap());
    peer.wait_unread();
    let (error, text) = ("keepalive ping timeout", "Keepalive Ping Timeout");
    log.ends_with([Event::Open, Event::error(error), Event::close(1011, text)]);
    assert_eq!(next(&outcome), Err(SendError::Closed));
    drop(peer);
}

fn a_broadcast_reaches_everybody_the_sender_included<B: Backend>() {
    const MEMBERS: usize = 4;
    const MESSAGES: usize = 50;
    let backend = B::start();
    let room: Arc<Mutex<HashMap<bellwire::SocketId, WebSocket>>> = Arc::default();
    let (handler, logs) = logged_handler({
        let room = room.clone();
        move |_| {
            let (join, talk, leave) = (room.clone(), room.clone(), room.clone());
            listener()
                .on_open(move |socket| drop(join.lock().unwrap().insert(socket.id(), socket.clone())))
                // With the lock held, as everybody does it first.
                .on_message(move |_, message| talk.lock().unwrap().values().try_for_each(|member| member.send(message)))
                .on_close(move |socket, _, _| drop(leave.lock().unwrap().remove(&socket.id())))
        }
    });
    let server = backend.serve(Setup::default(), handler);
    let mut members: Vec<_> = (0..MEMBERS).map(|_| Raw::open(server.addr)).collect();
    let logs: Vec<_> = members.iter().map(|_| logs.next()).collect();
    for log in &logs {
        log.expect([Event::Open]);
    }
    // Each has entered the room before the first one talks.
    assert_eq!(
        within("everybody is there", {
            let room = room.clone();
            move || {
                while room.lock().unwrap().len() < MEMBERS {
                    thread::yield_now();
                }
                MEMBERS
            }
        }),
        MEMBERS
    );
    let talkers: Vec<_> = members
        .iter()
        .map(|member| {
            let mut talker = member.twin();
            thread::spawn(move || {
                for index in 0..MESSAGES {
                    talker.send([Frame::text(index.to_string())]);
                }
            })
        })
        .collect();
    for member in &mut members {
        let mut counts = HashMap::new();
        for _ in 0..MEMBERS * MESSAGES {
            *counts.entry(member.read().payload).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), MESSAGES);
        assert!(counts.values().all(|count| *count == MEMBERS));
    }
    for talker in talkers {
        talker.join().unwrap();
    }
    for (mut member, log) in members.into_iter().zip(logs) {
        member.send([Frame::close(1000, "")]);
        member.expect([Frame::close(1000, "")]);
        member.expect_end();
        assert_eq!(log.rest().last(), Some(&Event::close(1000, "")));
    }
    assert!(room.lock().unwrap().is_empty());
}

fn many_small_messages_come_back_in_few_writes<B: Backend>() {
    let backend = B::start();
    let acceptor = backend.acceptor(Setup::default(), |_| Response::websocket(echo()));
    let (stream, peer, writes) = backend.memory(64 * 1024);
    let driven = acceptor.accept(Over::Memory(stream), None);
    let mut client = Raw::open_over(peer, &upgrade_request("/", &[]));
    for _ in 0..3 {
        let before = writes.load(Ordering::Relaxed);
        let messages = || (0..64).map(|index: u32| Frame::text(index.to_string()));
        client.send(messages());
        client.expect(messages());
        // One for each read; all of them were there to be read at once.
        let count = writes.load(Ordering::Relaxed) - before;
        assert!(count <= 2, "{count} writes");
    }
    drop(client);
    driven.wait();
}

fn t21_a_large_message_arrives_through_a_small_pipe<B: Backend>() {
    let backend = B::start();
    let acceptor = backend.acceptor(Setup::default(), |_| Response::websocket(echo()));
    let (stream, peer, _) = backend.memory(1000);
    acceptor.accept(Over::Memory(stream), None);
    let mut client = Raw::open_over(peer, &upgrade_request("/", &[]));
    let large = Frame::new(BINARY, vec![7; 200_000]);
    client.send([large.clone()]);
    client.expect([large]);
}
