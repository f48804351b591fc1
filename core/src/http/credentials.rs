//! A user name and a password.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::percent::decode;

/// A user name and a password, either of which may be empty.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: Vec<u8>,
    pub(crate) password: Vec<u8>,
}

impl Credentials {
    /// Decodes what stands before the `@` of a URL. Returns `None` if both parts are empty.
    pub(crate) fn decode(user_info: &str) -> Option<Self> {
        let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        let (user, password) = (decode(user), decode(password));
        if user.is_empty() && password.is_empty() { None } else { Some(Self { user, password }) }
    }

    /// Decodes what stands behind `Basic`. Returns `None` for what is not Base64, has no colon, or has control characters.
    pub(crate) fn from_basic(encoded: &str) -> Option<Self> {
        let text = STANDARD.decode(encoded).ok()?;
        let colon = text.iter().position(|&byte| byte == b':')?;
        let (user, password) = text.split_at_checked(colon)?;
        let (user, password) = (user.to_vec(), password.get(1..)?.to_vec());
        if text.iter().any(u8::is_ascii_control) { None } else { Some(Self { user, password }) }
    }

    /// Returns the value of `Authorization`, or `None` if Basic credentials cannot carry them.
    ///
    /// RFC 7617 §2: "the user-id and password MUST NOT contain any control characters"; "a user-id containing a colon
    /// character is invalid, as the first colon in a user-pass string separates user-id and password from one another".
    pub(crate) fn basic(&self) -> Option<String> {
        let Self { user, password } = self;
        if user.contains(&b':') || user.iter().chain(password).any(u8::is_ascii_control) {
            return None;
        }
        let encoded = STANDARD.encode([&user[..], b":", password].concat());
        Some(format!("Basic {encoded}"))
    }
}

/// Shows neither: what is printed ends up in logs.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}
