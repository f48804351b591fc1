//! What is easily forgotten: functions that panic, wakers that are left behind, ends that nobody has seen.

use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use bellwire::reconnect::{EndReason, Event, Offline, Policy, Reconnecting};
use bellwire::{BoxError, Request, Response, SendError, Target, async_listener, listener};
use futures_util::stream::FusedStream;
use tokio::time::{sleep, timeout};

use crate::network::{Network, Try};
use crate::{client, obedient, paused};

const KEEP: Offline = Offline::Keep { messages: 10, bytes: 1000 };

/// Lets everything happen that takes no time, and some that does.
async fn a_while() {
    sleep(Duration::from_secs(100)).await;
}

#[test]
fn an_end_that_panics_is_the_end_for_those_who_wait_all_the_same() {
    paused(async {
        let network = Network::new(obedient);
        let waiting = client(&network, Policy::new()).on_end(|_| panic!("on purpose")).listen(|_| listener());
        a_while().await;
        let ended = timeout(Duration::from_secs(1000), waiting.close()).await.expect("it ends");
        assert_eq!(ended.reason, EndReason::Closed);
        let mut stream = client(&network, Policy::new()).on_end(|_| panic!("on purpose")).stream();
        a_while().await;
        let ended = timeout(Duration::from_secs(1000), stream.close()).await.expect("it ends");
        assert_eq!(ended.reason, EndReason::Closed);
        let all = async { while stream.recv().await.is_some() {} };
        timeout(Duration::from_secs(1000), all).await.expect("it ends");
    });
}

struct Nothing;

impl Wake for Nothing {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn who_does_not_wait_any_more_leaves_no_waker_behind() {
    paused(async {
        let network = Network::new(obedient);
        let client = client(&network, Policy::new()).listen(|_| listener());
        a_while().await;
        let task = Arc::new(Nothing);
        let waker = Waker::from(task.clone());
        {
            let mut wait = pin!(client.wait());
            assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        drop(waker);
        assert_eq!(Arc::strong_count(&task), 1);
        client.close().await;
    });
}

#[test]
fn what_was_handed_back_and_not_received_survives_the_close_of_a_stream() {
    paused(async {
        let network = Network::new(obedient);
        network.plan([Try::Connected { writes: 2000, reads: usize::MAX }]);
        let mut stream = client(&network, Policy::new()).stream();
        let Some(Event::Connected { .. }) = stream.recv().await else { panic!() };
        for number in 0..100 {
            stream.send(format!("{number:03}{}", "x".repeat(100))).unwrap();
        }
        a_while().await;
        let written: usize = network.messages().iter().map(Vec::len).sum();
        assert!(written < 100);
        let ended = stream.close().await;
        let mut unsent = ended.unsent.len();
        while let Some(event) = stream.recv().await {
            if let Event::Disconnected(disconnected) = event {
                unsent += disconnected.unsent.len();
            }
        }
        assert_eq!(written + unsent, 100);
    });
}

#[test]
fn a_stream_has_ended_when_its_end_was_received() {
    paused(async {
        let network = Network::new(obedient);
        let mut stream = client(&network, Policy::new()).stream();
        a_while().await;
        stream.handle().close().await;
        while !matches!(stream.recv().await, Some(Event::Disconnected(_))) {
            assert!(!stream.is_terminated());
        }
        a_while().await;
        // A `select!` would not ask it any more, and would never hear of the end.
        assert!(!stream.is_terminated());
        assert!(stream.recv().await.is_none());
        assert!(stream.is_terminated());
    });
}

#[test]
fn a_callback_may_wait_for_the_end_as_long_as_a_close_takes() {
    paused(async {
        let network = Network::new(obedient);
        let slot = Arc::new(Mutex::new(None));
        let inside = slot.clone();
        let client = client(&network, Policy::new()).listen(move |_| {
            let slot = inside.clone();
            async_listener().on_message(move |_, _| {
                let client: Option<Reconnecting> = slot.lock().unwrap().clone();
                async move { drop(client.unwrap().close().await) }
            })
        });
        *slot.lock().unwrap() = Some(client.clone());
        a_while().await;
        client.send("x").unwrap();
        let ended = timeout(Duration::from_secs(1000), client.wait()).await.expect("it ends");
        assert_eq!(ended.reason, EndReason::Closed);
    });
}

#[test]
fn without_delays_others_have_their_turn() {
    paused(async {
        let network = Network::new(obedient);
        let tries = AtomicU32::new(0);
        let client = client(&network, Policy::new().first_delay(Duration::ZERO).max_delay(Duration::ZERO))
            .before_each(move |_, _| {
                assert!(tries.fetch_add(1, Ordering::Relaxed) < 100_000, "nobody else has a turn");
                async { Err::<Target, BoxError>("no".into()) }
            })
            .listen(|_| listener());
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        assert_eq!(client.close().await.reason, EndReason::Closed);
    });
}

#[test]
fn whatever_is_called_may_send_and_close() {
    for offline in [Offline::Refuse, KEEP] {
        for closing in ["hook", "open", "message", "close", "disconnected", "end", "made"] {
            paused(async {
                let network = Network::new(obedient);
                let slot = Arc::new(Mutex::new(None::<Reconnecting>));
                let sent = Arc::new(Mutex::new(Vec::new()));
                let unsent = Arc::new(Mutex::new(Vec::<String>::new()));
                let act = {
                    let (slot, sent) = (slot.clone(), sent.clone());
                    move |place: &'static str| {
                        let client = slot.lock().unwrap().clone();
                        let Some(client) = client else { return };
                        if matches!(client.send(place), Ok(())) {
                            sent.lock().unwrap().push(place.to_owned());
                        }
                        let _ = (client.is_connected(), client.ended(), client.socket());
                        if place == closing {
                            drop(client.close());
                        }
                    }
                };
                let (hook, disconnected, end, made) = (act.clone(), act.clone(), act.clone(), act.clone());
                let back = unsent.clone();
                let client = client(&network, Policy::new().offline(offline))
                    .before_each(move |target, _| {
                        hook("hook");
                        async { Ok::<_, BoxError>(target) }
                    })
                    .on_disconnected(move |lost| {
                        let texts = lost.unsent.iter().map(|message| message.as_text().unwrap().to_owned());
                        back.lock().unwrap().extend(texts);
                        disconnected("disconnected");
                    })
                    .on_end(move |_| end("end"))
                    .listen(move |_| {
                        made("made");
                        let (open, message, close) = (made.clone(), made.clone(), made.clone());
                        let mut messages = 0;
                        listener()
                            .on_open(move |_| open("open"))
                            .on_message(move |socket, _| {
                                messages += 1;
                                if messages == 1 {
                                    message("message");
                                    let _ = socket.close_with(1012, "");
                                }
                            })
                            .on_close(move |_, _, _| close("close"))
                    });
                *slot.lock().unwrap() = Some(client.clone());
                a_while().await;
                a_while().await;
                let ended = timeout(Duration::from_secs(1000), client.close()).await.expect(closing);
                assert_eq!(ended.reason, EndReason::Closed);
                assert!(matches!(client.send("late"), Err(SendError::Closed)));
                let mut all: Vec<String> = network.messages().concat();
                all.extend(unsent.lock().unwrap().iter().cloned());
                all.extend(ended.unsent.iter().map(|message| message.as_text().unwrap().to_owned()));
                let mut sent = sent.lock().unwrap().clone();
                all.sort();
                sent.sort();
                assert_eq!(all, sent, "{offline:?} {closing}");
                slot.lock().unwrap().take();
            });
        }
    }
}

#[test]
fn absurd_delays_are_waited_for() {
    paused(async {
        let network = Network::new(|_: &Request| Response::new(503).header("Retry-After", "99999999999999999999999"));
        let policy = Policy::new()
            .first_delay(Duration::MAX)
            .max_delay(Duration::MAX)
            .max_retry_after(Duration::MAX)
            .factor(f64::INFINITY);
        let refused = client(&network, policy.clone()).listen(|_| listener());
        sleep(Duration::from_secs(1)).await;
        assert_eq!(refused.close().await.reason, EndReason::Closed);
        let network = Network::new(obedient);
        network.plan([Try::Refused; 3]);
        let refused = client(&network, policy.max_retry_after(Duration::ZERO)).listen(|_| listener());
        sleep(Duration::from_secs(1)).await;
        assert_eq!(refused.close().await.reason, EndReason::Closed);
    });
}
