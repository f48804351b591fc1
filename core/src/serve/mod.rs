//! A server without its transport: its handler, its connections, and what its owner is told.

mod answering;
mod error;
mod registry;
pub mod report;
mod responder;
mod service;
mod slab;

pub use error::ServerError;
pub use registry::{Registration, Registry, Stage};
pub use responder::{Answer, Responder};
pub use service::Service;
pub(crate) use service::{Asked, PendingAnswer};
pub(crate) use slab::Place;
