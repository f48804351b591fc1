//! A server without its transport: its handler, its connections, and what its owner is told.

mod answering;
mod error;
mod proxy_protocol;
mod registry;
mod problem;
pub mod report;
mod responder;
mod service;
mod slab;

pub use error::ServerError;
pub use proxy_protocol::ProxyProtocolError;
pub use registry::{Registration, Registry, Stage};
pub use responder::{Answer, Responder};
pub use service::Service;
pub(crate) use service::{Asked, PendingAnswer};
pub(crate) use slab::{Key, Place};
