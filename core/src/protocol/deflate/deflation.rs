//! The side that sends: messages are deflated.

use alloc::boxed::Box;

use super::codec::{Compressor, Mark, Settings};
use super::history::History;
use super::pool;
use crate::config::{Config, Deflate};
use crate::context::Window;

/// What a connection remembers of the messages that it sent compressed.
#[derive(Default)]
pub(in crate::protocol) struct Deflation {
    history: History,
    /// The last of these messages, if a compressor of the thread may remember it.
    last: Option<Mark>,
    /// Instead of the thread's, and instead of the history.
    own: Option<Box<Compressor>>,
    /// Something was sent since the last [rest](Self::rest).
    is_in_use: bool,
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
        if payload.is_empty() {
            // RFC 7692 §7.2.3.6. The codec would write nothing right after another message.
            send(&[0x00]);
            return true;
        }
        if !remembers(window, config) {
            return alone(payload, window, config, send);
        }
        let memory = memory.get_or_insert_default();
        memory.is_in_use = true;
        if config.own_compressor {
            let own = memory.own.get_or_insert_with(|| Box::new(Compressor::new(Settings::new(window, config))));
            return compress(own, payload, config, send);
        }
        let mut compressor = pool::compressor(Settings::new(window, config));
        // If it comes right from this connection's last message, it remembers that and what was before.
        if memory.last.is_none() || memory.last != compressor.last {
            compressor.reset();
            compressor.remember(memory.history.pieces());
        }
        let is_sent = compress(&mut compressor, payload, config, send);
        compressor.last = if is_sent { Mark::next() } else { None };
        memory.last = compressor.last;
        pool::keep_compressor(compressor);
        if is_sent {
            memory.history.push(payload, config.history.min(window.history()));
        }
        is_sent
    }

    /// Takes note of a message that was compressed alone, elsewhere: the next one may refer to it.
    pub(in crate::protocol) fn sent_alone(
        memory: &mut Option<Box<Self>>,
        payload: &[u8],
        window: Window,
        config: &Config,
    ) {
        let Some(config) = config.deflate.as_ref().filter(|config| remembers(window, config)) else { return };
        let memory = memory.get_or_insert_default();
        memory.is_in_use = true;
        memory.last = None;
        if let Some(own) = &mut memory.own {
            // It has not seen the message, and would count wrongly how far back the ones before are.
            own.reset();
        } else if !config.own_compressor {
            memory.history.push(payload, config.history.min(window.history()));
        }
    }

    /// Forgets what was sent, if nothing was since the last time. RFC 7692 obliges no sender to refer to anything.
    pub(in crate::protocol) fn rest(memory: &mut Option<Box<Self>>) {
        if let Some(deflation) = memory {
            if !core::mem::take(&mut deflation.is_in_use) {
                *memory = None;
            }
        }
    }
}

fn remembers(window: Window, config: &Deflate) -> bool {
    !window.no_context_takeover && (config.own_compressor || config.history > 0)
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
pub(super) fn alone(payload: &[u8], window: Window, config: &Deflate, send: impl FnOnce(&[u8])) -> bool {
    let mut compressor = pool::compressor(Settings::new(window, config));
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
