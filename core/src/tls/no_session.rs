//! What stands in for a session when no library for TLS is built in: it cannot be started.

use core::convert::Infallible;
use std::io::{self, IoSlice, Write};

use super::{ClientTls, ServerTls, TlsError};

/// One end of a TLS connection, of which there is none without the feature `rustls` or `native-tls`.
#[derive(Debug)]
pub struct Session(Infallible);

#[allow(missing_docs, clippy::missing_errors_doc)]
impl Session {
    pub fn client(_: Option<&ClientTls>, _: &str) -> Result<Self, TlsError> {
        Err(TlsError::NotBuiltIn)
    }

    pub fn server(_: &ServerTls) -> Result<Self, TlsError> {
        Err(TlsError::NotBuiltIn)
    }

    pub fn receive(&mut self, _: &mut &[u8]) -> Result<(), TlsError> {
        match self.0 {}
    }

    pub fn receive_eof(&mut self) {
        match self.0 {}
    }

    pub fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }

    pub fn write(&mut self, _: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.0 {}
    }

    pub fn close(&mut self) {
        match self.0 {}
    }

    pub fn wants_write(&self) -> bool {
        match self.0 {}
    }

    pub fn write_tls(&mut self, _: &mut dyn Write) -> io::Result<usize> {
        match self.0 {}
    }

    pub fn is_handshaking(&self) -> bool {
        match self.0 {}
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn without_a_library_there_is_no_session_and_the_error_says_which_feature_to_turn_on() {
        let error = Session::client(None, "localhost").unwrap_err();
        assert!(matches!(error, TlsError::NotBuiltIn) && error.to_string().contains("`rustls`"), "{error}");
    }
}
