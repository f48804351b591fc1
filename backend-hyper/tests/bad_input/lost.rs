//! Upgrades that were accepted, and do not come or come late.

use std::convert::Infallible;
use std::panic;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bellwire_hyper::Body;
use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use hyper::body::Incoming;
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
    // hyper lets go of a connection that it closes, and keeps one that goes on.
    for (way, connection) in WAYS.into_iter().flat_map(|way| [(way, "close"), (way, "keep-alive")]) {
        let (app, mut told) = App::new();
        let handled = app.clone();
        let mut client = serve(way, move |request| {
            let app = handled.clone();
            async move {
                let answer = app.answer(request).await;
                assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
                let mut answer = forbidden();
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static(connection));
                answer
            }
        })
        .await;
        let mut bytes = upgrade();
        bytes.extend(masked(TEXT, b"hello"));
        client.send(&bytes).await;
        let (head, body) = client.response().await;
        assert!(head.starts_with("HTTP/1.1 403 ") && body == "not you\n", "{head}{body}");
        // Because of that, or since hyper finds no request first.
        assert!(told.next().await.starts_with("owner: a request was not upgraded: "));
        // It ends, or goes on and finds no request, but nobody echoes.
        let rest = client.rest().await;
        let echo = frame(TEXT, b"hello");
        assert!(!rest.windows(echo.len()).any(|window| window == echo), "{way:?}: {rest:?}");
        drop(client);
        told.ended(&app).await;
    }
}

/// A body of a middleware's, which says what it knows of the one inside, or not.
struct Around<const TELLS: bool>(Body);

impl<const TELLS: bool> http_body::Body for Around<TELLS> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        TELLS && self.0.is_end_stream()
    }
}

async fn around<const TELLS: bool>(app: App, request: Request<Incoming>) -> Response<Around<TELLS>> {
    app.answer(request).await.map(Around)
}

/// Whether hyper was given another body or none looks the same from here.
#[tokio::test]
async fn a_body_around_the_one_of_a_101_passes_its_end_on_or_there_is_no_websocket() {
    let (app, mut told) = App::new();
    for tells in [true, false] {
        let handled = app.clone();
        let mut client = if tells {
            serve(Way::Tcp, move |request| around::<true>(handled.clone(), request)).await
        } else {
            serve(Way::Tcp, move |request| around::<false>(handled.clone(), request)).await
        };
        client.send(&upgrade()).await;
        assert!(client.head().await.starts_with("HTTP/1.1 101 "));
        if tells {
            told.expect(&["open"]).await;
            drop(client);
            told.expect(&["close 1006"]).await;
        } else {
            assert!(told.next().await.contains("keeps is_end_stream from the one inside of it"));
            assert_eq!(client.rest().await, b"");
        }
    }
    told.ended(&app).await;
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
            let (mut client, server) = served::<_, Body>(way, move |mut request| {
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
