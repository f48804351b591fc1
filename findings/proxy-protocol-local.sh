#!/usr/bin/env bash
# ppp 2.3.0 and proxy-header 0.1.3 (Rust): a header of the PROXY protocol that names no address is refused for its family.
#
# The specification, of version 2's LOCAL: "The receiver must accept this connection as valid and must use the real
# connection endpoints and discard the protocol block including the family which is ignored." Seen in November 2026: both
# refuse a LOCAL whose family nobody knows, and accept one without a family. (Other headers without an address, which
# receivers must accept, are taken for incomplete ones.)
#
# So a health check of a proxy can be cut off. bellwire reads such headers itself. Needs cargo. Fails when that changes.
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
        ("LOCAL, unknown family", &b"\r\n\r\n\0\r\nQUIT\n\x20\xff\0\0"[..]),
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
LOCAL, unknown family: ppp refused; proxy-header refused
LOCAL: ppp accepted; proxy-header accepted
UNKNOWN: ppp accepted; proxy-header accepted
WANTED
