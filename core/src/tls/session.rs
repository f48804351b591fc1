//! One end of a TLS connection, whatever library speaks for it.

use alloc::boxed::Box;
use core::fmt;
use std::io::{self, ErrorKind, IoSlice, Write};

use super::config::{Client, Server};
use super::{ClientTls, ServerTls, TlsError};

/// One end of a TLS connection: encrypted bytes go in with [`receive`](Self::receive) and come out with
/// [`write_tls`](Self::write_tls), plain ones with [`read`](Self::read) and [`write`](Self::write). It neither waits nor
/// knows what carries the bytes.
pub struct Session {
    kind: Kind,
    /// Something has come.
    received: bool,
    eof: bool,
    /// What has come is not what it should be.
    failed: bool,
}

/// RFC 8446 §5.1: "TLSPlaintext records carrying data in chunks of 2^14 bytes or less".
const MAX_RECORD: usize = 1 << 14;

/// How many slices are looked at for one record.
const MAX_SLICES: usize = 32;

enum Kind {
    #[cfg(feature = "__rustls")]
    Rustls(Box<super::rustls::Session>),
    #[cfg(feature = "native-tls")]
    Native(Box<super::native::Session>),
}

/// Calls the same method of whatever session it is.
macro_rules! each {
    ($kind:expr, $session:ident => $call:expr) => {
        match $kind {
            #[cfg(feature = "__rustls")]
            Kind::Rustls($session) => $call,
            #[cfg(feature = "native-tls")]
            Kind::Native($session) => $call,
        }
    };
}

impl Session {
    /// Starts a client's end. `host` is a name or an address, without brackets; the zone of an IPv6 address is left out,
    /// since certificates have none. With no `tls`, it is that of the [platform](ClientTls::platform).
    ///
    /// # Errors
    /// [`TlsError::Name`], [`TlsError::Setup`].
    pub fn client(tls: Option<&ClientTls>, host: &str) -> Result<Self, TlsError> {
        let platform;
        let tls = match tls {
            Some(tls) => tls,
            None => {
                platform = ClientTls::platform()?;
                &platform
            }
        };
        let host = host.split('%').next().unwrap_or(host);
        Ok(Self::new(match &tls.0 {
            #[cfg(feature = "__rustls")]
            Client::Rustls(config) => Kind::Rustls(Box::new(super::rustls::Session::client(config, host)?)),
            #[cfg(feature = "native-tls")]
            Client::Native(connector) => Kind::Native(Box::new(super::native::Session::client(connector, host)?)),
        }))
    }

    /// Starts a server's end.
    ///
    /// # Errors
    /// [`TlsError::Setup`].
    pub fn server(tls: &ServerTls) -> Result<Self, TlsError> {
        Ok(Self::new(match &tls.0 {
            #[cfg(feature = "__rustls")]
            Server::Rustls(config) => Kind::Rustls(Box::new(super::rustls::Session::server(config)?)),
            #[cfg(feature = "native-tls")]
            Server::Native(acceptor) => Kind::Native(Box::new(super::native::Session::server(acceptor))),
        }))
    }

    fn new(kind: Kind) -> Self {
        Self { kind, received: false, eof: false, failed: false }
    }

    /// Takes encrypted bytes from the front of `input`: some of them, until there is something to [read](Self::read).
    ///
    /// # Errors
    /// If they are not what they should be, or the peer is not to be trusted. An alert that says so is left in the
    /// output.
    pub fn receive(&mut self, input: &mut &[u8]) -> Result<(), TlsError> {
        self.received = true;
        let result = each!(&mut self.kind, session => session.receive(input));
        self.failed |= result.is_err();
        result
    }

    /// Reports that no more encrypted bytes will come.
    pub fn receive_eof(&mut self) {
        self.eof = true;
        each!(&mut self.kind, session => session.receive_eof());
    }

    /// Reads plain bytes; 0 when the peer has said that nothing more comes, or has left before it said anything.
    ///
    /// # Errors
    /// [`WouldBlock`](ErrorKind::WouldBlock) if more encrypted bytes are needed,
    /// [`UnexpectedEof`](ErrorKind::UnexpectedEof) if none will come and the peer has not said so.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.eof && self.is_handshaking() {
            return if self.received { Err(io::Error::new(ErrorKind::UnexpectedEof, TlsError::Eof)) } else { Ok(0) };
        }
        each!(&mut self.kind, session => session.read(buffer))
    }

    /// Encrypts some of the plain bytes in `slices`: no more than one record has, so that whoever fails to write all of
    /// that knows that the peer has nothing of it.
    ///
    /// # Errors
    /// [`WouldBlock`](ErrorKind::WouldBlock) during the handshake, and while enough of the output is unsent;
    /// [`BrokenPipe`](ErrorKind::BrokenPipe) after what has [failed](Self::receive).
    pub fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.failed {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let (mut part, mut room) = ([IoSlice::new(&[]); MAX_SLICES], MAX_RECORD);
        for (place, slice) in part.iter_mut().zip(slices) {
            *place = IoSlice::new(slice.get(..room).unwrap_or(slice));
            room -= place.len();
        }
        each!(&mut self.kind, session => session.write(part.get(..slices.len()).unwrap_or(&part)))
    }

    /// Says that nothing more will be written (`close_notify`).
    pub fn close(&mut self) {
        each!(&mut self.kind, session => session.close());
    }

    /// Returns `true` if there are encrypted bytes to send.
    pub fn wants_write(&self) -> bool {
        each!(&self.kind, session => session.wants_write())
    }

    /// Writes encrypted bytes to what carries them, in one call of its `write` or `write_vectored`.
    ///
    /// # Errors
    /// Those of `transport`. Nothing is lost then.
    pub fn write_tls(&mut self, transport: &mut dyn Write) -> io::Result<usize> {
        each!(&mut self.kind, session => session.write_tls(transport))
    }

    /// Returns `true` until both sides are sure of each other.
    pub fn is_handshaking(&self) -> bool {
        each!(&self.kind, session => session.is_handshaking())
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("is_handshaking", &self.is_handshaking()).finish_non_exhaustive()
    }
}
