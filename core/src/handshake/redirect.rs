//! Redirects: where a server sends a client instead, and when the client goes there.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use super::client::{HandshakeError, Response};
use super::connect_error::ConnectError;
use super::target::Target;
use crate::http::{Headers, MAX_SHOWN, Shown, Uri, UriError};

/// How many URIs of a long way the text of an error shows at each of its ends.
const SHOWN_ENDS: usize = 5;

/// The redirects that an attempt to connect has followed, for a loop that connects.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::backend::Redirects;
/// use bellwire::{ConnectError, Target};
///
/// fn connect<T>(
///     mut target: Target,
///     attempt: impl Fn(&Target) -> Result<T, ConnectError>,
/// ) -> Result<T, ConnectError> {
///     let mut redirects = Redirects::new();
///     loop {
///         match attempt(&target) {
///             Ok(connected) => return Ok(connected),
///             Err(error) => target = redirects.follow(&target, error)?,
///         }
///     }
/// }
/// ```
#[derive(Debug, Default)]
pub struct Redirects {
    /// What was asked, in order.
    way: Vec<Uri>,
}

impl Redirects {
    /// Creates the state of an attempt that has asked nobody yet.
    pub const fn new() -> Self {
        Self { way: Vec::new() }
    }

    /// Returns the target to ask next, after `target` was asked and `error` came of it. After an error start anew.
    ///
    /// Followed are 301, 302, 303, 307 and 308 that have a `Location`: the request is a `GET` without a body, so that all
    /// of them mean the same here. Headers, subprotocols and configuration stay, with two exceptions: a
    /// [request target](Target::request_target) was for the first URL, and `Authorization`, `Cookie` and
    /// `Proxy-Authorization` are dropped for good if scheme, host or port change.
    ///
    /// # Errors
    /// `error` itself if it is no redirect, or none is to be followed. [`ConnectError::Redirect`] if this one is not
    /// followed.
    pub fn follow(&mut self, target: &Target, error: ConnectError) -> Result<Target, ConnectError> {
        let response = match error {
            ConnectError::Handshake(HandshakeError::Refused(response))
                if target.redirects > 0 && response.is_redirect() =>
            {
                response
            }
            error => return Err(error),
        };
        let asked = target.effective_uri();
        let next = locate(&asked, response.headers());
        self.way.push(asked);
        match next.and_then(|next| self.check(next, target.redirects)) {
            Ok(next) => Ok(target.redirected(next)),
            Err(kind) => {
                Err(ConnectError::Redirect(RedirectError { kind, way: core::mem::take(&mut self.way), response }))
            }
        }
    }

    /// Judges where the way would lead. If it ends here, that is its last URI, which the error shows.
    fn check(&mut self, next: Uri, most: u8) -> Result<Uri, RedirectErrorKind> {
        let is_downgrade = self.way.last().is_some_and(Uri::is_secure) && !next.is_secure();
        let kind = if is_downgrade {
            RedirectErrorKind::Downgrade
        // RFC 9110 §15.4: "A client SHOULD detect and intervene in cyclical redirections (i.e., "infinite" redirection
        // loops)."
        } else if self.way.iter().any(|asked| asked.same_origin(&next) && asked.resource() == next.resource()) {
            RedirectErrorKind::Loop
        } else if self.way.len() > usize::from(most) {
            RedirectErrorKind::TooMany
        } else {
            return Ok(next);
        };
        self.way.push(next);
        Err(kind)
    }
}

/// Resolves the `Location` of an answer to this URI.
fn locate(asked: &Uri, headers: &Headers) -> Result<Uri, RedirectErrorKind> {
    let mut locations = headers.values("Location");
    let location = locations.next().unwrap_or_default();
    if locations.any(|other| other != location) {
        return Err(RedirectErrorKind::Repeated);
    }
    match asked.resolve(&text(location)) {
        // RFC 9110 §4.2.4: "Before making use of an "http" or "https" URI reference received from an untrusted source, a
        // recipient SHOULD parse for userinfo and treat its presence as an error; it is likely being used to obscure the
        // authority for the sake of phishing attacks."
        Err(UriError::UserInfo) => Err(RedirectErrorKind::UserInfo),
        Ok(uri) if uri.credentials().is_some() => Err(RedirectErrorKind::UserInfo),
        resolved => resolved.map_err(RedirectErrorKind::Location),
    }
}

/// Reads a `Location`; bytes that are no UTF-8 are percent-encoded, which is what they should have been.
fn text(location: &[u8]) -> String {
    let mut text = String::new();
    for chunk in location.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// A redirect that [`Target::redirects`] did not let the client follow. The client went from one URI to the next, and its
/// last request was answered with this redirect.
///
/// Texts and `Debug` have no queries in them: a URL that a server makes up often has a ticket there, and what is printed
/// ends up in logs.
pub struct RedirectError {
    kind: RedirectErrorKind,
    way: Vec<Uri>,
    response: Box<Response>,
}

/// The reason why a redirect was not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedirectErrorKind {
    /// As many as [`Target::redirects`] allows were followed before.
    TooMany,
    /// It leads to where the client has been.
    Loop,
    /// It leads from `wss` to `ws`: what is sent would no longer be encrypted.
    Downgrade,
    /// Its `Location` has a user name or a password in it, which would be credentials that the server chose.
    UserInfo,
    /// It has several `Location`s that are not the same.
    Repeated,
    /// Its `Location` is no URL of `http`, `https`, `ws` or `wss`, and no reference that is relative to one.
    Location(UriError),
}

impl RedirectError {
    /// Returns why it was not followed.
    pub fn kind(&self) -> &RedirectErrorKind {
        &self.kind
    }

    /// Returns what was asked, in order. After that comes where the last redirect leads, if that could be read: only with
    /// [`TooMany`](RedirectErrorKind::TooMany), [`Loop`](RedirectErrorKind::Loop) and
    /// [`Downgrade`](RedirectErrorKind::Downgrade).
    pub fn way(&self) -> &[Uri] {
        &self.way
    }

    /// Returns the last answer. Its body was not waited for.
    pub fn response(&self) -> &Response {
        &self.response
    }
}

impl fmt::Display for RedirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = Way(&self.way);
        match self.kind {
            RedirectErrorKind::TooMany => {
                write!(f, "the server redirects too often (raise Target::redirects if that is right): {way}")
            }
            RedirectErrorKind::Loop => write!(f, "the server redirects in a circle: {way}"),
            RedirectErrorKind::Downgrade => {
                write!(
                    f,
                    "the server redirects from wss:// to ws://, which is not followed, as it ends encryption: {way}"
                )
            }
            RedirectErrorKind::UserInfo => write!(
                f,
                "the server redirects to a URL with a user name or password in it, which is not followed: {way} -> {}",
                self.location()
            ),
            RedirectErrorKind::Repeated => {
                write!(f, "the server redirects to several places at once: {way} -> {}, ..", self.location())
            }
            RedirectErrorKind::Location(_) => write!(
                f,
                "the server redirects to what is no URL of a WebSocket or of HTTP: {way} -> {}",
                self.location()
            ),
        }
    }
}

impl RedirectError {
    /// The `Location` for a text: without its query, and without what stands before an `@`.
    fn location(&self) -> String {
        let location = text(self.response.headers().values("Location").next().unwrap_or_default());
        let start = location.split(['?', '#']).next().unwrap_or_default();
        let cut = if start.len() < location.len() { "?.." } else { "" };
        match start.rsplit_once('@') {
            Some((_, after)) => format!("{}{cut}", Shown(&format!("..@{after}"))),
            // A malformed one: the start may be a password's.
            None if location.contains('@') => "..".into(),
            None => format!("{}{cut}", Shown(start)),
        }
    }
}

impl fmt::Debug for RedirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RedirectError");
        debug.field("kind", &self.kind).field("way", &format_args!("{}", Way(&self.way)));
        debug.field("status", &self.response.status()).finish()
    }
}

impl core::error::Error for RedirectError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.kind {
            RedirectErrorKind::Location(error) => Some(error),
            _ => None,
        }
    }
}

/// URIs without their queries, with arrows between them; of many the first and the last.
struct Way<'a>(&'a [Uri]);

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = SHOWN_ENDS..self.0.len().saturating_sub(SHOWN_ENDS);
        for (index, uri) in
            self.0.iter().enumerate().filter(|(index, _)| *index == hidden.start || !hidden.contains(index))
        {
            if index > 0 {
                f.write_str(" -> ")?;
            }
            match index == hidden.start && !hidden.is_empty() {
                true => write!(f, "({} more)", hidden.len())?,
                false => write_without_query(uri, f)?,
            }
        }
        Ok(())
    }
}

fn write_without_query(uri: &Uri, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let text = format!("{uri}");
    let (start, query) = text.split_once('?').map_or((&*text, ""), |(start, _)| (start, "?.."));
    match start.get(..MAX_SHOWN) {
        Some(start) => write!(f, "{start}.."),
        None => write!(f, "{start}{query}"),
    }
}
