//! What is measured.

use crate::deflate::Context;
use crate::frames::{Content, Shape};

pub struct Scenario {
    pub name: &'static str,
    pub title: &'static str,
    pub load: Load,
    pub tls: bool,
}

#[derive(Clone, Copy)]
pub enum Load {
    /// Messages are echoed.
    Echo { connections: usize, shape: Shape },
    /// Connections are open and quiet: at first new, then after an echo on each.
    Idle { connections: usize, echo: usize },
    /// Connections are opened and closed.
    Churn { connections: usize, at_once: usize },
}

const fn echo(connections: usize, content: Content, length: usize, fragments: usize, depth: usize) -> Load {
    Load::Echo { connections, shape: Shape { content, length, fragments, depth, deflate: None } }
}

const fn deflate(connections: usize, length: usize, depth: usize, context: Context) -> Load {
    let shape = Shape { content: Content::Json, length, fragments: 1, depth, deflate: Some(context) };
    Load::Echo { connections, shape }
}

impl Scenario {
    /// Whether messages are compressed.
    pub fn deflate(&self) -> Option<Context> {
        if let Load::Echo { shape, .. } = self.load { shape.deflate } else { None }
    }
}

pub const SCENARIOS: [Scenario; 14] = [
    Scenario {
        name: "small",
        title: "32 B of text, one at a time, 64 connections",
        load: echo(64, Content::Text, 32, 1, 1),
        tls: false,
    },
    Scenario {
        name: "pipelined",
        title: "32 B of text, 64 at a time, 64 connections",
        load: echo(64, Content::Text, 32, 1, 64),
        tls: false,
    },
    Scenario {
        name: "text",
        title: "1 KiB of multilingual text, one at a time, 200 connections",
        load: echo(200, Content::Multilingual, 1024, 1, 1),
        tls: false,
    },
    Scenario {
        name: "fragments",
        title: "1 KiB of multilingual text in 4 fragments, 4 at a time, 64 connections",
        load: echo(64, Content::Multilingual, 1024, 4, 4),
        tls: false,
    },
    Scenario {
        name: "binary",
        title: "64 KiB of binary data, 2 at a time, 16 connections",
        load: echo(16, Content::Binary, 64 * 1024, 1, 2),
        tls: false,
    },
    Scenario {
        name: "large",
        title: "1 MiB of multilingual text, one at a time, 4 connections",
        load: echo(4, Content::Multilingual, 1 << 20, 1, 1),
        tls: false,
    },
    Scenario {
        name: "deflate",
        title: "1 KiB of JSON, compressed without context takeover, 4 at a time, 16 connections",
        load: deflate(16, 1024, 4, Context::Alone),
        tls: false,
    },
    Scenario {
        name: "deflate-takeover",
        title: "300 B of JSON, compressed with context takeover, one at a time, 500 connections",
        load: deflate(500, 300, 1, Context::Takeover),
        tls: false,
    },
    Scenario {
        name: "idle",
        title: "Memory of an idle connection",
        load: Load::Idle { connections: 5000, echo: 16 * 1024 },
        tls: false,
    },
    Scenario {
        name: "churn",
        title: "Connections opened, upgraded and closed, 32 at once",
        load: Load::Churn { connections: 3200, at_once: 32 },
        tls: false,
    },
    Scenario {
        name: "tls",
        title: "32 B of text over TLS, one at a time, 64 connections",
        load: echo(64, Content::Text, 32, 1, 1),
        tls: true,
    },
    Scenario {
        name: "tls-pipelined",
        title: "32 B of text over TLS, 64 at a time, 64 connections",
        load: echo(64, Content::Text, 32, 1, 64),
        tls: true,
    },
    Scenario {
        name: "tls-binary",
        title: "64 KiB of binary data over TLS, 2 at a time, 16 connections",
        load: echo(16, Content::Binary, 64 * 1024, 1, 2),
        tls: true,
    },
    Scenario {
        name: "tls-idle",
        title: "Memory of an idle connection over TLS",
        load: Load::Idle { connections: 5000, echo: 16 * 1024 },
        tls: true,
    },
];
