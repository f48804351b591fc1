//! `Proxy-Authenticate` (RFC 9110 §11.7.1): which kinds of credentials a proxy takes.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::http::{Headers, is_token};

/// Returns the names of the schemes, in order.
///
/// RFC 9110 §11.6.1: "it might contain more than one challenge, and each challenge can contain a comma-separated list of
/// authentication parameters": what has a `=` after its first word is a parameter.
pub(super) fn schemes(headers: &Headers) -> Vec<String> {
    let mut schemes = Vec::new();
    for value in headers.texts("Proxy-Authenticate") {
        let (mut quoted, mut escaped) = (false, false);
        let elements = value.split(|character| {
            quoted ^= character == '"' && !escaped;
            escaped = quoted && character == '\\' && !escaped;
            character == ',' && !quoted
        });
        schemes.extend(elements.filter_map(scheme).map(ToString::to_string));
    }
    schemes
}

fn scheme(element: &str) -> Option<&str> {
    let element = element.trim();
    let (word, rest) = element.split_once([' ', '\t']).unwrap_or((element, ""));
    (is_token(word.as_bytes()) && !rest.trim_start().starts_with('=')).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_are_told_from_parameters() {
        for (values, names) in [
            (&["Basic realm=\"a\""][..], &["Basic"][..]),
            (&["NTLM", "Negotiate", "Basic realm=x"], &["NTLM", "Negotiate", "Basic"]),
            (
                &["Digest realm=\"a, Basic b\", nonce=\"1\", qop = auth, Basic realm=\"\\\", No x\""],
                &["Digest", "Basic"],
            ),
            (&["Negotiate YWJj==, , Bearer"], &["Negotiate", "Bearer"]),
            (&["", "\"Basic\"", "a=b", "ä"], &[]),
            (&[], &[]),
        ] {
            let mut headers = Headers::new();
            for value in values {
                headers.append("proxy-authenticate", value).unwrap();
            }
            assert_eq!(schemes(&headers), names, "{values:?}");
        }
    }
}
