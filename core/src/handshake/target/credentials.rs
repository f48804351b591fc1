//! What a client shows to be let in: a password, a token, cookies.

use core::fmt;

use super::Target;
use crate::handshake::connect_error::ConnectError;
use crate::http::{Credentials, is_cookie_value, is_token, set_cookie};

/// The reason why credentials cannot be sent. It does not have them in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidCredentials {
    /// A user name has a colon, or it or the password has a control character (RFC 7617 §2).
    Basic,
    /// A bearer token is empty, or has other characters than RFC 6750 §2.1 allows.
    Bearer,
    /// A cookie's name is not a token (RFC 6265 §4.1.1).
    CookieName,
    /// A cookie's value has a blank, a quote, a comma, a semicolon, a backslash, a control character, or one beyond ASCII
    /// (RFC 6265 §4.1.1).
    CookieValue,
}

impl Target {
    /// Sets a user name and a password, which are sent as Basic credentials (RFC 7617) in UTF-8, in place of those in the
    /// URL and of any other `Authorization`. Over `ws://`, everybody on the way can read them.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::Target;
    ///
    /// let target = Target::new("wss://example.com/chat")?.basic_auth("Aladdin", "open sesame")?;
    /// assert!(!format!("{target:?}").contains("sesame"));
    /// # Ok::<(), bellwire::ConnectError>(())
    /// ```
    ///
    /// # Errors
    /// [`ConnectError::Credentials`] for a user name with a colon, which would end it, and for control characters.
    pub fn basic_auth(self, user: impl AsRef<str>, password: impl AsRef<str>) -> Result<Self, ConnectError> {
        let credentials = Credentials { user: user.as_ref().into(), password: password.as_ref().into() };
        Ok(self.authorization(&credentials.basic().ok_or(InvalidCredentials::Basic)?))
    }

    /// Sets a bearer token (RFC 6750), in place of credentials in the URL and of any other `Authorization`. Over `ws://`,
    /// everybody on the way can read it.
    ///
    /// # Errors
    /// [`ConnectError::Credentials`] for an empty token, and for one with other characters than letters, digits and
    /// `-._~+/`, and `=` at its end. [`header`](Self::header) sends any other.
    pub fn bearer(self, token: impl AsRef<str>) -> Result<Self, ConnectError> {
        let token = token.as_ref();
        if !is_bearer_token(token) {
            return Err(InvalidCredentials::Bearer.into());
        }
        Ok(self.authorization(&["Bearer ", token].concat()))
    }

    /// Adds a cookie, in place of one of the same name. All cookies are sent in one `Cookie` header. The value is sent as it
    /// is: encode what a cookie cannot have, as the server expects it.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::Target;
    ///
    /// let target = Target::new("wss://example.com/chat")?.cookie("session", "f00d")?.cookie("lang", "en")?;
    /// # Ok::<(), bellwire::ConnectError>(())
    /// ```
    ///
    /// # Errors
    /// [`ConnectError::Credentials`] for a name that is not a token, and for a value with blanks, quotes within, commas,
    /// semicolons, backslashes, control characters, or characters beyond ASCII. [`header`](Self::header) sends any other.
    pub fn cookie(mut self, name: &str, value: impl AsRef<str>) -> Result<Self, ConnectError> {
        let value = value.as_ref();
        // RFC 6265 §4.1.1: `cookie-name = token`.
        if !is_token(name.as_bytes()) {
            return Err(InvalidCredentials::CookieName.into());
        }
        if !is_cookie_value(value) {
            return Err(InvalidCredentials::CookieValue.into());
        }
        set_cookie(&mut self.headers, name, value);
        Ok(self)
    }

    fn authorization(mut self, value: &str) -> Self {
        self.headers.remove("Authorization");
        self.headers.push("Authorization", value.as_bytes());
        self
    }
}

/// RFC 6750 §2.1: `b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
fn is_bearer_token(token: &str) -> bool {
    let text = token.trim_end_matches('=');
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    !text.is_empty() && text.bytes().all(is_allowed)
}

impl From<InvalidCredentials> for ConnectError {
    fn from(error: InvalidCredentials) -> Self {
        Self::Credentials(error)
    }
}

impl fmt::Display for InvalidCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic => {
                "the user name has a colon, or it or the password a control character: Basic credentials cannot, so send \
                 another Authorization header instead"
            }
            Self::Bearer => {
                "the bearer token is empty, or has other characters than letters, digits and -._~+/, with = at its end: remove \
                 blanks around it, or set the header Authorization yourself"
            }
            Self::CookieName => {
                "the cookie's name is not a token: use letters, digits and !#$%&'*+-.^_`|~ only, and at least one"
            }
            Self::CookieValue => {
                "the cookie's value has a blank, a quote, a comma, a semicolon, a backslash, or what is not printable ASCII: \
                 encode it, with % for instance, or set the header Cookie yourself"
            }
        })
    }
}

impl core::error::Error for InvalidCredentials {}
