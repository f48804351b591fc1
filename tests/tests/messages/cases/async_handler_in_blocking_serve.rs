//! error: `serve_async`
use bellwire::{Request, Response};

async fn handler(_: Request) -> Response {
    Response::not_found()
}

fn main() {
    let _ = bellwire::blocking::serve("127.0.0.1:0", handler);
}
