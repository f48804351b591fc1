//! TLS in memory: two ends against each other, however their bytes are cut, and a transport in TLS over one that is
//! slow, takes little at a time, or ends. No sockets, no clock.
#![forbid(unsafe_code)]

mod ends;
mod slices;
mod transport;

use std::io::{ErrorKind, IoSlice};
use std::mem;
use std::sync::{Arc, LazyLock};

use bellwire::backend::Session;
use bellwire::{ClientTls, ServerTls, TlsError};
use bellwire_tests::Trust;
use native_tls::{Certificate, Identity, TlsAcceptor, TlsConnector};
use rustls::client::Resumption;

/// Who speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Library {
    Rustls,
    Native,
}
use Library::{Native, Rustls};

/// Client and server.
const PAIRS: [[Library; 2]; 4] = [[Rustls, Rustls], [Native, Native], [Native, Rustls], [Rustls, Native]];

/// Each handshake is a whole one: a session that is resumed says less.
static CLIENT: LazyLock<ClientTls> = LazyLock::new(|| {
    let mut config = Arc::unwrap_or_clone(Trust::shared().client());
    config.resumption = Resumption::disabled();
    config.into()
});

static NATIVE_CLIENT: LazyLock<ClientTls> = LazyLock::new(|| {
    let root = Certificate::from_pem(Trust::shared().root_pem().as_bytes()).unwrap();
    TlsConnector::builder().disable_built_in_roots(true).add_root_certificate(root).build().unwrap().into()
});

static SERVER: LazyLock<ServerTls> = LazyLock::new(|| Trust::shared().server().into());

static NATIVE_SERVER: LazyLock<ServerTls> = LazyLock::new(|| {
    let shown = Trust::shared().certify(&["localhost"]);
    let identity = Identity::from_pkcs8(shown.certificate_pem.as_bytes(), shown.key_pem.as_bytes()).unwrap();
    TlsAcceptor::new(identity).unwrap().into()
});

fn client(library: Library) -> Session {
    let tls = if library == Rustls { &*CLIENT } else { &*NATIVE_CLIENT };
    Session::client(Some(tls), "localhost").unwrap()
}

fn server(library: Library) -> Session {
    Session::server(if library == Rustls { &SERVER } else { &NATIVE_SERVER }).unwrap()
}

/// A session, what is said through it, and what was heard.
struct End {
    session: Session,
    says: Vec<u8>,
    said: usize,
    heard: Vec<u8>,
    /// Heard from the peer.
    ended: bool,
}

impl End {
    fn new(session: Session) -> Self {
        Self { session, says: Vec::new(), said: 0, heard: Vec::new(), ended: false }
    }

    fn saying(session: Session, says: impl Into<Vec<u8>>) -> Self {
        Self { says: says.into(), ..Self::new(session) }
    }

    /// Says as much as there is room for; `true` if that is all.
    fn speak(&mut self) -> bool {
        while self.said < self.says.len() {
            match self.session.write(&[IoSlice::new(&self.says[self.said..])]) {
                Ok(count) => self.said += count,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                    return false;
                }
            }
        }
        !self.session.is_handshaking()
    }

    /// Hears encrypted bytes.
    fn hear(&mut self, mut bytes: &[u8]) -> Result<(), TlsError> {
        while !bytes.is_empty() && !self.ended {
            let (left, heard) = (bytes.len(), self.heard.len());
            self.session.receive(&mut bytes)?;
            self.read()?;
            assert!(bytes.len() < left || self.heard.len() > heard || self.ended, "it takes nothing and gives nothing");
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), TlsError> {
        let mut buffer = [0; 1000];
        while !self.ended {
            match self.session.read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(count) => self.heard.extend(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // An alert, for instance.
                Err(error) => return Err(TlsError::Protocol(error.into())),
            }
        }
        Ok(())
    }

    /// Takes the encrypted bytes that are to be sent.
    fn output(&mut self) -> Vec<u8> {
        let mut output = Vec::new();
        while self.session.wants_write() {
            assert!(self.session.write_tls(&mut output).unwrap() > 0);
        }
        output
    }

    fn take_heard(&mut self) -> Vec<u8> {
        mem::take(&mut self.heard)
    }
}

/// Bytes that are nowhere the same for long.
fn noise(count: usize) -> Vec<u8> {
    (0..count as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}
