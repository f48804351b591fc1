//! Header fields of the `http` crate.

use ::http::HeaderMap;
use ::http::header::{HeaderName, HeaderValue};

use super::headers::Headers;

impl From<&HeaderMap> for Headers {
    fn from(map: &HeaderMap) -> Self {
        let bytes = map.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let mut headers = Self::with_capacity(map.len(), bytes);
        for (name, value) in map {
            // What is well-formed there is so here.
            headers.push(name.as_str(), value.as_bytes());
        }
        headers
    }
}

impl From<&Headers> for HeaderMap {
    fn from(headers: &Headers) -> Self {
        let mut map = Self::with_capacity(headers.len());
        for (name, value) in headers {
            append(&mut map, name, value);
        }
        map
    }
}

/// Appends a field that is well-formed.
pub(crate) fn append(map: &mut HeaderMap, name: &str, value: &[u8]) {
    if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
        map.append(name, value);
    }
}
