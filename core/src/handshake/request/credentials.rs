//! What a client has shown to be let in.

use alloc::string::String;
use core::fmt;

use constant_time_eq::constant_time_eq;

use super::Request;
use crate::http::Credentials;

/// A user name and a password that came with a request: [`Request::basic_auth`]. `Debug` does not show them.
#[derive(Clone)]
pub struct BasicAuth {
    user: String,
    password: String,
}

/// A token that came with a request: [`Request::bearer`]. `Debug` does not show it.
#[derive(Clone, Copy)]
pub struct Bearer<'a> {
    token: &'a str,
}

impl Request {
    /// Returns the user name and the password of Basic credentials (RFC 7617), or `None` if there are none, if they cannot be
    /// decoded, are not UTF-8 or have control characters, or if there are several.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::{Request, Response, listener};
    ///
    /// fn app(request: &Request) -> Response {
    ///     match request.basic_auth() {
    ///         Some(auth) if auth.matches("Aladdin", "open sesame") => Response::websocket(listener()),
    ///         _ => Response::new(401).header("WWW-Authenticate", "Basic realm=\"chat\", charset=\"UTF-8\""),
    ///     }
    /// }
    /// # let request = Request::upgrade("/").with_header("Authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").unwrap();
    /// # assert!(app(&request).is_websocket());
    /// # assert!(!app(&Request::upgrade("/")).is_websocket());
    /// ```
    pub fn basic_auth(&self) -> Option<BasicAuth> {
        let Credentials { user, password } = Credentials::from_basic(self.authorization("Basic")?)?;
        Some(BasicAuth { user: String::from_utf8(user).ok()?, password: String::from_utf8(password).ok()? })
    }

    /// Returns the token of an `Authorization: Bearer` (RFC 6750), or `None` if there is none, or if there are several.
    pub fn bearer(&self) -> Option<Bearer<'_>> {
        let token = self.authorization("Bearer")?;
        let is_one = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        is_one.then_some(Bearer { token })
    }

    /// Returns what follows the scheme in `Authorization`.
    ///
    /// RFC 9110 §11.1: "It uses a case-insensitive token to identify the authentication scheme"; §11.4: `credentials =
    /// auth-scheme [ 1*SP ( token68 / #auth-param ) ]`.
    fn authorization(&self, scheme: &str) -> Option<&str> {
        let value = core::str::from_utf8(self.headers.single("Authorization")?).ok()?;
        let (used, credentials) = value.split_once(' ')?;
        used.eq_ignore_ascii_case(scheme).then_some(credentials.trim_matches(' '))
    }
}

impl BasicAuth {
    /// Returns the user name: what stands before the first colon.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns the password. To compare it, use [`matches`](Self::matches).
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Returns `true` if both are these.
    ///
    /// Both are always compared, and to the end: how long it takes does not tell how much of them is right, which whoever
    /// measures many answers could guess them by, a character at a time. What it does tell is whether the lengths are right.
    /// Looking up a user's password beforehand tells who is a user, if that takes longer than finding none.
    pub fn matches(&self, user: impl AsRef<str>, password: impl AsRef<str>) -> bool {
        let is_user = constant_time_eq(self.user.as_bytes(), user.as_ref().as_bytes());
        is_user & constant_time_eq(self.password.as_bytes(), password.as_ref().as_bytes())
    }
}

impl<'a> Bearer<'a> {
    /// Returns the token. To compare it with a secret, use [`matches`](Self::matches).
    pub fn token(&self) -> &'a str {
        self.token
    }

    /// Returns `true` if it is this one. It is always compared to the end: how long it takes does not tell how much of it is
    /// right, only whether its length is.
    pub fn matches(&self, token: impl AsRef<str>) -> bool {
        constant_time_eq(self.token.as_bytes(), token.as_ref().as_bytes())
    }
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicAuth").finish_non_exhaustive()
    }
}

impl fmt::Debug for Bearer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    fn with(authorization: &str) -> Request {
        Request::get("/").with_header("authorization", authorization).unwrap()
    }

    #[test]
    fn u19_basic_credentials_are_read() {
        for (value, user, password) in [
            // The examples of RFC 7617 §2 and §2.1.
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"),
            ("Basic dGVzdDoxMjPCow==", "test", "123£"),
            ("bAsIc   dTpwOnE= ", "u", "p:q"),
            ("Basic Og==", "", ""),
            ("Basic dTo=", "u", ""),
            ("Basic OnA=", "", "p"),
        ] {
            let request = with(value);
            let auth = request.basic_auth().unwrap();
            assert_eq!((auth.user(), auth.password()), (user, password), "{value}");
            assert!(auth.matches(user, password), "{value}");
            for (other, another) in [("x", password), (user, "x"), ("x", "x"), (password, user)] {
                assert_eq!(auth.matches(other, another), (other, another) == (user, password), "{value}");
            }
            assert!(request.bearer().is_none());
        }
    }

    #[test]
    fn u19_other_authorizations_are_not_basic_credentials() {
        for value in [
            "",
            "Basic",
            "Basic ",
            "BasicQWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "Basic\tQWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "Basic QWxhZGRpbg==",          // no colon
            "Basic QWxhZGRpbjpvcGVuIHNl=", // not Base64
            "Basic dTpw cTpy",
            "Basic dTpw, Basic dTpw",
            "Basic dTrk",     // not UTF-8
            "Basic dTpwCg==", // a line feed
            "Bearer dTpw",
            "Negotiate dTpw",
        ] {
            assert!(with(value).basic_auth().is_none(), "{value}");
        }
        let mut twice = with("Basic dTpw");
        twice.headers_mut().append("Authorization", "Basic dTpw").unwrap();
        assert!(twice.basic_auth().is_none() && Request::get("/").basic_auth().is_none());
    }

    #[test]
    fn u19_bearer_tokens_are_read() {
        for (value, token) in [("Bearer mF_9.B5f-4.1JqM", "mF_9.B5f-4.1JqM"), ("BEARER  a=:{}\" ", "a=:{}\"")] {
            let request = with(value);
            let bearer = request.bearer().unwrap();
            assert_eq!(bearer.token(), token);
            assert!(bearer.matches(token));
            for other in ["", "x", &token[1..], &format!("{token}x"), &token.to_uppercase().replace("\"", "'")] {
                assert!(!bearer.matches(other), "{other}");
            }
        }
        for value in ["Bearer", "Bearer ", "Bearer a b", "Bearer é", "Basic mF_9", "Bearermf"] {
            assert!(with(value).bearer().is_none(), "{value}");
        }
    }

    #[test]
    fn u19_credentials_are_not_printed() {
        let request = with("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        let token = with("Bearer sesame");
        for shown in [format!("{:?} {:#?}", request.basic_auth(), request), format!("{:?} {:?}", token.bearer(), token)]
        {
            assert!(!["Aladdin", "sesame", "QWxh"].iter().any(|secret| shown.contains(secret)), "{shown}");
        }
    }
}
