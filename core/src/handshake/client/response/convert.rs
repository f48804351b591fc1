//! Answers of the `http` crate.

use ::http::{HeaderMap, StatusCode};
use bytes::Bytes;

use super::Response;
use crate::http::{Headers, MAX_BODY};

impl Response {
    /// Takes an answer over, with what has come of its body.
    pub(in crate::handshake::client) fn from_http(answer: ::http::Response<Bytes>) -> Self {
        let (parts, body) = answer.into_parts();
        let body = body.get(..MAX_BODY).unwrap_or(&body).to_vec();
        Self { status: parts.status.as_u16(), headers: Headers::from(&parts.headers), protocol: None, body }
    }
}

/// With the body of a refusal as far as it came ([`Response::body`]). This fails for a status below 100, and for headers for
/// which a [`HeaderMap`] has no room.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{Request, Response, testing};
///
/// let error = testing::connect(|_: &Request| Response::text("Not you").with_status(403)).unwrap_err();
/// let refusal = http::Response::try_from(error.response().unwrap())?;
/// assert_eq!((refusal.status(), &refusal.body()[..]), (http::StatusCode::FORBIDDEN, &b"Not you"[..]));
/// # Ok::<(), http::Error>(())
/// ```
impl TryFrom<&Response> for ::http::Response<Bytes> {
    type Error = ::http::Error;

    fn try_from(response: &Response) -> Result<Self, ::http::Error> {
        let mut converted = Self::new(Bytes::copy_from_slice(&response.body));
        *converted.status_mut() = StatusCode::from_u16(response.status)?;
        *converted.headers_mut() = HeaderMap::try_from(&response.headers)?;
        Ok(converted)
    }
}

/// As from a reference.
impl TryFrom<Response> for ::http::Response<Bytes> {
    type Error = ::http::Error;

    fn try_from(response: Response) -> Result<Self, ::http::Error> {
        Self::try_from(&response)
    }
}
