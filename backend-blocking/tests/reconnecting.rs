//! A client that connects again, and is closed by what it calls itself.

use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use bellwire_blocking::{Reconnecting, Server, ServerHandle, WouldDeadlock, reconnecting};
use bellwire_core::reconnect::{EndReason, Policy};
use bellwire_core::{Response, SendError, listener};

const PATIENCE: Duration = Duration::from_secs(30);

/// Where its owner gets the handle from that it does not have yet.
type Handle = Arc<OnceLock<Reconnecting>>;

fn given(handle: &Handle) -> &Reconnecting {
    loop {
        match handle.get() {
            Some(client) => return client,
            None => thread::yield_now(),
        }
    }
}

/// What a callback has found out.
type Said = (&'static str, bool, bool);

/// The places that something is called from.
const PLACES: [&str; 7] =
    ["on_open", "on_message", "on_close", "send_with", "when_closed", "before_each", "on_disconnected"];

fn echo() -> (String, ServerHandle) {
    let server = Server::bind("127.0.0.1:0").unwrap();
    let (url, handle) = (format!("ws://{}/", server.local_addr().unwrap()), server.handle());
    thread::spawn(move || {
        server.run(|_| {
            Response::websocket(listener().on_message(|socket, message| match message.as_text() {
                Some("close") => socket.close_with(1012, ""),
                _ => socket.send(message),
            }))
        })
    });
    (url, handle)
}

/// A client that is closed from there.
fn client(url: &str, place: &'static str) -> (Reconnecting, Receiver<Said>) {
    let (handle, (said, says)) = (Handle::default(), mpsc::channel());
    let act = {
        let handle = handle.clone();
        move |here: &'static str| {
            if here == place {
                let client = given(&handle);
                let waited = matches!(client.wait(), Err(WouldDeadlock));
                let closed = matches!(client.close(), Err(WouldDeadlock));
                // The test may have given up.
                let _ = said.send((here, waited, closed));
            }
        }
    };
    let [before, lost, made] = [(); 3].map(|()| act.clone());
    let client = reconnecting(url, Policy::new().first_delay(Duration::ZERO))
        .unwrap()
        .before_each(move |target, _| {
            before("before_each");
            Ok::<_, std::convert::Infallible>(target)
        })
        .on_disconnected(move |_| lost("on_disconnected"))
        .listen(move |_| {
            let [open, message, close] = [(); 3].map(|()| made.clone());
            listener()
                .on_open(move |socket| {
                    let [done, ended] = [(); 2].map(|()| open.clone());
                    socket.when_closed(move || ended("when_closed"));
                    open("on_open");
                    socket.send_with("echo", move |_| done("send_with"));
                })
                .on_message(move |socket, _| {
                    message("on_message");
                    let _ = socket.send("close");
                })
                .on_close(move |_, _, _| close("on_close"))
        })
        .unwrap();
    handle.set(client.clone()).unwrap();
    (client, says)
}

#[test]
fn who_closes_a_client_from_its_own_callbacks_is_told_and_it_ends_nevertheless() {
    let (url, server) = echo();
    for place in PLACES {
        let (client, says) = client(&url, place);
        assert_eq!(says.recv_timeout(PATIENCE), Ok((place, true, true)));
        assert_eq!(client.wait().unwrap().reason, EndReason::Closed, "{place}");
        assert_eq!(client.close().unwrap().reason, EndReason::Closed, "{place}");
    }
    server.shutdown(PATIENCE);
}

#[test]
fn a_completion_on_the_second_thread_is_one_of_its_own_callbacks_and_on_any_other_it_may_wait() {
    let (url, server) = echo();
    // If all is written before it is registered, it runs where it was sent.
    for _ in 0..1_000 {
        let (client, _says) = client(&url, "nowhere");
        let (other, _says) = self::client(&url, "nowhere");
        let socket = client.connected().unwrap();
        let (said, says) = mpsc::channel();
        let own = client.clone();
        socket.send_with("echo", move |_| {
            let other = other.close().map(|ended| ended.reason);
            said.send((thread::current().name().map(String::from), own.close().err(), other)).unwrap();
        });
        let (thread, own, other) = says.recv_timeout(PATIENCE).unwrap();
        assert_eq!((client.wait().unwrap().reason, other), (EndReason::Closed, Ok(EndReason::Closed)));
        let is_second = thread.as_deref() == Some("bellwire-writer");
        let is_first = thread.as_deref() == Some("bellwire-client");
        assert_eq!(own, (is_first || is_second).then_some(WouldDeadlock), "{thread:?}");
        if is_second {
            server.shutdown(PATIENCE);
            return;
        }
    }
    panic!("it was never on the second thread");
}

#[test]
fn who_waits_for_a_connection_in_its_on_open_is_told_that_there_is_none_yet() {
    let (url, server) = echo();
    let (handle, (said, says)) = (Handle::default(), mpsc::channel());
    let inside = handle.clone();
    let client = reconnecting(url, Policy::new())
        .unwrap()
        .before_each({
            let (inside, said) = (handle.clone(), said.clone());
            move |target, _| {
                said.send(given(&inside).connected().err()).unwrap();
                Ok::<_, std::convert::Infallible>(target)
            }
        })
        .on_end(move |_| said.send(given(&inside).connected().err()).unwrap())
        .listen(|_| listener())
        .unwrap();
    handle.set(client.clone()).unwrap();
    assert_eq!(says.recv_timeout(PATIENCE), Ok(Some(SendError::Offline)));
    client.connected().unwrap();
    client.close().unwrap();
    assert_eq!(says.recv_timeout(PATIENCE), Ok(Some(SendError::Closed)));
    server.shutdown(PATIENCE);
}
