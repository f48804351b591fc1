//! What asynchronous listeners can do as plain ones do it: a shared state, wrappers, typed messages (W1 to W3 in
//! `docs/contract.md`). A backend of threads has nobody to poll them.

use std::io::{Read, Write};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};

use bellwire::{IntoAnyListener, Role, async_listener};
use bellwire_tests::{Frame, Raw, Task, Tasks, next, quiet, tasks};

tasks! {
    both {
        w1_asynchronous_closures_share_a_state_across_connections,
    }
}

/// A connection of ours on a task, and its peer.
struct Ours<S> {
    peer: Raw<S>,
    /// Told when the task has ended.
    ended: Receiver<()>,
    /// Some runtimes drop a task together with its handle.
    _task: Task,
}

impl<S: Read + Write> Ours<S> {
    /// Closes from the peer's side, and sees that through.
    #[track_caller]
    fn close(mut self) {
        self.peer.send([Frame::close(3000, "bye")]);
        self.peer.expect([Frame::close(3000, "bye")]);
        self.peer.expect_end();
        next(&self.ended);
    }
}

fn open<B: Tasks>(backend: &B, role: Role, listener: impl IntoAnyListener) -> Ours<impl Read + Write> {
    let (stream, peer, _) = backend.memory(4096);
    let driving = backend.driving(stream, Vec::new(), role, quiet(), listener);
    let (end, ended) = mpsc::channel();
    let task = backend.spawn(async move {
        driving.await;
        // The test may have failed.
        let _ = end.send(());
    });
    Ours { peer: Raw::upgraded(peer, role == Role::Server), ended, _task: task }
}

fn w1_asynchronous_closures_share_a_state_across_connections<B: Tasks>(role: Role) {
    let backend = B::start();
    let total = Arc::new(Mutex::new(0));
    let adder = || {
        async_listener()
            .on_open(async |socket| socket.send_and_wait("0").await)
            .with_state(total.clone())
            .on_message(async |total, socket, message| {
                let number: i32 = message.as_text().ok_or("text").unwrap().parse().unwrap();
                *total.lock().unwrap() += number;
                let sum = *total.lock().unwrap();
                socket.send_and_wait(sum.to_string()).await
            })
            .on_close(|total, _, code, _| *total.lock().unwrap() += i32::from(u16::from(code)))
    };
    let open = || open(&backend, role, adder());
    let mut ends = [open(), open()];
    for (end, number, sum) in [(0, "1", "1"), (1, "20", "21"), (0, "300", "321")] {
        let peer = &mut ends[end].peer;
        if sum != "321" {
            peer.expect([Frame::text("0")]);
        }
        peer.send([Frame::text(number)]);
        peer.expect([Frame::text(sum)]);
    }
    ends.into_iter().for_each(Ours::close);
    assert_eq!(*total.lock().unwrap(), 6321);
    assert_eq!(Arc::strong_count(&total), 1);
}
