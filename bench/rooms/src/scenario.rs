//! What is measured.

/// A room, and what is published in it.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub nodes: usize,
    /// Members on each node.
    pub members: usize,
    /// Bytes of a message.
    pub length: usize,
}

const fn scenario(name: &'static str, nodes: usize, members: usize, length: usize) -> Scenario {
    Scenario { name, nodes, members, length }
}

pub const SCENARIOS: &[Scenario] = &[
    scenario("one-32", 1, 1000, 32),
    scenario("one-1k", 1, 1000, 1024),
    scenario("two-32", 2, 500, 32),
    scenario("two-1k", 2, 500, 1024),
    scenario("two-full-32", 2, 1000, 32),
    scenario("two-full-1k", 2, 1000, 1024),
];

impl Scenario {
    pub fn title(&self) -> String {
        let nodes = if self.nodes == 1 { "one node".to_owned() } else { format!("each of {} nodes", self.nodes) };
        format!("{}: {} bytes to {} members on {nodes}", self.name, self.length, self.members)
    }
}
