//! WebSockets in applications of axum, with clients of bellwire, and requests written by hand.

mod extractor;
mod helpers;
mod http2;
mod layers;
mod mounted;
mod shutdown;
