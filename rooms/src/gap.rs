//! What members may have missed.

use std::time::Duration;

use bellwire_core::WebSocket;

/// What may have been missed, and why: see [`Builder::on_gap`](crate::Builder::on_gap).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// The rooms whose members on this node may have missed messages of others, or messages of this node.
    pub rooms: Vec<String>,
    /// The member that alone may have missed something, since it has come back with [what is not kept any
    /// more](crate::Rooms::join_since). `None` if it is all members of those rooms.
    pub member: Option<WebSocket>,
    /// For how long there was no connection to the broker; zero if messages were lost on a connection that stayed.
    pub away: Duration,
    /// How many messages of this node were on their way when the connection was lost. The members of any node may have got
    /// them, or not.
    pub in_doubt: usize,
}
