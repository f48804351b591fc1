//! error: goes to `serve`
use bellwire::{Request, Response};

fn handler(_: &Request) -> Response {
    Response::not_found()
}

fn main() {
    let _ = bellwire::tokio::serve_async("127.0.0.1:0", handler);
}
