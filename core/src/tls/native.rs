//! TLS by [native-tls](https://docs.rs/native-tls): that of the operating system. It wants to read and write by itself,
//! and is given two buffers for that.

use alloc::vec::Vec;
use core::mem;
use std::io::{self, ErrorKind, IoSlice, Read, Write};

use native_tls::{HandshakeError, MidHandshakeTlsStream, TlsAcceptor, TlsConnector, TlsStream};

use super::{TlsError, truncated};

/// While so much is unsent, no more is encrypted.
const MAX_UNSENT: usize = 64 * 1024;

/// One end of a connection.
pub(super) struct Session {
    state: State,
}

enum State {
    Shaking(MidHandshakeTlsStream<Pipe>),
    Open(TlsStream<Pipe>),
    /// The handshake has failed: what is left to be said to the peer.
    Failed(Pipe),
}

/// Both directions of what would be a socket.
#[derive(Default)]
struct Pipe {
    input: Vec<u8>,
    taken: usize,
    /// Something was taken.
    begun: bool,
    eof: bool,
    output: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut rest = self.input.get(self.taken..).unwrap_or_default();
        if rest.is_empty() {
            // Not the end: OpenSSL would take that for the peer's `close_notify`.
            return Err(if self.eof { truncated() } else { ErrorKind::WouldBlock.into() });
        }
        let count = rest.read(buffer)?;
        self.taken += count;
        self.begun |= count > 0;
        if self.taken == self.input.len() {
            (self.input, self.taken) = (Vec::new(), 0);
        }
        Ok(count)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Session {
    pub(super) fn client(connector: &TlsConnector, host: &str) -> Result<Self, TlsError> {
        let state = begun(connector.connect(host, Pipe::default())).map_err(|(error, _)| error)?;
        Ok(Self { state })
    }

    pub(super) fn server(acceptor: &TlsAcceptor) -> Self {
        let state = begun(acceptor.accept(Pipe::default())).unwrap_or_else(|(_, pipe)| State::Failed(pipe));
        Self { state }
    }

    pub(super) fn receive(&mut self, input: &mut &[u8]) -> Result<(), TlsError> {
        let pipe = self.pipe_mut();
        if !pipe.begun && input.first().is_some_and(|&first| !is_tls(first)) {
            self.state = State::Failed(Pipe::default());
            return Err(TlsError::NotTls);
        }
        pipe.input.extend_from_slice(input);
        *input = &[];
        self.shake_hands()
    }

    pub(super) fn receive_eof(&mut self) {
        self.pipe_mut().eof = true;
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.state {
            State::Open(tls) => tls.read(buffer).map_err(broken),
            State::Shaking(_) => Err(ErrorKind::WouldBlock.into()),
            State::Failed(_) => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let tls = match &mut self.state {
            State::Open(tls) => tls,
            State::Shaking(_) => return Err(ErrorKind::WouldBlock.into()),
            State::Failed(_) => return Err(ErrorKind::BrokenPipe.into()),
        };
        if tls.get_ref().output.len() >= MAX_UNSENT {
            return Err(ErrorKind::WouldBlock.into());
        }
        match slices {
            [slice] => tls.write(slice),
            // One record, not one for each.
            slices => tls.write(&slices.iter().flat_map(|slice| slice.iter().copied()).collect::<Vec<u8>>()),
        }
    }

    pub(super) fn close(&mut self) {
        if let State::Open(tls) = &mut self.state {
            // It would wait for the peer's answer, which need not come.
            let _ = tls.shutdown();
        }
    }

    pub(super) fn wants_write(&self) -> bool {
        !self.pipe().output.is_empty()
    }

    pub(super) fn write_tls(&mut self, transport: &mut dyn Write) -> io::Result<usize> {
        let output = &mut self.pipe_mut().output;
        let count = transport.write(output)?;
        drop(output.drain(..count.min(output.len())));
        if output.is_empty() {
            *output = Vec::new();
        }
        Ok(count)
    }

    pub(super) fn is_handshaking(&self) -> bool {
        matches!(self.state, State::Shaking(_))
    }

    fn shake_hands(&mut self) -> Result<(), TlsError> {
        let state = match mem::replace(&mut self.state, State::Failed(Pipe::default())) {
            State::Shaking(tls) => begun(tls.handshake()),
            other => Ok(other),
        };
        match state {
            Ok(state) => {
                self.state = state;
                Ok(())
            }
            Err((error, pipe)) => {
                self.state = State::Failed(pipe);
                Err(error)
            }
        }
    }

    fn pipe(&self) -> &Pipe {
        match &self.state {
            State::Shaking(tls) => tls.get_ref(),
            State::Open(tls) => tls.get_ref(),
            State::Failed(pipe) => pipe,
        }
    }

    fn pipe_mut(&mut self) -> &mut Pipe {
        match &mut self.state {
            State::Shaking(tls) => tls.get_mut(),
            State::Open(tls) => tls.get_mut(),
            State::Failed(pipe) => pipe,
        }
    }
}

/// What is wrong with what came after the handshake: an alert, say.
fn broken(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::UnexpectedEof => error,
        _ => io::Error::new(ErrorKind::InvalidData, TlsError::Protocol(error.into())),
    }
}

/// RFC 8446 §5.1: a record begins with its type. A connection begins with a message of the handshake, or with an alert.
fn is_tls(first: u8) -> bool {
    matches!(first, 21 | 22)
}

/// What a step of the handshake has come to.
fn begun(step: Result<TlsStream<Pipe>, HandshakeError<Pipe>>) -> Result<State, (TlsError, Pipe)> {
    match step {
        Ok(tls) => Ok(State::Open(tls)),
        Err(HandshakeError::WouldBlock(tls)) => Ok(State::Shaking(tls)),
        // native-tls keeps its alert to itself, and does not tell certificates from other failures.
        Err(HandshakeError::Failure(error)) => Err((failed(error), Pipe::default())),
    }
}

fn failed(error: native_tls::Error) -> TlsError {
    TlsError::Protocol(error.into())
}

/// Returns what connects with the roots of the system.
#[cfg(not(feature = "__rustls"))]
pub(super) fn platform() -> Result<TlsConnector, TlsError> {
    let mut builder = TlsConnector::builder();
    builder.request_alpns(&[super::ALPN]).build().map_err(|error| TlsError::Setup(error.into()))
}
