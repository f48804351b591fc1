#!/usr/bin/env bash
# ppp 2.3.0 and proxy-header 0.1.3 (Rust): headers of the PROXY protocol that name no address are refused, or waited for.
#
# The specification, of version 2's LOCAL: "The receiver must accept this connection as valid and must use the real
# connection endpoints and discard the protocol block including the family which is ignored." Of version 1's UNKNOWN:
# "the receiver must ignore anything presented before the CRLF is found." Seen in November 2026:
#
#   LOCAL of a family that says TCP over IPv4, without addresses: ppp refused; proxy-header wants more
#   LOCAL of a family that nobody knows:                          ppp refused; proxy-header refused
#   UNKNOWN with six words behind it:                             ppp wants more; proxy-header accepted
#
# So a health check of a proxy can be cut off, or hang. bellwire reads such headers itself. Needs cargo. Fails when that
# changes.
set -euo pipefail
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
cd "$WORK"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2021"
[dependencies]
ppp = "=2.3.0"
proxy-header = "=0.1.3"
TOML
cat >src/main.rs <<'RUST'
use ppp::{HeaderResult, PartialResult};
use proxy_header::{Error, ParseConfig, ProxyHeader};

fn ppp(header: &[u8]) -> &'static str {
    match HeaderResult::parse(header) {
        result if result.is_incomplete() => "wants more",
        HeaderResult::V1(Ok(_)) | HeaderResult::V2(Ok(_)) => "accepted",
        _ => "refused",
    }
}

fn proxy_header(header: &[u8]) -> &'static str {
    match ProxyHeader::parse(header, ParseConfig::default()) {
        Ok(_) => "accepted",
        Err(Error::BufferTooShort) => "wants more",
        Err(_) => "refused",
    }
}

fn main() {
    for (what, header) in [
        ("LOCAL, TCP over IPv4", &b"\r\n\r\n\0\r\nQUIT\n\x20\x11\0\0"[..]),
        ("LOCAL, unknown family", b"\r\n\r\n\0\r\nQUIT\n\x20\xff\0\0"),
        ("UNKNOWN and six words", b"PROXY UNKNOWN a b c d e f\r\n"),
        // So that it is not the programs that are wrong.
        ("LOCAL", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"),
        ("UNKNOWN", b"PROXY UNKNOWN\r\n"),
    ] {
        println!("{what}: ppp {}; proxy-header {}", ppp(header), proxy_header(header));
    }
}
RUST
cargo run --quiet >said
cat said
diff said - <<'WANTED'
LOCAL, TCP over IPv4: ppp refused; proxy-header wants more
LOCAL, unknown family: ppp refused; proxy-header refused
UNKNOWN and six words: ppp wants more; proxy-header accepted
LOCAL: ppp accepted; proxy-header accepted
UNKNOWN: ppp accepted; proxy-header accepted
WANTED
