//! SOCKS5 (RFC 1928), with user name and password (RFC 1929).

use alloc::vec::Vec;
use core::mem;

use super::tunnel::Host;
use super::{ProxyError, SocksFailure};
use crate::http::Credentials;
use crate::input::take;

/// RFC 1928 §3: "The VER field is set to X'05' for this version of the protocol."
const VERSION: u8 = 5;

/// RFC 1929 §2: "The VER field contains the current version of the subnegotiation, which is X'01'."
const AUTH_VERSION: u8 = 1;

// RFC 1928 §3: the values of METHOD.
const NO_AUTHENTICATION: u8 = 0;
const USERNAME_PASSWORD: u8 = 2;
const NO_ACCEPTABLE_METHODS: u8 = 0xff;

/// RFC 1928 §4: the value of CMD.
const CONNECT: u8 = 1;

/// RFC 1928 §6: "Fields marked RESERVED (RSV) must be set to X'00'."
const RESERVED: u8 = 0;

/// RFC 1928 §6: the value of REP that is no failure.
const SUCCEEDED: u8 = 0;

// RFC 1928 §4: the values of ATYP.
const IPV4: u8 = 1;
const DOMAIN_NAME: u8 = 3;
const IPV6: u8 = 4;

pub(super) struct Socks5 {
    output: Vec<u8>,
    written: usize,
    /// Sent if the proxy wants them.
    credentials: Option<Vec<u8>>,
    request: Vec<u8>,
    awaited: Awaited,
    /// What has come of the message that is awaited.
    message: Vec<u8>,
}

/// The proxy's message that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    Method,
    /// Whether the credentials are right.
    Status,
    Reply,
    Nothing,
}

impl Socks5 {
    /// Takes what [`encode_credentials`] has made. Returns `None` if the host's name is too long.
    pub(super) fn new(credentials: Option<Vec<u8>>, host: Host<'_>, port: u16) -> Option<Self> {
        // RFC 1928 §3: "The client connects to the server, and sends a version identifier/method selection message".
        let output = match credentials {
            Some(_) => Vec::from([VERSION, 2, NO_AUTHENTICATION, USERNAME_PASSWORD]),
            None => Vec::from([VERSION, 1, NO_AUTHENTICATION]),
        };
        let request = encode_request(host, port)?;
        Some(Self { output, written: 0, credentials, request, awaited: Awaited::Method, message: Vec::new() })
    }

    pub(super) fn output(&self) -> &[u8] {
        self.output.get(self.written..).unwrap_or_default()
    }

    pub(super) fn wrote(&mut self, n: usize) {
        self.written = self.written.saturating_add(n).min(self.output.len());
    }

    pub(super) fn receive(&mut self, input: &mut &mut [u8]) -> Option<Result<(), ProxyError>> {
        while self.awaited != Awaited::Nothing {
            let length = self.length();
            self.message.extend_from_slice(take(input, length.saturating_sub(self.message.len())));
            if self.message.len() < length {
                return None;
            }
            if let Err(error) = self.check() {
                self.finish();
                return Some(Err(error));
            }
            // What has come may tell that the message is longer.
            if self.message.len() == self.length() {
                self.go_on();
                if self.awaited == Awaited::Nothing {
                    return Some(Ok(()));
                }
            }
        }
        None
    }

    pub(super) fn finish(&mut self) {
        self.awaited = Awaited::Nothing;
    }

    /// Returns how many bytes of the message are needed to go on, as far as the beginning of it tells.
    fn length(&self) -> usize {
        match (self.awaited, &*self.message) {
            // RFC 1928 §6: VER, REP, RSV, ATYP, BND.ADDR, and two bytes of BND.PORT.
            (Awaited::Reply, [_, _, _, IPV4, ..]) => 4 + 4 + 2,
            (Awaited::Reply, [_, _, _, IPV6, ..]) => 4 + 16 + 2,
            // RFC 1928 §5: "The first octet of the address field contains the number of octets of name that follow".
            (Awaited::Reply, [_, _, _, DOMAIN_NAME, length, ..]) => 5 + usize::from(*length) + 2,
            (Awaited::Reply, [_, _, _, _, ..]) => 5,
            (Awaited::Reply, [_, _, ..]) => 4,
            // A reply that refuses may end here, as the messages before it do.
            _ => 2,
        }
    }

    /// Judges a message, or the beginning of one.
    fn check(&self) -> Result<(), ProxyError> {
        match (self.awaited, &*self.message) {
            // RFC 1929 §2: "A STATUS field of X'00' indicates success." Its version is no matter: there are servers
            // that send another.
            (Awaited::Status, [_, 0]) => Ok(()),
            (Awaited::Status, _) => Err(ProxyError::CredentialsRefused),
            (_, [version, ..]) if *version != VERSION => Err(ProxyError::NotSocks5),
            (Awaited::Method, [_, NO_AUTHENTICATION]) => Ok(()),
            (Awaited::Method, [_, USERNAME_PASSWORD]) if self.credentials.is_some() => Ok(()),
            // RFC 1928 §3: "If the selected METHOD is X'FF', none of the methods listed by the client are acceptable,
            // and the client MUST close the connection."
            (Awaited::Method, [_, NO_ACCEPTABLE_METHODS]) if self.credentials.is_some() => Err(ProxyError::NoMethod),
            (Awaited::Method, [_, NO_ACCEPTABLE_METHODS]) => Err(ProxyError::CredentialsNeeded),
            (Awaited::Method, _) => Err(ProxyError::NotSocks5),
            (Awaited::Reply, [_, code, ..]) if *code != SUCCEEDED => Err(ProxyError::Socks(SocksFailure::from(*code))),
            (Awaited::Reply, [_, _, _, IPV4 | DOMAIN_NAME | IPV6, ..]) => Ok(()),
            (Awaited::Reply, [_, _, _, _, ..]) => Err(ProxyError::NotSocks5),
            (Awaited::Reply | Awaited::Nothing, _) => Ok(()),
        }
    }

    /// Answers a whole message.
    fn go_on(&mut self) {
        let message = mem::take(&mut self.message);
        self.awaited = match (self.awaited, &*message, self.credentials.take()) {
            (Awaited::Method, [_, USERNAME_PASSWORD], Some(credentials)) => {
                self.output.extend(credentials);
                Awaited::Status
            }
            (Awaited::Method | Awaited::Status, ..) => {
                self.output.append(&mut self.request);
                Awaited::Reply
            }
            (Awaited::Reply | Awaited::Nothing, ..) => Awaited::Nothing,
        };
    }
}

/// RFC 1929 §2: VER, ULEN, UNAME, PLEN, PASSWD. Returns `None` if they are too long.
///
/// It has lengths from 1 on; clients send an empty password, too, since there are users without one.
pub(super) fn encode_credentials(credentials: &Credentials) -> Option<Vec<u8>> {
    let mut message = Vec::from([AUTH_VERSION]);
    for part in [&credentials.user, &credentials.password] {
        message.push(u8::try_from(part.len()).ok()?);
        message.extend_from_slice(part);
    }
    Some(message)
}

/// RFC 1928 §4: VER, CMD, RSV, ATYP, DST.ADDR, DST.PORT. Returns `None` if the name is too long.
fn encode_request(host: Host<'_>, port: u16) -> Option<Vec<u8>> {
    let mut request = Vec::from([VERSION, CONNECT, RESERVED]);
    match host {
        Host::V4(address) => {
            request.push(IPV4);
            request.extend(address.octets());
        }
        Host::V6(address) => {
            request.push(IPV6);
            request.extend(address.octets());
        }
        Host::Name(name) => {
            request.extend([DOMAIN_NAME, u8::try_from(name.len()).ok()?]);
            request.extend(name.bytes());
        }
    }
    request.extend(port.to_be_bytes());
    Some(request)
}
