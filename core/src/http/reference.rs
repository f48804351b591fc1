//! References to another URI, as `Location` has them (RFC 3986 §4.1).

use alloc::format;
use alloc::string::String;

use super::uri::{Uri, UriError, is_scheme, without_blanks};

/// The maximum number of characters of an unknown scheme that an error holds. It comes from the network.
const MAX_SCHEME: usize = 32;

impl Uri {
    /// Resolves a reference against this URI, the one that was asked for: RFC 9110 §10.2.2: "When it has the form of a
    /// relative reference (\[URI\], Section 4.2), the final value is computed by resolving it against the target URI (\[URI\],
    /// Section 5)."
    ///
    /// `http` becomes `ws` and `https` becomes `wss`: what answers an upgrade with a redirect speaks of HTTP. A fragment is
    /// dropped, since it would not be sent. Besides, references are read as browsers read them, with slashes that lean
    /// backwards, and blanks.
    pub(crate) fn resolve(&self, reference: &str) -> Result<Self, UriError> {
        let reference = without_blanks(reference);
        // RFC 6455 §3: "Fragment identifiers are meaningless in the context of WebSocket URIs".
        let reference = reference.split('#').next().unwrap_or_default();
        // RFC 3986 §5.2.2, from the reference that says most to the one that says least.
        if let Some((scheme, rest)) = split_scheme(reference) {
            return absolute(scheme, rest);
        }
        match reference.as_bytes() {
            [b'/' | b'\\', b'/' | b'\\', ..] => absolute(self.scheme(), reference),
            [b'/' | b'\\', ..] => Ok(self.with_resource(reference)),
            [b'?', ..] => Ok(self.with_resource(&format!("{}{reference}", self.path()))),
            [] => Ok(self.with_resource(self.resource())),
            _ => Ok(self.with_resource(&self.merge(reference))),
        }
    }

    /// RFC 3986 §5.2.3: "return a string consisting of the reference's path component appended to all but the last
    /// segment of the base URI's path".
    fn merge(&self, reference: &str) -> String {
        let folder = self.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{folder}/{reference}")
    }
}

/// Splits `scheme:rest`.
fn split_scheme(reference: &str) -> Option<(&str, &str)> {
    reference.split_once(':').filter(|(scheme, _)| is_scheme(scheme))
}

fn absolute(scheme: &str, rest: &str) -> Result<Uri, UriError> {
    let known = [("http", "ws"), ("https", "wss"), ("ws", "ws"), ("wss", "wss")];
    let Some((_, scheme)) = known.iter().find(|(known, _)| known.eq_ignore_ascii_case(scheme)) else {
        return Err(UriError::Scheme(scheme.chars().take(MAX_SCHEME).collect()));
    };
    // RFC 3986 §3: `hier-part = "//" authority path-abempty`: without it there is no host.
    let [b'/' | b'\\', b'/' | b'\\', ..] = rest.as_bytes() else { return Err(UriError::NoHost) };
    format!("{scheme}://{}", rest.get(2..).unwrap_or_default()).parse()
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn resolve(base: &str, reference: &str) -> Result<String, UriError> {
        base.parse::<Uri>().unwrap().resolve(reference).map(|uri| uri.to_string())
    }

    #[test]
    fn references_are_resolved_as_rfc_3986_has_it() {
        // The examples of RFC 3986 §5.4, where a base with `;` in its path is asked for.
        for (reference, expected) in [
            ("g", "ws://a/b/c/g"),
            ("./g", "ws://a/b/c/g"),
            ("g/", "ws://a/b/c/g/"),
            ("/g", "ws://a/g"),
            ("//g", "ws://g/"),
            ("?y", "ws://a/b/c/d;p?y"),
            ("g?y", "ws://a/b/c/g?y"),
            ("#s", "ws://a/b/c/d;p?q"),
            ("g#s", "ws://a/b/c/g"),
            ("g?y#s", "ws://a/b/c/g?y"),
            (";x", "ws://a/b/c/;x"),
            ("g;x", "ws://a/b/c/g;x"),
            ("g;x?y#s", "ws://a/b/c/g;x?y"),
            ("", "ws://a/b/c/d;p?q"),
            (".", "ws://a/b/c/"),
            ("./", "ws://a/b/c/"),
            ("..", "ws://a/b/"),
            ("../", "ws://a/b/"),
            ("../g", "ws://a/b/g"),
            ("../..", "ws://a/"),
            ("../../", "ws://a/"),
            ("../../g", "ws://a/g"),
            ("../../../g", "ws://a/g"),
            ("../../../../g", "ws://a/g"),
            ("/./g", "ws://a/g"),
            ("/../g", "ws://a/g"),
            ("g.", "ws://a/b/c/g."),
            (".g", "ws://a/b/c/.g"),
            ("g..", "ws://a/b/c/g.."),
            ("..g", "ws://a/b/c/..g"),
            ("./../g", "ws://a/b/g"),
            ("./g/.", "ws://a/b/c/g/"),
            ("g/./h", "ws://a/b/c/g/h"),
            ("g/../h", "ws://a/b/c/h"),
            ("g;x=1/./y", "ws://a/b/c/g;x=1/y"),
            ("g;x=1/../y", "ws://a/b/c/y"),
            ("g?y/./x", "ws://a/b/c/g?y/./x"),
            ("g?y/../x", "ws://a/b/c/g?y/../x"),
            ("g#s/../x", "ws://a/b/c/g"),
        ] {
            assert_eq!(resolve("ws://a/b/c/d;p?q", reference).as_deref(), Ok(expected), "{reference:?}");
        }
    }

    #[test]
    fn schemes_and_hosts_are_taken_from_the_reference_if_it_has_them() {
        let base = "wss://u:p@h:8443/x/y?q";
        for (reference, expected) in [
            ("http://a", "ws://a/"),
            ("HTTPS://a:443/b?c#d", "wss://a/b?c"),
            ("ws://a:443/", "ws://a:443/"),
            ("wss://a/", "wss://a/"),
            ("//a:8443/b", "wss://a:8443/b"),
            ("\\\\a\\b", "wss://a/b"),
            ("https:\\\\a/b", "wss://a/b"),
            ("/a:b@c", "wss://h:8443/a:b@c"),
            ("/%61 é", "wss://h:8443/%61%20%C3%A9"),
            (" /a\t\r\nb ", "wss://h:8443/ab"),
            ("?a:b", "wss://h:8443/x/y?a:b"),
            ("?", "wss://h:8443/x/y"),
            ("./a:b", "wss://h:8443/x/a:b"),
            ("a/b:c", "wss://h:8443/x/a/b:c"),
            ("a//b", "wss://h:8443/x/a//b"),
            ("/.//a", "wss://h:8443//a"),
            ("https://[::1]:1/", "wss://[::1]:1/"),
        ] {
            assert_eq!(resolve(base, reference).as_deref(), Ok(expected), "{reference:?}");
        }
        assert_eq!(resolve("ws://h?q", "x").as_deref(), Ok("ws://h/x"));
        assert_eq!(resolve("ws://[fe80::1%25eth0]/a", "b").as_deref(), Ok("ws://[fe80::1%25eth0]/b"));
    }

    #[test]
    fn what_is_no_reference_to_a_websocket_is_refused() {
        for (reference, error) in [
            ("ftp://a/", UriError::Scheme("ftp".into())),
            ("a:b", UriError::Scheme("a".into())),
            ("javascript:alert(1)", UriError::Scheme("javascript".into())),
            ("https:/a", UriError::NoHost),
            ("https:a", UriError::NoHost),
            ("https:", UriError::NoHost),
            ("https://", UriError::NoHost),
            ("//", UriError::NoHost),
            ("///a", UriError::NoHost),
            ("//:80/", UriError::NoHost),
            ("//a:x/", UriError::Port),
            ("//a:0/", UriError::Port),
            ("//[::1/", UriError::Host),
            ("//a b/", UriError::Character(' ')),
            ("//é/", UriError::Character('é')),
            ("//a%/", UriError::PercentEncoding),
        ] {
            assert_eq!(resolve("ws://h/", reference), Err(error), "{reference:?}");
        }
        let long = format!("{}:x", "s".repeat(9000));
        assert_eq!(resolve("ws://h/", &long), Err(UriError::Scheme("s".repeat(MAX_SCHEME))));
    }

    #[test]
    fn the_same_origin_has_the_same_scheme_host_and_port() {
        let same = |left: &str, right: &str| left.parse::<Uri>().unwrap().same_origin(&right.parse().unwrap());
        for (left, right) in
            [("ws://h/a", "ws://H:80/b?c"), ("wss://u:p@h:443/", "WSS://h"), ("ws://[::1]:9/", "ws://[::1]:9/x")]
        {
            assert!(same(left, right), "{left} {right}");
        }
        for (left, right) in [
            ("ws://h/", "wss://h/"),
            ("ws://h/", "ws://h:8080/"),
            ("ws://h:443/", "wss://h/"),
            ("ws://h/", "ws://h.example/"),
            ("ws://h.example/", "ws://h.example./"),
            ("ws://[fe80::1%25a]/", "ws://[fe80::1%25b]/"),
        ] {
            assert!(!same(left, right) && !same(right, left), "{left} {right}");
        }
    }
}
