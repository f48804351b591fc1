//! Who is present, over a broker: presence is told what came and what time it is, and what it says is published.

use super::channel::Named;
use super::{Channel, Publication};
use crate::core::Core;
use crate::node::NodeId;
use crate::presence::Output;
use crate::wire::{self, HEADER};

/// As many messages are published at a time.
const MOST: usize = 256;

/// Has presence do what it has planned, when it is due, whether there is a connection or not.
pub(super) async fn keep_time(core: &Core) {
    loop {
        let due = core.presence().poll_timeout();
        match due.map(|due| due.saturating_sub(core.now())) {
            Some(wait) if wait.is_zero() => {}
            Some(wait) => tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = core.link().presence_has_changed() => {}
            },
            None => core.link().presence_has_changed().await,
        }
        core.presence_is_due();
        // A hook that joins and leaves keeps nobody else from running.
        tokio::task::yield_now().await;
    }
}

impl Core {
    fn presence_is_due(&self) {
        let mut presence = self.presence();
        presence.handle_timeout(self.now());
        let has_output = presence.has_output();
        drop(presence);
        if has_output {
            self.link().wake();
        }
        self.tell_presence();
    }

    /// Something about who is present came from a node.
    pub(super) fn hear(&self, channel: Named<'_>, from: NodeId, bytes: &[u8]) {
        let room = match channel {
            Named::Room(token) => Some(token),
            Named::Nodes => None,
        };
        let heard = self.presence().receive(self.now(), room, from, bytes);
        match heard {
            // It is told by whoever keeps the time, so that a hook holds up nothing that comes.
            Ok(()) => self.link().presence_changed(),
            Err(_) => self.ignore(),
        }
    }

    /// Something of a room was missed, which may have been about who is present.
    pub(super) fn missed_presence(&self, token: &str) {
        self.presence().missed(self.now(), token);
        self.link().presence_changed();
    }

    /// All channels are subscribed to, of a broker that takes messages of so many bytes.
    pub(super) fn presence_connected(&self, max_payload: usize) {
        self.presence().connected(self.now(), max_payload.saturating_sub(HEADER));
        self.link().presence_changed();
    }

    /// The connection has ended.
    pub(super) fn presence_disconnected(&self) {
        self.presence().disconnected(self.now());
        self.link().presence_changed();
    }

    /// There will be no connection any more.
    pub(super) fn presence_over(&self) {
        self.presence().end(self.now());
        self.tell_presence();
    }

    /// Takes what presence has to say; when the rooms are closed, with its goodbye.
    pub(super) fn take_presence(&self, is_closing: bool) -> Vec<Publication> {
        let mut presence = self.presence();
        if is_closing {
            presence.farewell();
        }
        let outputs = std::iter::from_fn(|| presence.poll_output()).take(MOST);
        outputs.map(|output| publication(self.node, output)).collect()
    }
}

fn publication(node: NodeId, Output { room, bytes }: Output) -> Publication {
    Publication {
        channel: room.map_or(Channel::Nodes, Channel::Room),
        bytes: wire::presence(node, &bytes),
        keep: false,
    }
}

#[cfg(test)]
mod tests;
