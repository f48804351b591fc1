//! Connections that are made again when they are lost: when that is tried, and which failures are final.

mod backoff;
mod failure;
mod policy;
mod retry_after;

pub use backoff::{Backoff, Next};
pub use failure::Failure;
pub use policy::{Offline, Policy};
