//! error: `AsyncResponse::websocket`
use bellwire::{Response, async_listener};

fn main() {
    let _ = Response::websocket(async_listener());
}
