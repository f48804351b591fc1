//! How messages are compressed.

use super::InvalidConfig;

/// RFC 7692 §7.1.2.1: "a decimal integer value without leading zeroes between 8 to 15, inclusive, indicating the base-2
/// logarithm of the LZ77 sliding window size".
pub(crate) const WINDOW_BITS: core::ops::RangeInclusive<u8> = 8..=15;

/// How messages are compressed with permessage-deflate (RFC 7692), for both roles: for [`Config::deflate`].
///
/// The parameters that are negotiated have the RFC's names, and say what this side wishes. What both sides agreed on is
/// what [`WebSocket::compression`](crate::WebSocket::compression) says.
///
/// All connections of a thread share one compressor, so that a connection costs what it remembers and nothing else:
/// see [`history`](Self::history) and [`client_max_window_bits`](Self::client_max_window_bits).
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::Config;
/// use bellwire::config::Deflate;
///
/// let config = Config::default().deflate(Deflate::default().level(1).threshold(256));
/// ```
///
/// # Secrets
/// The length of a compressed message tells something about it. Where an attacker can have text of their own beside a
/// secret, in one message or in those before it, and sees the lengths, that text finds out the secret piece by piece
/// (CRIME, BREACH). Send such messages [uncompressed](crate::Outgoing::uncompressed).
///
/// [`Config::deflate`]: super::Config::deflate
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deflate {
    /// How hard the compressor tries, from 0 (it only wraps) over 1 (fast) to 9 (small). Default 6.
    pub level: u8,
    /// How much memory the compressor spends on what it has not written yet, from 1 to 9. Default 5: a block of output ends
    /// after 2,048 symbols. It is cleared for each message, so more is slower for small ones, and makes large ones a little
    /// smaller.
    pub mem_level: u8,
    /// Messages of fewer bytes are sent as they are. Default 64. With 0, all are compressed, empty ones included, and
    /// also those that get no shorter.
    pub threshold: usize,
    /// How many of the bytes that were sent compressed a connection remembers, for the next message to refer to. Default
    /// 4 KiB; at most the window counts. With [no context takeover](Self::server_no_context_takeover) it remembers none.
    /// While no other connection of its thread sends, all of the window may be referred to, unless this is 0.
    pub history: usize,
    /// Whether each connection has a compressor of its own, with the whole window as its history: about 280 KiB each.
    /// Faster and a little smaller for few and busy connections, slower and much larger for many. It forgets everything
    /// when a message gets no shorter, and when a server sends a [`Prepared`](crate::Prepared). Default `false`.
    pub own_compressor: bool,
    /// Whether the server compresses each message by itself, so that neither side remembers what it sent. Default
    /// `false`.
    pub server_no_context_takeover: bool,
    /// The same for what the client sends.
    pub client_no_context_takeover: bool,
    /// The largest window that the server compresses with, from 8 to 15: 2 to the power of this many bytes. Default 15.
    pub server_max_window_bits: u8,
    /// The same for what the client sends: so much of it a server remembers, of each client that lets itself be told.
    /// Browsers do. Default 12: 4 KiB. A client that does not offer this may use 32 KiB.
    pub client_max_window_bits: u8,
}

impl Default for Deflate {
    fn default() -> Self {
        Self {
            level: 6,
            mem_level: 5,
            threshold: 64,
            history: 4096,
            own_compressor: false,
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: *WINDOW_BITS.end(),
            client_max_window_bits: 12,
        }
    }
}

impl Deflate {
    setters! {
        /// Sets how hard the compressor tries, from 0 to 9.
        level(level: u8) = level;
        /// Sets how much memory the compressor spends, from 1 to 9.
        mem_level(level: u8) = level;
        /// Sets from how many bytes on a message is compressed.
        threshold(bytes: usize) = bytes;
        /// Sets how many sent bytes a connection remembers.
        history(bytes: usize) = bytes;
        /// Sets whether each connection has a compressor of its own.
        own_compressor(own: bool) = own;
        /// Sets whether the server compresses each message by itself.
        server_no_context_takeover(alone: bool) = alone;
        /// Sets whether the client compresses each message by itself.
        client_no_context_takeover(alone: bool) = alone;
        /// Sets the largest window of the server's messages, from 8 to 15.
        server_max_window_bits(bits: u8) = bits;
        /// Sets the largest window of the client's messages, from 8 to 15.
        client_max_window_bits(bits: u8) = bits;
    }

    /// Neither side remembers anything between two messages.
    #[must_use]
    pub fn no_context_takeover(self) -> Self {
        self.server_no_context_takeover(true).client_no_context_takeover(true)
    }

    /// Returns the same with windows that there are: a [`Config`](super::Config) need not have been checked.
    pub(crate) fn with_valid_windows(self) -> Self {
        let valid = |bits: u8| bits.clamp(*WINDOW_BITS.start(), *WINDOW_BITS.end());
        Self {
            server_max_window_bits: valid(self.server_max_window_bits),
            client_max_window_bits: valid(self.client_max_window_bits),
            ..self
        }
    }

    pub(super) fn check(&self) -> Result<(), InvalidConfig> {
        let invalid = |option, advice| Err(InvalidConfig { option, timeout: None, advice });
        if self.level > 9 {
            return invalid("deflate.level", "set 0 to 9");
        }
        if !(1..=9).contains(&self.mem_level) {
            return invalid("deflate.mem_level", "set 1 to 9");
        }
        if !WINDOW_BITS.contains(&self.server_max_window_bits) {
            return invalid("deflate.server_max_window_bits", "set 8 to 15");
        }
        if !WINDOW_BITS.contains(&self.client_max_window_bits) {
            return invalid("deflate.client_max_window_bits", "set 8 to 15");
        }
        Ok(())
    }
}
