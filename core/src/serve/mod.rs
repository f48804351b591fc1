//! A server without its transport: its handler, its open connections, and what its owner is told.

pub mod report;
mod responder;
mod service;

pub use responder::{Answer, Responder};
pub(crate) use service::{Asked, Waiting, panic_message};
pub use service::{ServerError, Service};
