//! The side that sends: messages are deflated.

use alloc::boxed::Box;

use super::codec::{Compressor, Settings};
use super::history::History;
use super::pool;
use crate::compression::Window;
use crate::config::{Config, Deflate};

/// What a connection remembers of the messages that it sent compressed.
#[derive(Default)]
pub(in crate::protocol) struct Deflation {
    history: History,
    /// Instead of the thread's, and instead of the history.
    own: Option<Box<Compressor>>,
}

impl Deflation {
    /// Compresses a message, after those that `memory` has, and hands the result to `send`. Returns `false`, and has done
    /// nothing, if it gets no shorter.
    pub(in crate::protocol) fn message(
        memory: &mut Option<Box<Self>>,
        payload: &[u8],
        window: Window,
        config: &Config,
        send: impl FnOnce(&[u8]),
    ) -> bool {
        let Some(config) = &config.deflate else { return false };
        let settings = Settings::new(window, config);
        let most = config.history.min(window.history());
        if most == 0 && !config.own_compressor || window.no_context_takeover {
            return alone(settings, payload, config, send);
        }
        let memory = memory.get_or_insert_default();
        if config.own_compressor {
            let own = memory.own.get_or_insert_with(|| Box::new(Compressor::new(settings)));
            return compress(own, payload, config, send);
        }
        let mut compressor = pool::compressor(settings);
        compressor.reset();
        compressor.remember(memory.history.pieces());
        let is_sent = compress(&mut compressor, payload, config, send);
        pool::keep_compressor(compressor);
        if is_sent {
            memory.history.push(payload, most);
        }
        is_sent
    }

    /// Takes note of a message that was sent compressed by itself.
    pub(in crate::protocol) fn sent_alone(&mut self, payload: &[u8], window: Window, config: &Deflate) {
        match &mut self.own {
            // It has not seen the message, so it cannot refer to what was before.
            Some(own) => own.reset(),
            None => self.history.push(payload, config.history.min(window.history())),
        }
    }

    /// Forgets what was sent. RFC 7692 does not oblige a sender to refer to anything.
    pub(in crate::protocol) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Settings {
    fn new(window: Window, config: &Deflate) -> Self {
        Self { level: config.level, mem_level: config.mem_level, window_bits: window.bits }
    }
}

/// Returns `true` if a message is long enough to be compressed.
pub(in crate::protocol) fn compresses(payload: &[u8], config: &Config) -> bool {
    config.deflate.as_ref().is_some_and(|deflate| payload.len() >= deflate.threshold)
}

/// Compresses a message that refers to no other.
fn alone(settings: Settings, payload: &[u8], config: &Deflate, send: impl FnOnce(&[u8])) -> bool {
    let mut compressor = pool::compressor(settings);
    compressor.reset();
    let is_sent = compress(&mut compressor, payload, config, send);
    pool::keep_compressor(compressor);
    is_sent
}

fn compress(compressor: &mut Compressor, payload: &[u8], config: &Deflate, send: impl FnOnce(&[u8])) -> bool {
    pool::with_compressed(|scratch| match compressor.compress(payload, scratch) {
        Some(compressed) if compressed.len() < payload.len() || config.threshold == 0 => {
            send(compressed);
            true
        }
        _ => {
            // The peer does not see this message compressed, so none may refer to it.
            compressor.reset();
            false
        }
    })
}
