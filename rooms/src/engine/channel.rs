//! What nodes subscribe to and publish on at a broker.

use std::sync::Arc;

/// What nodes subscribe to and publish on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Channel {
    /// That of a room, by its token.
    Room(Arc<str>),
    /// That of all nodes.
    Nodes,
}

impl Channel {
    /// What the broker calls it. `prefix` is that of the application.
    pub(crate) fn name(&self, prefix: &str) -> String {
        match self {
            Self::Room(token) => format!("{prefix}.room.{token}"),
            Self::Nodes => format!("{prefix}.nodes"),
        }
    }
}

/// A channel by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named<'a> {
    Room(&'a str),
    Nodes,
}

/// The channel of this name, if it is one of the application's.
pub(crate) fn named<'a>(prefix: &str, name: &'a str) -> Option<Named<'a>> {
    match name.strip_prefix(prefix)?.strip_prefix('.')? {
        "nodes" => Some(Named::Nodes),
        rest => rest.strip_prefix("room.").map(Named::Room),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_found_by_its_name() {
        assert_eq!(named("app", &Channel::Room("a=2Eb".into()).name("app")), Some(Named::Room("a=2Eb")));
        assert_eq!(named("app", &Channel::Nodes.name("app")), Some(Named::Nodes));
    }

    #[test]
    fn what_belongs_to_another_application_is_no_channel() {
        for name in ["", "app", "app.", "apple.nodes", "other.room.a", "app.rooms.a", "app.node"] {
            assert_eq!(named("app", name), None, "{name}");
        }
    }
}
