//! What a trusted proxy says of the client, on its way to a handler.

use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc;

use bellwire_core::{Config, Request, Response};
use bellwire_hyper::PeerAddr;
use bellwire_hyper::tower::service;
use tower_service::Service;

#[tokio::test]
async fn a_handler_sees_the_client_behind_a_trusted_proxy() {
    let proxy = SocketAddr::from(([10, 0, 0, 1], 80));
    let client = IpAddr::from([192, 0, 2, 7]);
    for (trusted, expected) in [(true, client), (false, proxy.ip())] {
        let (seen, sees) = mpsc::channel();
        let mut config = Config::default();
        if trusted {
            config = config.trusted_proxies(["10.0.0.0/8"]).unwrap();
        }
        let mut handler = service(move |request: &Request| {
            seen.send(request.client_ip()).unwrap();
            Response::text("hello")
        })
        .config(config);
        let mut request = http::Request::get("/").header("Host", "h").header("X-Forwarded-For", "192.0.2.7");
        request.extensions_mut().unwrap().insert(PeerAddr(proxy));
        assert_eq!(handler.call(request.body(()).unwrap()).await.unwrap().status(), 200);
        assert_eq!(sees.recv().unwrap(), Some(expected));
    }
}
