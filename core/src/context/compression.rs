//! What both sides have agreed on.

use core::fmt;

/// The largest window, of 32 KiB.
pub(crate) const MAX_WINDOW_BITS: u8 = 15;

/// How both sides compress, as the opening handshake has negotiated it: permessage-deflate with these parameters (RFC
/// 7692 §7.1).
///
/// Printed as the header `Sec-WebSocket-Extensions` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Compression {
    pub(crate) server: Window,
    pub(crate) client: Window,
    /// The server's window is the largest one, and was negotiated as such.
    pub(crate) names_largest_window: bool,
}

/// What the messages of one side may refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Window {
    /// RFC 7692 §7.1.2: "the base-2 logarithm of the LZ77 sliding window size".
    pub(crate) bits: u8,
    /// Nothing before the message itself.
    pub(crate) no_context_takeover: bool,
}

impl Compression {
    /// Returns `true` if the server compresses each message by itself.
    pub fn server_no_context_takeover(&self) -> bool {
        self.server.no_context_takeover
    }

    /// Returns `true` if the client compresses each message by itself.
    pub fn client_no_context_takeover(&self) -> bool {
        self.client.no_context_takeover
    }

    /// Returns the base-2 logarithm of the server's window in bytes, from 8 to 15.
    pub fn server_max_window_bits(&self) -> u8 {
        self.server.bits
    }

    /// Returns the base-2 logarithm of the client's window in bytes, from 8 to 15.
    pub fn client_max_window_bits(&self) -> u8 {
        self.client.bits
    }
}

impl Default for Window {
    fn default() -> Self {
        Self { bits: MAX_WINDOW_BITS, no_context_takeover: false }
    }
}

impl Window {
    /// Returns how many bytes of earlier messages a message may refer to.
    pub(crate) fn history(self) -> usize {
        if self.no_context_takeover { 0 } else { 1 << self.bits }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("permessage-deflate")?;
        for (side, window, is_named) in
            [("server", self.server, self.names_largest_window), ("client", self.client, false)]
        {
            if window.no_context_takeover {
                write!(f, "; {side}_no_context_takeover")?;
            }
            if window.bits < MAX_WINDOW_BITS || is_named {
                write!(f, "; {side}_max_window_bits={}", window.bits)?;
            }
        }
        Ok(())
    }
}
