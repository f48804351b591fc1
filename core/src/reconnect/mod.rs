//! Clients that connect again: when a lost connection is tried again, which failures are final, what becomes of messages
//! meanwhile, and what happens along the way.
//!
//! [`Policy`] says how, `reconnecting` of the runtime's module makes a client of it, and [`Reconnecting`] or
//! [`ReconnectingStream`] is what a program has in its hands then. [`Backoff`] is the sans-IO part, for a loop of your own.

mod backoff;
#[cfg(feature = "std")]
mod carried;
#[cfg(feature = "std")]
mod ended;
mod failure;
#[cfg(feature = "std")]
mod handle;
#[cfg(feature = "std")]
mod link;
mod policy;
#[cfg(feature = "std")]
mod queues;
mod retry_after;
#[cfg(feature = "std")]
mod stream;
#[cfg(feature = "std")]
mod tracked;
#[cfg(feature = "std")]
mod waiting;

pub use backoff::{Backoff, Next};
#[cfg(feature = "std")]
pub(crate) use carried::{Carried, Make};
#[cfg(feature = "std")]
pub use ended::{Connected, Disconnected, EndReason, Ended};
pub use failure::Failure;
#[cfg(feature = "std")]
pub use handle::Reconnecting;
#[cfg(feature = "std")]
pub(crate) use link::{Link, Lost};
pub use policy::{Offline, Policy};
#[cfg(feature = "std")]
pub(crate) use stream::Feed;
#[cfg(feature = "std")]
pub use stream::{Event, ReconnectingStream};
