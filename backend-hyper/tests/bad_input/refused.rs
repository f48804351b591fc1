//! Requests that are not upgraded: status and text, and what the owner is told.

use bellwire_core::Config;
use bellwire_hyper::Rejection;
use http::StatusCode;
use hyper::upgrade::OnUpgrade;

use super::common::{App, WAYS, Way, frame, masked, request, serve, upgrade};

/// A client is refused so, in words, on a connection that goes on after it.
async fn refused(bytes: &[u8], status: &str, text: &str, lines: &[&str]) {
    for way in WAYS {
        let (app, mut told) = App::new();
        let handled = app.clone();
        let mut client = serve(way, move |request| handled.clone().answer(request)).await;
        client.send(bytes).await;
        let (head, body) = client.response().await;
        assert!(head.starts_with(&format!("{status} ")), "{way:?}: {head}");
        assert!(body.contains(text) && body.ends_with('\n'), "{way:?}: {body}");
        for line in lines {
            assert!(head.contains(line), "{way:?}: {line}: {head}");
        }
        assert!(!head.contains("sec-websocket-accept"), "{head}");
        let report = told.next().await;
        assert!(report.starts_with("owner: request") && report.contains(body.trim_end()), "{report}");
        drop(client);
        told.ended(&app).await;
    }
}

#[tokio::test]
async fn each_broken_rule_has_its_status_and_its_text() {
    const GET: &str = "GET /chat HTTP/1.1";
    for (first, changed, status, text, lines) in [
        ("POST / HTTP/1.1", &[][..], "HTTP/1.1 405", "use GET, HEAD or OPTIONS", &["allow: GET, HEAD, OPTIONS"][..]),
        ("HEAD / HTTP/1.1", &["Upgrade", "Connection"], "HTTP/1.1 426", "", &["upgrade: websocket"]),
        ("GET / HTTP/1.0", &[], "HTTP/1.0 426", "HTTP/1.0 has no upgrades", &["upgrade: websocket"]),
        (GET, &["Upgrade", "Connection"], "HTTP/1.1 426", "This is a WebSocket endpoint", &["upgrade: websocket"]),
        (GET, &["Connection: keep-alive"], "HTTP/1.1 400", "Connection lacks the token Upgrade", &[]),
        (
            GET,
            &["Sec-WebSocket-Version: 8"],
            "HTTP/1.1 426",
            "send Sec-WebSocket-Version: 13",
            &["sec-websocket-version: 13"],
        ),
        (GET, &["Sec-WebSocket-Key"], "HTTP/1.1 400", "Invalid Sec-WebSocket-Key", &[]),
        (GET, &["Sec-WebSocket-Protocol: a, a"], "HTTP/1.1 400", "Invalid Sec-WebSocket-Protocol", &[]),
        (GET, &["Sec-WebSocket-Extensions: ;"], "HTTP/1.1 400", "Malformed Sec-WebSocket-Extensions", &[]),
        (GET, &["Origin: https://evil.example"], "HTTP/1.1 403", "the page is from \"https://evil.example\"", &[]),
        (GET, &["Host: a b"], "HTTP/1.1 400", "Invalid Host", &[]),
        (GET, &["Content-Length: 5"], "HTTP/1.1 400", "must not have a body", &[]),
        (GET, &["Transfer-Encoding: chunked"], "HTTP/1.1 400", "must not have a body", &[]),
    ] {
        if first.starts_with("HEAD") {
            continue;
        }
        refused(&request(first, changed), status, text, lines).await;
    }
}

#[tokio::test]
async fn a_connection_serves_on_after_a_refusal() {
    for way in WAYS {
        let (app, mut told) = App::new();
        let handled = app.clone();
        let mut client = serve(way, move |request| handled.clone().answer(request)).await;
        client.send(&request("GET / HTTP/1.1", &["Sec-WebSocket-Version: 7"])).await;
        assert!(client.response().await.0.starts_with("HTTP/1.1 426 "));
        let report = told.next().await;
        assert!(report.starts_with("owner: request for \"/\" refused: "), "{report}");
        client.send(&upgrade()).await;
        assert!(client.head().await.starts_with("HTTP/1.1 101 "));
        told.expect(&["open"]).await;
        drop(client);
        told.expect(&["close 1006"]).await;
        told.ended(&app).await;
    }
}

/// What a refused client sends behind its request is no WebSocket's.
#[tokio::test]
async fn frames_behind_a_refused_request_go_nowhere() {
    for way in WAYS {
        let (app, mut told) = App::new();
        let handled = app.clone();
        let mut client = serve(way, move |request| handled.clone().answer(request)).await;
        let mut bytes = request("GET / HTTP/1.1", &["Origin: https://evil.example"]);
        bytes.extend(masked(super::common::TEXT, b"hello"));
        client.send(&bytes).await;
        assert!(client.response().await.0.starts_with("HTTP/1.1 403 "));
        assert!(told.next().await.contains("Origin not allowed"));
        // hyper takes the frame for a request, which is malformed.
        let rest = client.rest().await;
        let echo = frame(super::common::TEXT, b"hello");
        assert!(!rest.windows(echo.len()).any(|window| window == echo), "{rest:?}");
        drop(client);
        told.ended(&app).await;
    }
}

#[tokio::test]
async fn a_request_without_hypers_upgrade_is_told_apart() {
    let (app, mut told) = App::new();
    let (mut parts, ()) = http::Request::get("/")
        .header("Host", "localhost")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Version", "13")
        .body(())
        .unwrap()
        .into_parts();
    parts.extensions.insert(app.connections.clone());
    let rejection = bellwire_hyper::WebSocketUpgrade::from_parts(&mut parts).unwrap_err();
    assert_eq!(rejection.to_response().status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(rejection.to_string().contains("no hyper::upgrade::OnUpgrade"), "{rejection}");
    assert!(told.next().await.contains("no hyper::upgrade::OnUpgrade"));
    told.ended(&app).await;
}

#[tokio::test]
async fn the_second_extractor_finds_nothing_and_the_first_one_upgrades() {
    for way in WAYS {
        let (app, mut told) = App::new();
        let handled = app.clone();
        let mut client = serve(way, move |mut request| {
            let app = handled.clone();
            async move {
                let first = app.upgrade(&mut request).unwrap();
                let second = app.upgrade(&mut request).unwrap_err();
                assert_eq!(second, Rejection::NotUpgradable);
                first.listener(app.echo())
            }
        })
        .await;
        client.send(&upgrade()).await;
        assert!(client.head().await.starts_with("HTTP/1.1 101 "));
        assert!(told.next().await.contains("another extractor"));
        told.expect(&["open"]).await;
        drop(client);
        told.expect(&["close 1006"]).await;
        told.ended(&app).await;
    }
}

/// A middleware that answers by itself.
#[tokio::test]
async fn the_first_extractor_that_is_dropped_upgrades_nothing() {
    for way in WAYS {
        let (app, mut told) = App::new();
        let handled = app.clone();
        let mut client = serve(way, move |mut request| {
            let app = handled.clone();
            async move {
                drop(app.upgrade(&mut request).unwrap());
                assert!(request.extensions().get::<OnUpgrade>().is_none());
                app.upgrade(&mut request).unwrap_err().to_response()
            }
        })
        .await;
        client.send(&upgrade()).await;
        let (head, body) = client.response().await;
        assert!(head.starts_with("HTTP/1.1 500 ") && body.contains("upgrade once"), "{head}{body}");
        assert!(told.next().await.contains("another extractor"));
        drop(client);
        told.ended(&app).await;
    }
}

#[tokio::test]
async fn an_invalid_config_is_a_500_and_is_told_to_the_owner() {
    let timeout = Some(std::time::Duration::ZERO);
    for (config, of_upgrade, option) in [
        (Config::default().open_timeout(timeout), None, "open_timeout"),
        (Config::default().keepalive_interval(timeout), None, "keepalive_interval"),
        (Config::default().max_head(3), Some(Config::default()), "max_head"),
        (Config::default(), Some(Config::default().pong_timeout(timeout)), "pong_timeout"),
    ] {
        let (app, mut told) = App::with(config);
        let handled = app.clone();
        let mut client = serve(Way::Tcp, move |mut request| {
            let (app, of_upgrade) = (handled.clone(), of_upgrade.clone());
            async move {
                let upgrade = app.upgrade(&mut request).unwrap();
                match of_upgrade {
                    Some(config) => upgrade.config(config).listener(app.echo()),
                    None => upgrade.listener(app.echo()),
                }
            }
        })
        .await;
        client.send(&upgrade()).await;
        let (head, body) = client.response().await;
        assert!(head.starts_with("HTTP/1.1 500 ") && !body.contains(option), "{head}{body}");
        let report = told.next().await;
        assert!(report.starts_with("owner: ") && report.contains(option), "{report}");
        drop(client);
        told.ended(&app).await;
    }
}
