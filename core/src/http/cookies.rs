//! Cookies, as requests have them (RFC 6265 §4.2).

use alloc::vec::Vec;

use super::grammar::trim;
use super::headers::Headers;

const NAME: &str = "Cookie";

/// Returns the names and values of all cookies, in order, values without the quotes around them.
///
/// RFC 6265 §4.2.1: `cookie-string = cookie-pair *( ";" SP cookie-pair )`. What is no pair, has no name, or is not UTF-8 is
/// left out: browsers send what other programs made them keep, and the cookies beside it are good.
pub(crate) fn cookies(headers: &Headers) -> impl Iterator<Item = (&str, &str)> {
    pairs(headers).filter_map(split).filter_map(|(name, value)| {
        let (name, value) = (core::str::from_utf8(name).ok()?, core::str::from_utf8(value).ok()?);
        // RFC 6265 §4.1.1: `cookie-value = *cookie-octet / ( DQUOTE *cookie-octet DQUOTE )`: the same, written otherwise.
        let unquoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        (!name.is_empty()).then_some((name, unquoted.unwrap_or(value)))
    })
}

/// Adds a cookie, in place of those that have its name.
///
/// RFC 6265 §5.4: "When the user agent generates an HTTP request, the user agent MUST NOT attach more than one Cookie header
/// field."
pub(crate) fn set_cookie(headers: &mut Headers, name: &str, value: &str) {
    let cookie = [name.as_bytes(), value.as_bytes()].join(&b'=');
    let is_other = |pair: &&[u8]| split(pair).is_none_or(|(other, _)| other != name.as_bytes());
    let joined = join(pairs(headers).filter(is_other).chain([&cookie[..]]));
    headers.remove(NAME);
    headers.push(NAME, &joined);
}

/// Makes one field of several. One alone stays as it is.
pub(crate) fn join_cookies(headers: &mut Headers) {
    if headers.values(NAME).nth(1).is_some() {
        let joined = join(headers.values(NAME).filter(|value| !value.is_empty()));
        headers.remove(NAME);
        headers.push(NAME, &joined);
    }
}

/// Returns `true` if this may be the value of a cookie, maybe in quotes (RFC 6265 §4.1.1).
pub(crate) fn is_cookie_value(value: &str) -> bool {
    let unquoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    // `cookie-octet = %x21 / %x23-2B / %x2D-3A / %x3C-5B / %x5D-7E`.
    unquoted.unwrap_or(value).bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\'))
}

/// Pairs as they were written, without those that are empty.
fn pairs(headers: &Headers) -> impl Iterator<Item = &[u8]> {
    let pairs = headers.values(NAME).flat_map(|value| value.split(|&byte| byte == b';'));
    pairs.map(trim).filter(|pair| !pair.is_empty())
}

fn split(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = pair.iter().position(|&byte| byte == b'=')?;
    let (name, value) = pair.split_at_checked(at)?;
    Some((trim(name), trim(value.get(1..)?)))
}

fn join<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    parts.collect::<Vec<_>>().join(&b"; "[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&[u8]]) -> Headers {
        let mut headers = Headers::new();
        for value in values {
            headers.append("cookie", value).unwrap();
        }
        headers
    }

    fn sent(headers: &Headers) -> Vec<&[u8]> {
        headers.values("Cookie").collect()
    }

    #[test]
    fn u19_cookies_are_read_beside_rubbish() {
        for (values, expected) in [
            (&["a=1; b=2"][..], &[("a", "1"), ("b", "2")][..]),
            (&["a=1;b=2 ;\tc=3;"], &[("a", "1"), ("b", "2"), ("c", "3")]),
            (&["a=1", "", "b=2; a=3"], &[("a", "1"), ("b", "2"), ("a", "3")]),
            (&["a", "=1", ";;", " = ", "b=2; c; =d"], &[("b", "2")]),
            (&["a=b=c; d= ; e=\"\"; f"], &[("a", "b=c"), ("d", ""), ("e", "")]),
            (
                &["q=\"x y\"; h=\"x; i=x\"; j=\"; k=a\"b\"c"],
                &[("q", "x y"), ("h", "\"x"), ("i", "x\""), ("j", "\""), ("k", "a\"b\"c")],
            ),
            (&["A=1; a=2; a b=%3B"], &[("A", "1"), ("a", "2"), ("a b", "%3B")]),
            (&["é=ß; {\"a\":1}=[2,3]"], &[("é", "ß"), ("{\"a\":1}", "[2,3]")]),
            (&[], &[]),
        ] {
            let bytes: Vec<_> = values.iter().map(|value| value.as_bytes()).collect();
            assert_eq!(cookies(&headers(&bytes)).collect::<Vec<_>>(), expected, "{values:?}");
        }
        let odd = headers(&[b"a=\xff; b=1; \xfe=2; c=3"]);
        assert_eq!(cookies(&odd).collect::<Vec<_>>(), [("b", "1"), ("c", "3")]);
    }

    #[test]
    fn u18_a_request_has_one_line_of_cookies() {
        let mut one = headers(&[b"a=1;b=2"]);
        join_cookies(&mut one);
        assert_eq!(sent(&one), [b"a=1;b=2"], "as it is");
        let mut several = headers(&[b"a=\xff", b"", b"b=2; c"]);
        join_cookies(&mut several);
        assert_eq!(sent(&several), [b"a=\xff; b=2; c"]);
        set_cookie(&mut several, "d", "4");
        assert_eq!(sent(&several), [b"a=\xff; b=2; c; d=4"]);
        set_cookie(&mut several, "a", "1");
        set_cookie(&mut several, "c", "3");
        set_cookie(&mut several, "B", "5");
        assert_eq!(sent(&several), [b"b=2; c; d=4; a=1; c=3; B=5"]);
        let mut twice = headers(&[b"a=1; a =2", b"b=1"]);
        set_cookie(&mut twice, "a", "");
        assert_eq!(sent(&twice), [b"b=1; a="]);
    }

    #[test]
    fn u18_values_of_cookies_have_no_separators() {
        for value in ["", "42", "\"\"", "\"a\"", "a=b&c:d/e?[f]{g}", "%20"] {
            assert!(is_cookie_value(value), "{value}");
        }
        for value in [" ", "a b", "\"", "\"a", "a\"b", "\"a b\"", "a,b", "a;b", "a\\", "é", "a\r\nb", "\0", "\x7f"] {
            assert!(!is_cookie_value(value), "{value:?}");
        }
    }
}
