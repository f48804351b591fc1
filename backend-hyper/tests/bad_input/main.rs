//! What goes wrong between a client, hyper, an application and its WebSockets: what each of them is told, and that nothing hangs
//! and nothing stays.

mod common;
mod glued;
mod http2;
mod lost;
mod refused;
