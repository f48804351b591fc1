//! Upgrades that were accepted, and do not come or come late.

use std::panic;
use std::sync::Arc;
use std::time::Duration;

use bellwire_hyper::Body;
use bytes::Bytes;
use http::{Response, StatusCode};
use tokio::sync::Notify;

use super::common::{App, CLOSE, TEXT, WAYS, Way, frame, masked, serve, served, upgrade, within};

#[tokio::test]
async fn a_server_without_upgrades_is_told_to_serve_with_them() {
    let (app, mut told) = App::new();
    let handled = app.clone();
    let mut client = serve(Way::NoUpgrades, move |request| handled.clone().answer(request)).await;
    client.send(&upgrade()).await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(client.rest().await, b"");
    assert!(told.next().await.contains("serve with upgrades (hyper: with_upgrades"));
    told.ended(&app).await;
}

#[tokio::test]
async fn a_hook_of_the_upgrade_is_told_instead_of_the_owner() {
    let (app, mut told) = App::new();
    let handled = app.clone();
    let mut client = serve(Way::NoUpgrades, move |mut request| {
        let app = handled.clone();
        async move {
            let upgrade = app.upgrade(&mut request).unwrap();
            let hook = app.clone();
            upgrade.on_failed_upgrade(move |error| hook.tell(format!("hook: {error}"))).listener(app.echo())
        }
    })
    .await;
    client.send(&upgrade()).await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    assert!(told.next().await.starts_with("hook: "));
    told.ended(&app).await;
}

fn forbidden() -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from_static(b"not you\n")));
    *response.status_mut() = StatusCode::FORBIDDEN;
    response
}

/// hyper's upgrade comes true, and leads to a client that was told otherwise.
#[tokio::test]
async fn no_frame_follows_an_answer_that_a_middleware_has_put_in_the_place_of_the_101() {
    for way in WAYS {
        let (app, mut told) = App::new();
        let handled = app.clone();
        let mut client = serve(way, move |request| {
            let app = handled.clone();
            async move {
                let answer = app.answer(request).await;
                assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
                forbidden()
            }
        })
        .await;
        client.send(&upgrade()).await;
        let (head, body) = client.response().await;
        assert!(head.starts_with("HTTP/1.1 403 ") && body == "not you\n", "{head}{body}");
        assert!(told.next().await.contains("the 101 was not sent: another answer was"));
        // It goes on, or it ends, but nobody writes there.
        client.send(&masked(TEXT, b"hello")).await;
        let rest = client.rest().await;
        let echo = frame(TEXT, b"hello");
        assert!(!rest.windows(echo.len()).any(|window| window == echo), "{way:?}: {rest:?}");
        drop(client);
        told.ended(&app).await;
    }
}

/// A layer that limits the time drops the handler, which holds the upgrade, and answers itself.
#[tokio::test]
async fn a_handler_that_is_dropped_before_it_answers_upgrades_nothing() {
    for way in WAYS {
        let (app, told) = App::new();
        let handled = app.clone();
        let mut client = serve(way, move |mut request| {
            let app = handled.clone();
            async move {
                let slow = async {
                    let upgrade = app.upgrade(&mut request).unwrap();
                    std::future::pending::<()>().await;
                    upgrade.listener(app.echo())
                };
                tokio::time::timeout(Duration::from_millis(1), slow).await.unwrap_or_else(|_| forbidden())
            }
        })
        .await;
        client.send(&upgrade()).await;
        let (head, body) = client.response().await;
        assert!(head.starts_with("HTTP/1.1 403 ") && body == "not you\n", "{head}{body}");
        drop(client);
        told.ended(&app).await;
    }
}

/// Where a handler waits, and when it is to go on.
#[derive(Clone, Default)]
struct Gate {
    here: Arc<Notify>,
    open: Arc<Notify>,
}

impl Gate {
    async fn wait(&self) {
        self.here.notify_one();
        self.open.notified().await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_leaves_nothing() {
    for way in WAYS {
        let (app, told) = App::new();
        let (handled, gate) = (app.clone(), Gate::default());
        let waiting = gate.clone();
        let mut client = serve(way, move |mut request| {
            let (app, gate) = (handled.clone(), waiting.clone());
            async move {
                let upgrade = app.upgrade(&mut request).unwrap();
                gate.wait().await;
                upgrade.listener(app.echo())
            }
        })
        .await;
        client.send(&upgrade()).await;
        within(gate.here.notified()).await;
        drop(client);
        // hyper notices, and drops the handler.
        told.ended(&app).await;
    }
}

/// The answer is made, and never sent.
#[tokio::test]
async fn a_client_that_leaves_behind_the_answer_is_told_to_the_owner() {
    for way in WAYS {
        let (app, mut told) = App::new();
        let (handled, gate) = (app.clone(), Gate::default());
        let waiting = gate.clone();
        let mut client = serve(way, move |request| {
            let (app, gate) = (handled.clone(), waiting.clone());
            async move {
                let answer = app.answer(request).await;
                gate.wait().await;
                answer
            }
        })
        .await;
        client.send(&upgrade()).await;
        within(gate.here.notified()).await;
        drop(client);
        assert!(told.next().await.starts_with("owner: "));
        told.ended(&app).await;
    }
}

#[tokio::test]
async fn a_handler_that_panics_upgrades_nothing() {
    for way in WAYS {
        for answered in [false, true] {
            let (app, mut told) = App::new();
            let handled = app.clone();
            let (mut client, server) = served(way, move |mut request| {
                let app = handled.clone();
                async move {
                    let upgrade = app.upgrade(&mut request).unwrap();
                    if answered {
                        drop(upgrade.listener(app.echo()));
                    }
                    // Without a message on stderr.
                    panic::resume_unwind(Box::new("out of order"))
                }
            })
            .await;
            client.send(&upgrade()).await;
            assert_eq!(client.rest().await, b"");
            assert!(within(server).await.unwrap_err().is_panic());
            if answered {
                assert!(told.next().await.starts_with("owner: "));
            }
            told.ended(&app).await;
        }
    }
}

#[tokio::test]
async fn a_listener_that_panics_ends_its_own_connection() {
    for way in WAYS {
        let (app, mut told) = App::new();
        let handled = app.clone();
        let mut client = serve(way, move |mut request| {
            let app = handled.clone();
            async move {
                let listener = app.echo().on_open(|_| panic::resume_unwind(Box::new("out of order")));
                app.upgrade(&mut request).unwrap().listener(listener)
            }
        })
        .await;
        client.send(&upgrade()).await;
        assert!(client.head().await.starts_with("HTTP/1.1 101 "));
        let close = client.exactly(4).await;
        assert_eq!((close[0], &close[2..]), (0x80 | CLOSE, &1011_u16.to_be_bytes()[..]));
        drop(client);
        told.expect(&["close 1011"]).await;
        told.ended(&app).await;
    }
}

#[tokio::test]
async fn who_asks_during_a_shutdown_gets_a_503() {
    for way in WAYS {
        let (app, told) = App::new();
        app.connections.close_all();
        let handled = app.clone();
        let mut client = serve(way, move |request| handled.clone().answer(request)).await;
        client.send(&upgrade()).await;
        let (head, body) = client.response().await;
        assert!(head.starts_with("HTTP/1.1 503 ") && body.contains("shutting down"), "{head}{body}");
        drop(client);
        told.ended(&app).await;
    }
}

#[tokio::test]
async fn a_handler_that_answers_after_a_shutdown_gives_a_503() {
    for way in WAYS {
        let (app, told) = App::new();
        let (handled, gate) = (app.clone(), Gate::default());
        let waiting = gate.clone();
        let mut client = serve(way, move |mut request| {
            let (app, gate) = (handled.clone(), waiting.clone());
            async move {
                let upgrade = app.upgrade(&mut request).unwrap();
                gate.wait().await;
                upgrade.listener(app.echo())
            }
        })
        .await;
        client.send(&upgrade()).await;
        within(gate.here.notified()).await;
        assert_eq!(within(app.connections.shutdown(Duration::ZERO)).await, 0);
        gate.open.notify_one();
        let (head, body) = client.response().await;
        assert!(head.starts_with("HTTP/1.1 503 ") && body.contains("shutting down"), "{head}{body}");
        drop(client);
        told.ended(&app).await;
    }
}

/// The answer is made when the shutdown begins, and its client has not got it yet: it opens, and is told 1001.
#[tokio::test]
async fn a_shutdown_waits_for_an_upgrade_that_was_accepted() {
    for way in WAYS {
        let (app, mut told) = App::new();
        let (handled, gate) = (app.clone(), Gate::default());
        let waiting = gate.clone();
        let mut client = serve(way, move |request| {
            let (app, gate) = (handled.clone(), waiting.clone());
            async move {
                let answer = app.answer(request).await;
                gate.wait().await;
                answer
            }
        })
        .await;
        client.send(&upgrade()).await;
        within(gate.here.notified()).await;
        let shutdown = app.connections.shutdown(Duration::from_secs(60));
        let talk = async move {
            gate.open.notify_one();
            assert!(client.head().await.starts_with("HTTP/1.1 101 "));
            let close = frame(CLOSE, b"\x03\xe9Server Shutdown");
            assert_eq!(client.exactly(close.len()).await, close);
            client.send(&masked(CLOSE, &1001_u16.to_be_bytes())).await;
            assert_eq!(client.rest().await, b"");
            drop(client);
        };
        let (dropped, ()) = within(async { tokio::join!(shutdown, talk) }).await;
        assert_eq!(dropped, 0);
        told.expect(&["open", "close 1001"]).await;
        told.ended(&app).await;
    }
}

/// It takes longer than the shutdown.
#[tokio::test]
async fn an_upgrade_that_comes_after_the_shutdown_is_dropped() {
    for way in WAYS {
        let (app, mut told) = App::new();
        let (handled, gate) = (app.clone(), Gate::default());
        let waiting = gate.clone();
        let mut client = serve(way, move |request| {
            let (app, gate) = (handled.clone(), waiting.clone());
            async move {
                let answer = app.answer(request).await;
                gate.wait().await;
                answer
            }
        })
        .await;
        client.send(&upgrade()).await;
        within(gate.here.notified()).await;
        assert_eq!(within(app.connections.shutdown(Duration::ZERO)).await, 1);
        assert!(told.next().await.contains("the server has shut down"));
        gate.open.notify_one();
        assert!(client.head().await.starts_with("HTTP/1.1 101 "));
        assert_eq!(client.rest().await, b"");
        told.ended(&app).await;
    }
}
