//! What the users of a client that connects again are told, in which order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bellwire::reconnect::{EndReason, Event, Failure, Policy, Reconnecting, ReconnectingStream};
use bellwire::{BoxError, CloseCode, ConnectError, Error, Request, Response, listener};
use tokio::time::{Instant, sleep};

use crate::network::{Network, Try};
use crate::{Told, client, obedient, paused, virtual_time};

/// A client whose listener writes everything down.
fn listening(network: &Network, policy: Policy, told: &Told) -> Reconnecting {
    let [lost, end, connected] = std::array::from_fn(|_| told.clone());
    client(network, policy)
        .on_disconnected(move |disconnected| {
            lost.push(format!("disconnected after {}: {}", disconnected.tries, disconnected.failure));
        })
        .on_end(move |ended| end.push(format!("end: {ended}")))
        .listen(move |this| {
            connected.push(format!("connected {} with {}", this.number, this.response.status()));
            let [open, message, close] = std::array::from_fn(|_| connected.clone());
            listener()
                .on_open(move |_| open.push("open"))
                .on_message(move |_, text| message.push(text.as_text().unwrap()))
                .on_close(move |_, code, reason| close.push(format!("close {code} {reason}")))
        })
}

/// What happens next to a stream, in words.
async fn next(stream: &mut ReconnectingStream) -> String {
    match stream.recv().await {
        Some(Event::Connected { connected, .. }) => format!("connected {}", connected.number),
        Some(Event::Message(message)) => message.as_text().unwrap().into(),
        Some(Event::Disconnected(disconnected)) => disconnected.failure.to_string(),
        Some(event) => panic!("{event:?}"),
        None => stream.ended().expect("it has ended").to_string(),
    }
}

/// Lets everything happen that takes no time, and some that does.
async fn a_while() {
    sleep(Duration::from_secs(100)).await;
}

#[test]
fn each_connection_has_its_listener_and_what_lies_between_is_told() {
    paused(async {
        let (network, told) = (Network::new(obedient), Told::default());
        network.plan([Try::Refused, Try::GOOD, Try::Refused, Try::Refused]);
        let client = listening(&network, Policy::new(), &told);
        a_while().await;
        assert!(client.is_connected());
        client.send("hello").unwrap();
        client.send("close 1012").unwrap();
        a_while().await;
        client.send("again").unwrap();
        a_while().await;
        client.send("vanish").unwrap();
        a_while().await;
        let ended = client.close().await;
        assert_eq!((ended.reason, ended.unsent.len()), (EndReason::Closed, 0));
        assert!(!client.is_connected() && client.ended().is_some());
        assert_eq!(
            told.take(),
            [
                "disconnected after 1: cannot connect: connection refused",
                "connected 1 with 101",
                "open",
                "hello",
                "close 1012 as you like",
                "disconnected after 0: the connection has ended: 1012 \"as you like\", closed by the peer",
                "disconnected after 1: cannot connect: connection refused",
                "disconnected after 2: cannot connect: connection refused",
                "connected 2 with 101",
                "open",
                "again",
                "close 1006 ",
                "disconnected after 0: the connection has ended: 1006, broken off by the peer",
                "connected 3 with 101",
                "open",
                "close 1000 Normal Closure",
                "disconnected after 0: the connection has ended: 1000 \"Normal Closure\", closed by this side",
                "end: closed by this side",
            ]
        );
    });
}

#[test]
fn a_stream_has_the_same_as_items() {
    paused(async {
        let network = Network::new(obedient);
        network.plan([Try::Refused, Try::GOOD, Try::Refused]);
        let mut stream = client(&network, Policy::new()).stream();
        assert_eq!(next(&mut stream).await, "cannot connect: connection refused");
        assert_eq!(next(&mut stream).await, "connected 1");
        stream.send("a").unwrap();
        stream.send("b").unwrap();
        a_while().await;
        stream.send("vanish").unwrap();
        a_while().await;
        // It is gone, but what came before is received first.
        assert_eq!([next(&mut stream).await, next(&mut stream).await], ["a", "b"]);
        assert_eq!(next(&mut stream).await, "the connection has ended: 1006, broken off by the peer");
        assert_eq!(next(&mut stream).await, "cannot connect: connection refused");
        assert_eq!(next(&mut stream).await, "connected 2");
        stream.handle().send("close 4000").unwrap();
        assert_eq!(next(&mut stream).await, "the connection has ended: 4000 \"as you like\", closed by the peer");
        let end = "not worth another try: the connection has ended: 4000 \"as you like\", closed by the peer";
        assert_eq!([next(&mut stream).await, next(&mut stream).await], [end, end]);
        assert_eq!(network.tries(), 4);
    });
}

#[test]
fn a_stream_that_is_not_read_makes_no_other_try() {
    paused(async {
        let network = Network::new(obedient);
        network.plan([Try::GOOD, Try::Refused, Try::Refused]);
        let mut stream = client(&network, Policy::new()).stream();
        a_while().await;
        stream.send("vanish").unwrap();
        for tries in [1, 1, 2, 3] {
            a_while().await;
            assert_eq!(network.tries(), tries);
            next(&mut stream).await;
        }
        a_while().await;
        assert_eq!((network.tries(), next(&mut stream).await), (4, "connected 2".into()));
    });
}

#[test]
fn what_the_server_refuses_for_good_is_not_tried_again() {
    paused(async {
        let network = Network::new(|_: &Request| Response::new(401).with_body("who are you?"));
        let told = Told::default();
        let ended = listening(&network, Policy::new(), &told).wait().await;
        assert_eq!((ended.reason, network.tries()), (EndReason::Final, 1));
        let failure = ended.failure.as_ref().unwrap();
        assert_eq!(failure.connect_error().and_then(ConnectError::response).unwrap().status(), 401);
        let refusal = "the server refused the WebSocket with status 401: \"who are you?\"";
        assert_eq!(
            told.take(),
            [format!("disconnected after 1: {refusal}"), format!("end: not worth another try: {refusal}")]
        );
    });
}

#[test]
fn it_waits_as_long_as_the_server_says_and_gives_up_after_so_many_tries() {
    paused(async {
        let network = Network::new(|_: &Request| Response::new(503).header("Retry-After", "100"));
        let start = Instant::now();
        let policy = Policy::new().max_tries(4).first_delay(Duration::ZERO).max_delay(Duration::ZERO);
        let ended = client(&network, policy).listen(|_| listener()).wait().await;
        assert_eq!((ended.reason, network.tries()), (EndReason::GaveUp, 4));
        let waited = start.elapsed();
        assert!((300..301).contains(&waited.as_secs()), "{waited:?}");
    });
}

#[test]
fn a_hook_changes_each_try_and_may_fail() {
    paused(async {
        let network = Network::new(|request: &Request| match request.header("Authorization").as_deref() {
            Some("Bearer 2") => obedient(request),
            _ => Response::new(401),
        });
        let (fetched, told) = (Arc::new(AtomicU32::new(0)), Told::default());
        let [seen, lost] = std::array::from_fn(|_| told.clone());
        let expired = |failure: &Failure| failure.connect_error()?.response().map(|answer| answer.status() == 401);
        let client = client(&network, Policy::new().retry_if(expired))
            .before_each(move |target, tries| {
                let token = fetched.fetch_add(1, Ordering::Relaxed);
                seen.push(format!("token {token}, tries {tries}"));
                async move {
                    sleep(Duration::from_secs(1)).await;
                    if token == 0 {
                        return Err(BoxError::from("the token service is down"));
                    }
                    // Set twice, were it the target of the try before.
                    Ok(target.header("Authorization", format!("Bearer {token}"))?.protocol(format!("v{token}"))?)
                }
            })
            .on_disconnected(move |disconnected| lost.push(disconnected.failure.to_string()))
            .listen(|_| listener());
        a_while().await;
        assert!(client.is_connected());
        assert_eq!(
            told.take(),
            [
                "token 0, tries 0",
                "preparing to connect has failed: the token service is down",
                "token 1, tries 1",
                "the server refused the WebSocket with status 401",
                "token 2, tries 2",
            ]
        );
        client.close().await;
    });
}

#[test]
fn close_ends_a_wait_a_try_and_a_hook() {
    paused(async {
        // A wait.
        let network = Network::new(obedient);
        network.plan([Try::Refused]);
        let policy = Policy::new().first_delay(Duration::from_secs(1000)).max_delay(Duration::from_secs(1000));
        let told = Told::default();
        let client = listening(&network, policy, &told);
        sleep(Duration::from_millis(1)).await;
        let start = Instant::now();
        assert_eq!(client.close().await.reason, EndReason::Closed);
        assert_eq!(
            told.take(),
            ["disconnected after 1: cannot connect: connection refused", "end: closed by this side"]
        );
        // A try: nobody answers the handshake.
        let (here, _there) = tokio::io::duplex(1024);
        let mut streams = vec![here];
        let stuck = bellwire::tokio::reconnecting_over("ws://in.memory/", Policy::new(), move || {
            let stream = streams.pop().unwrap();
            async { Ok(stream) }
        });
        let client = stuck.unwrap().listen(|_| listener());
        sleep(Duration::from_millis(1)).await;
        assert_eq!(client.close().await.reason, EndReason::Closed);
        // A hook.
        let held = Arc::new(());
        let hold = held.clone();
        let waiting = crate::client(&network, Policy::new()).before_each(move |target, _| {
            let hold = hold.clone();
            async move {
                std::future::pending::<()>().await;
                drop(hold);
                Ok::<_, BoxError>(target)
            }
        });
        let mut stream = waiting.stream();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(stream.close().await.reason, EndReason::Closed);
        assert!(stream.recv().await.is_none());
        drop(stream);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(start.elapsed() < Duration::from_secs(1));
    });
}

#[test]
fn a_stream_that_is_dropped_ends_it_and_a_handle_does_not() {
    paused(async {
        let network = Network::new(obedient);
        let stream = client(&network, Policy::new()).stream();
        let handle = stream.handle().clone();
        a_while().await;
        handle.send("last words").unwrap();
        drop(stream);
        assert_eq!(handle.wait().await.reason, EndReason::Closed);
        assert_eq!(network.messages(), [["last words"]]);

        let told = Told::default();
        drop(listening(&network, Policy::new(), &told));
        a_while().await;
        assert_eq!(told.take(), ["connected 1 with 101", "open"]);
    });
}

#[test]
fn the_code_with_which_this_side_closes_decides_what_comes() {
    paused(async {
        // The peer may answer, or be silent until the close timeout.
        for (code, answers, again) in
            [(1000, true, false), (1000, false, false), (1012, true, true), (1012, false, true), (4000, false, false)]
        {
            let network = Network::new(obedient);
            let client = client(&network, Policy::new()).listen(|_| listener());
            a_while().await;
            if !answers {
                network.mute();
            }
            client.socket().unwrap().close_with(code, "enough").unwrap();
            a_while().await;
            assert_eq!((client.is_connected(), network.tries() - 1), (again, usize::from(again)), "{code} {answers}");
            assert_eq!(client.close().await.reason == EndReason::Closed, again);
        }
    });
}

#[test]
fn a_connection_that_fails_says_with_what() {
    paused(async {
        let network = Network::new(obedient);
        let mut stream = client(&network, Policy::new()).stream();
        next(&mut stream).await;
        network.plan([Try::Connected { writes: usize::MAX, reads: 300 }, Try::GOOD]);
        stream.send("close 1001").unwrap();
        next(&mut stream).await;
        next(&mut stream).await;
        // Its transport fails when so much was read.
        while stream.send("0123456789").is_ok() {
            if let Some(Event::Disconnected(disconnected)) = stream.recv().await {
                assert!(matches!(disconnected.error, Some(Error::Vanished)), "{disconnected:?}");
                assert_eq!(disconnected.failure.closed().unwrap().code, CloseCode::ABNORMAL);
                return;
            }
        }
        panic!("it lives");
    });
}

#[test]
fn a_runtime_that_ends_ends_it() {
    let runtime = virtual_time();
    let (network, told) = (Network::new(obedient), Told::default());
    let client = runtime.block_on(async {
        let client = listening(&network, Policy::new(), &told);
        sleep(Duration::from_millis(1)).await;
        client
    });
    drop(runtime);
    assert_eq!(client.ended().unwrap().reason, EndReason::Abandoned);
    assert!(client.send("too late").is_err());
    let told = told.take();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told.contains(&"end: the task that connects was dropped".into()), "{told:?}");
    assert!(told.contains(&"close 1006 ".into()), "{told:?}");
}

#[test]
fn a_function_that_panics_ends_it() {
    paused(async {
        let network = Network::new(obedient);
        network.plan([Try::Refused; 2]);
        let told = Told::default();
        let tell = told.clone();
        let client = client(&network, Policy::new())
            .on_disconnected(|_| panic!("on purpose"))
            .on_end(move |ended| tell.push(ended.to_string()))
            .listen(|_| listener());
        assert_eq!(client.wait().await.reason, EndReason::Abandoned);
        assert_eq!(told.take(), ["the task that connects was dropped"]);
        // The same in a stream.
        let mut stream = crate::client(&network, Policy::new()).before_each(|_, tries| async move {
            let target: Result<_, BoxError> = if tries == 0 { Err("not yet".into()) } else { panic!("on purpose") };
            target
        });
        stream = stream.on_disconnected(|_| panic!("a stream has its own"));
        let mut stream = stream.stream();
        assert_eq!(next(&mut stream).await, "preparing to connect has failed: not yet");
        assert_eq!(next(&mut stream).await, "the task that connects was dropped");
    });
}

#[test]
fn nothing_is_left_of_what_has_ended() {
    let (runtime, network, told) = (virtual_time(), Network::new(obedient), Told::default());
    network.plan([Try::GOOD, Try::Refused, Try::Connected { writes: 400, reads: 300 }]);
    runtime.block_on(async {
        let client = listening(&network, Policy::new(), &told);
        let mut stream = crate::client(&network, Policy::new()).stream();
        for _ in 0..20 {
            a_while().await;
            let _ = client.send("close 1012");
            if !matches!(stream.recv().await, Some(Event::Disconnected(_))) {
                let _ = stream.send("vanish");
            }
        }
        client.close().await;
        drop(stream);
        a_while().await;
    });
    assert!(network.tries() > 10, "{}", network.tries());
    // Neither of theirs nor of their servers.
    assert_eq!(runtime.metrics().num_alive_tasks(), 0);
}
