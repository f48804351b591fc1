//! Who talks in the connection's own task, on a driver that is driven by hand: `stream_listener`.

use std::future::{Future, poll_fn};
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use bellwire_core::backend::{Driver, Step};
use bellwire_core::listener::{AnyListener, BoxAsyncListener, IntoAnyListener, IntoAsyncListener, IntoOutcome};
use bellwire_core::{AsyncListener, BoxError, Config, MessageStream, Role, StreamError, stream_listener};

use crate::common::*;
use crate::logging::*;
use crate::streaming::normal_close;

struct Wrapper(BoxAsyncListener);

impl AsyncListener for Wrapper {
    fn inner(&mut self) -> Option<&mut BoxAsyncListener> {
        Some(&mut self.0)
    }
}

/// A connection, whose listener is inside of a wrapper on a client: that makes no difference.
fn talking<F>(role: Role, config: &Config, talk: impl FnOnce(MessageStream) -> F + Send + 'static) -> Driver
where
    F: Future<Output: IntoOutcome> + Send + 'static,
{
    let listener: AnyListener = match role {
        Role::Server => stream_listener(talk).into_any_listener(),
        Role::Client => Wrapper(stream_listener(talk).into_async_listener()).into_async_listener().into(),
    };
    started(role, config, listener)
}

/// Does what a backend does until the driver sleeps: what was written.
fn settle(driver: &mut Driver, waker: &Waker) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..1_000 {
        bytes.extend(written_at(driver, START));
        if driver.park(START, waker).is_ok() {
            return bytes;
        }
    }
    panic!("it never sleeps");
}

#[track_caller]
fn sends(driver: &mut Driver, role: Role, frames: &[Frame]) {
    assert_eq!(settle(driver, Waker::noop()), wire(frames, role), "{role:?}: {frames:?}");
}

async fn echo(mut messages: MessageStream) -> Result<(), StreamError> {
    while let Some(message) = messages.recv().await {
        messages.send(message?).await?;
    }
    Ok(())
}

/// What somebody else gives, once, to whoever waits for it.
#[derive(Clone, Default)]
struct Gift(Arc<Mutex<(bool, Option<Waker>)>>);

impl Gift {
    fn give(&self) {
        let mut gift = self.0.lock().unwrap();
        gift.0 = true;
        let waker = gift.1.take();
        drop(gift);
        waker.into_iter().for_each(Waker::wake);
    }

    async fn taken(&self) {
        poll_fn(|cx| {
            let mut gift = self.0.lock().unwrap();
            gift.1 = Some(cx.waker().clone());
            if gift.0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

#[test]
fn the_answers_to_one_read_leave_together_and_nobody_is_woken_for_them() {
    for role in ROLES {
        let mut driver = talking(role, &timeless(), echo);
        let (wakes, waker) = waker();
        assert_eq!(settle(&mut driver, &waker), b"");
        for _ in 0..2 {
            let frames = [Frame::text("1"), Frame::binary("2"), Frame::text("3")];
            receive(&mut driver, role, &frames);
            assert_eq!(written_at(&mut driver, START), wire(&frames, role));
            assert_eq!(settle(&mut driver, &waker), b"");
        }
        assert_eq!(wakes.count(), 0);
    }
}

#[test]
fn a_close_is_answered_behind_the_answers_to_what_came_before_it() {
    for role in ROLES {
        let mut driver = talking(role, &timeless(), echo);
        receive(&mut driver, role, &[Frame::text("1"), Frame::text("2"), Frame::close(1000, "bye")]);
        sends(&mut driver, role, &[Frame::text("1"), Frame::text("2"), Frame::close(1000, "bye")]);
    }
}

#[test]
fn it_is_polled_when_somebody_else_wakes_it_and_only_then() {
    for role in ROLES {
        let (gift, log) = (Gift::default(), Log::default());
        let mut driver = talking(role, &timeless(), {
            let (gift, log) = (gift.clone(), log.clone());
            async move |mut messages: MessageStream| {
                let mut taken = Box::pin(gift.taken());
                poll_fn(|cx| {
                    log.add("polled");
                    taken.as_mut().poll(cx)
                })
                .await;
                messages.send("thanks").await
            }
        });
        let (wakes, waker) = waker();
        assert_eq!(settle(&mut driver, &waker), b"");
        receive(&mut driver, role, &[Frame::ping("p")]);
        assert_eq!(settle(&mut driver, &waker), wire(&[Frame::pong("p")], role));
        assert_eq!((log.take(), wakes.count()), (vec!["polled".to_string()], 0));
        gift.give();
        assert_eq!(wakes.count(), 1);
        assert_eq!(settle(&mut driver, &waker), wire(&[Frame::text("thanks"), normal_close()], role));
        assert_eq!(log.take(), ["polled"]);
    }
}

async fn drop_halves(messages: MessageStream) -> Result<(), BoxError> {
    drop(messages.split());
    Ok(())
}

/// How it ends, by what comes of who talks.
#[test]
fn its_end_closes_with_1000_and_its_failure_with_1011() {
    type Talk = fn(MessageStream) -> std::pin::Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;
    let ends: [(Talk, u16, &str); 6] = [
        (|_| Box::pin(async { Ok(()) }), 1000, "Normal Closure"),
        (|messages| Box::pin(drop_halves(messages)), 1000, "Normal Closure"),
        (
            |messages| Box::pin(async move { Err(format!("a secret of {}", messages.socket().id()).into()) }),
            1011,
            "Unexpected Error",
        ),
        (
            |messages| Box::pin(async move { panic!("a secret of {}", messages.socket().id()) }),
            1011,
            "Unexpected Error",
        ),
        (|_| panic!("a secret"), 1011, "Unexpected Error"),
        (|messages| Box::pin(async move { Ok(messages.socket().close_with(4001, "enough")?) }), 4001, "enough"),
    ];
    for role in ROLES {
        for (talk, code, reason) in ends {
            let mut driver = talking(role, &timeless(), talk);
            sends(&mut driver, role, &[Frame::close(code, reason)]);
        }
    }
}

#[test]
fn an_error_that_says_how_the_connection_has_ended_changes_nothing() {
    for role in ROLES {
        let mut driver = talking(role, &timeless(), async |mut messages: MessageStream| {
            while let Some(Ok(_)) = messages.recv().await {}
            messages.send("too late").await
        });
        receive(&mut driver, role, &[Frame::close(4002, "bye")]);
        sends(&mut driver, role, &[Frame::close(4002, "bye")]);
        let closed = driver.socket().unwrap().closed().unwrap();
        assert_eq!((closed.code.0, closed.clean), (4002, true));
        // What it receives is known, too.
        let mut driver = talking(role, &timeless(), echo);
        driver.transport_failed(START, io::Error::other("cut"));
        assert_eq!(driver.step(START), Step::Done);
    }
}

#[test]
fn a_stream_that_is_dropped_while_it_goes_on_is_closed_then() {
    for role in ROLES {
        let gift = Gift::default();
        let mut driver = talking(role, &timeless(), {
            let gift = gift.clone();
            async move |messages: MessageStream| {
                drop(messages);
                gift.taken().await;
                Err::<(), _>("it was closed before")
            }
        });
        sends(&mut driver, role, &[normal_close()]);
        gift.give();
        sends(&mut driver, role, &[]);
    }
}

#[test]
fn who_talks_may_go_on_when_the_connection_has_ended() {
    for role in ROLES {
        for lost in [false, true] {
            let (gift, log) = (Gift::default(), Log::default());
            let mut driver = talking(role, &timeless(), {
                let (gift, log) = (gift.clone(), log.clone());
                async move |mut messages: MessageStream| {
                    messages.send("never written").await.unwrap();
                    let _ = messages.recv().await;
                    gift.taken().await;
                    log.add(format!("{}", messages.close().await));
                }
            });
            match lost {
                true => driver.transport_failed(START, io::Error::other("cut")),
                false => driver.socket().unwrap().abort(),
            }
            let (wakes, waker) = waker();
            settle(&mut driver, &waker);
            assert_eq!((driver.step(START), driver.is_done()), (Step::Wait, true));
            settle(&mut driver, &waker);
            assert_eq!((driver.poll_timeout(), wakes.count()), (None, 0));
            gift.give();
            assert_eq!((wakes.count(), log.take()), (1, vec![]));
            settle(&mut driver, &waker);
            assert_eq!(log.take().len(), 1);
            assert_eq!(driver.step(START), Step::Done);
        }
    }
}

#[test]
fn it_is_dropped_where_it_waits_with_the_driver_or_with_a_listener_that_is_not_called() {
    struct Told(Log);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.add("dropped");
            panic!("and that is nobody's trouble");
        }
    }
    let log = Log::default();
    let told = Told(log.clone());
    let driver = talking(Role::Server, &timeless(), async move |mut messages: MessageStream| {
        let _told = told;
        messages.recv().await;
    });
    assert_eq!(log.take(), [""; 0]);
    drop(driver);
    assert_eq!(log.take(), ["dropped"]);
}

/// D16: two that only send to each other go on.
#[test]
fn what_it_sends_unasked_does_not_stop_the_reading() {
    for role in ROLES {
        let mut driver =
            talking(role, &timeless().watermarks(10, 40).max_queued(100), async |messages: MessageStream| {
                let (mut sender, mut receiver) = messages.split();
                sender.send(vec![1; 80]).await?;
                while let Some(Ok(_)) = receiver.recv().await {}
                sender.send("behind").await
            });
        assert_eq!(driver.step(START), Step::Read);
        receive(&mut driver, role, &[Frame::text("1"), Frame::text("2")]);
        assert_eq!(driver.step(START), Step::Read);
    }
}

#[test]
fn more_than_a_stream_takes_goes_through_it() {
    for role in ROLES {
        let mut driver = talking(role, &timeless(), echo);
        let frames: Vec<Frame> = (0..1_000).map(|index: usize| Frame::text(index.to_string())).collect();
        receive(&mut driver, role, &frames);
        sends(&mut driver, role, &frames);
        assert_eq!(driver.step(START), Step::Read);
    }
}
