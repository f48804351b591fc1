//! Header fields and URIs of the `http` crate.

use alloc::string::ToString;

use ::http::HeaderMap;
use ::http::header::{HeaderName, HeaderValue};
use ::http::uri::InvalidUri;

use super::grammar::trim;
use super::headers::Headers;
use super::uri::{Uri, UriError};

/// Spaces and tabs around a value, which are no part of it, are left out (RFC 9110 §5.5).
impl From<&HeaderMap> for Headers {
    fn from(map: &HeaderMap) -> Self {
        let bytes = map.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let mut headers = Self::with_capacity(map.len(), bytes);
        for (name, value) in map {
            // What is well-formed there is so here.
            headers.push(name.as_str(), trim(value.as_bytes()));
        }
        headers
    }
}

/// As from a reference.
impl From<HeaderMap> for Headers {
    fn from(map: HeaderMap) -> Self {
        Self::from(&map)
    }
}

/// Names become lower case, and those of the same name come together. This fails for a name of more than 64 KiB, and for
/// more than 32,768 fields, give or take: a [`HeaderMap`] has no room for them.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::proto::Headers;
/// use http::HeaderMap;
///
/// let mut headers = Headers::new();
/// headers.append("X-Room", "7")?;
/// let map = HeaderMap::try_from(&headers)?;
/// assert_eq!(map["x-room"], "7");
/// assert_eq!(Headers::from(&map).value("X-Room").as_deref(), Some("7"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl TryFrom<&Headers> for HeaderMap {
    type Error = ::http::Error;

    fn try_from(headers: &Headers) -> Result<Self, ::http::Error> {
        let mut map = Self::new();
        for (name, value) in headers {
            try_append(&mut map, name, value)?;
        }
        Ok(map)
    }
}

/// As from a reference.
impl TryFrom<Headers> for HeaderMap {
    type Error = ::http::Error;

    fn try_from(headers: Headers) -> Result<Self, ::http::Error> {
        Self::try_from(&headers)
    }
}

fn try_append(map: &mut HeaderMap, name: &str, value: &[u8]) -> Result<(), ::http::Error> {
    map.try_append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_bytes(value)?)?;
    Ok(())
}

/// Appends a field that is well-formed; one for which there is no room is left out.
pub(crate) fn append(map: &mut HeaderMap, name: &str, value: &[u8]) {
    let _ = try_append(map, name, value);
}

/// Reads the URI as any text ([`Uri`]).
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::proto::Uri;
///
/// let uri = Uri::try_from(&http::Uri::from_static("wss://example.com/chat?room=1"))?;
/// assert_eq!((uri.host(), uri.resource()), ("example.com", "/chat?room=1"));
/// assert_eq!(http::Uri::try_from(&uri)?, "wss://example.com/chat?room=1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl TryFrom<&::http::Uri> for Uri {
    type Error = UriError;

    fn try_from(uri: &::http::Uri) -> Result<Self, UriError> {
        uri.to_string().parse()
    }
}

/// As from a reference.
impl TryFrom<::http::Uri> for Uri {
    type Error = UriError;

    fn try_from(uri: ::http::Uri) -> Result<Self, UriError> {
        Self::try_from(&uri)
    }
}

/// Leaves out user name and password. This fails for an address with a [zone](Uri::zone), which the `http` crate does not
/// know, and for more than 64 KiB.
impl TryFrom<&Uri> for ::http::Uri {
    type Error = InvalidUri;

    fn try_from(uri: &Uri) -> Result<Self, InvalidUri> {
        Self::try_from(uri.to_string())
    }
}

/// As from a reference.
impl TryFrom<Uri> for ::http::Uri {
    type Error = InvalidUri;

    fn try_from(uri: Uri) -> Result<Self, InvalidUri> {
        Self::try_from(&uri)
    }
}
