//! The sockets in one room.

use std::collections::HashMap;
use std::sync::Arc;

use bellwire_core::{SocketId, WebSocket};

/// The sockets in one room: a list to go through, and where in it each is.
#[derive(Default)]
pub(super) struct Members {
    /// Shared with whoever sends to them at the moment: it is copied only if somebody joins or leaves meanwhile.
    sockets: Arc<Vec<WebSocket>>,
    indices: HashMap<SocketId, usize>,
}

impl Members {
    /// Adds one that is not in it.
    pub(super) fn add(&mut self, socket: WebSocket) {
        self.indices.insert(socket.id(), self.sockets.len());
        Arc::make_mut(&mut self.sockets).push(socket);
    }

    pub(super) fn remove(&mut self, socket: SocketId) {
        let Some(index) = self.indices.remove(&socket) else { return };
        let sockets = Arc::make_mut(&mut self.sockets);
        sockets.swap_remove(index);
        if let Some(moved) = sockets.get(index) {
            self.indices.insert(moved.id(), index);
        }
    }

    pub(super) fn snapshot(&self) -> Arc<Vec<WebSocket>> {
        self.sockets.clone()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bellwire_core::testing::Recorder;

    #[test]
    fn those_who_left_are_gone_and_the_others_are_still_found() {
        let sockets: Vec<_> = (0..4).map(|_| Recorder::new().socket()).collect();
        let mut members = Members::default();
        sockets.iter().for_each(|socket| members.add(socket.clone()));
        let before = members.snapshot();
        for index in [1, 3, 0, 0, 2] {
            members.remove(sockets[index].id());
            assert!(!members.snapshot().contains(&sockets[index]));
        }
        assert!(members.is_empty() && members.indices.is_empty());
        assert_eq!(*before, sockets);
    }
}
