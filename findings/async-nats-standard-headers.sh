#!/usr/bin/env bash
# async-nats 0.46.0 (Rust): `headers.get("Nats-Sequence")` finds nothing, whatever the message says. 0.51.0 finds it.
#
# `HeaderMap::get` takes a name as a string or as a `HeaderName`. The names that NATS itself uses (`Nats-Sequence`,
# `Nats-Msg-Id` and a dozen more) are kept apart from others in what was received, and a string is always taken for one of
# the others. So it finds none of them, although the headers are there. With other names it works. Seen in November 2026,
# of a message that a stream republished:
#
#   async-nats 0.46.0
#   Nats-Msg-Id: received "first"; by string None; by constant Some("first")
#   Nats-Sequence: received "1"; by string None; by constant Some("1")
#   Other: received "also"; by string Some("also"); by from_static Some("also")
#   async-nats 0.51.0
#   Nats-Msg-Id: received "first"; by string Some("first"); by constant Some("first")
#   Nats-Sequence: received "1"; by string Some("1"); by constant Some("1")
#   Other: received "also"; by string Some("also"); by from_static Some("also")
#
# Ask with the constants of `async_nats::header`, or with `HeaderName::from_static("Nats-Sequence")`, which is the same.
# Needs Debian 12's apt, python3 and cargo. Fails when that changes.
set -euo pipefail
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/debian.bash"
unpack nats-server nats-server
port=$(free_port)
root/usr/sbin/nats-server -a 127.0.0.1 -p "$port" -js -sd "$PWD/store" 2>log &
listening "$port"
mkdir src
cat >src/main.rs <<'RUST'
use async_nats::header::{HeaderName, NATS_MESSAGE_ID, NATS_SEQUENCE};
use async_nats::jetstream::{self, stream};
use async_nats::{HeaderMap, HeaderValue};
use futures_util::StreamExt;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let client = async_nats::connect(std::env::args().nth(1).unwrap()).await.unwrap();
    let jetstream = jetstream::new(client.clone());
    let republish = stream::Republish { source: "keep".into(), destination: "live".into(), headers_only: false };
    jetstream.get_or_create_stream(stream::Config {
        name: "S".into(),
        subjects: vec!["keep".into()],
        republish: Some(republish),
        ..Default::default()
    }).await.unwrap();
    let mut live = client.subscribe("live").await.unwrap();
    client.flush().await.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, "first");
    headers.insert("Other", "also");
    client.publish_with_headers("keep", headers, "text".into()).await.unwrap();
    let headers = live.next().await.unwrap().headers.unwrap();
    jetstream.delete_stream("S").await.unwrap();
    let value = |value: Option<&HeaderValue>| value.map(|value| value.as_str().to_owned());
    for (name, constant, what) in [
        ("Nats-Msg-Id", NATS_MESSAGE_ID, "constant"),
        ("Nats-Sequence", NATS_SEQUENCE, "constant"),
        ("Other", HeaderName::from_static("Other"), "from_static"),
    ] {
        let (_, received) = headers.iter().find(|(header, _)| header.as_ref() as &str == name).unwrap();
        assert_eq!(headers.get(HeaderName::from_static(name)), headers.get(constant.clone()));
        let (by_string, by_constant) = (value(headers.get(name)), value(headers.get(constant)));
        println!("{name}: received {:?}; by string {by_string:?}; by {what} {by_constant:?}", received[0].as_str());
    }
}
RUST
# 0.46.0 is the one of bellwire-rooms.
for version in 0.46.0 0.51.0; do
    cat >Cargo.toml <<TOML
[package]
name = "finding"
version = "0.0.0"
edition = "2021"
[dependencies]
async-nats = { version = "=$version", default-features = false, features = ["jetstream", "ring"] }
futures-util = { version = "0.3", default-features = false }
tokio = { version = "1", features = ["macros", "rt"] }
TOML
    cargo build --quiet
    echo "async-nats $version" | tee -a said
    timeout 30 target/debug/finding "127.0.0.1:$port" | tee -a said
done
diff said - <<'WANTED'
async-nats 0.46.0
Nats-Msg-Id: received "first"; by string None; by constant Some("first")
Nats-Sequence: received "1"; by string None; by constant Some("1")
Other: received "also"; by string Some("also"); by from_static Some("also")
async-nats 0.51.0
Nats-Msg-Id: received "first"; by string Some("first"); by constant Some("first")
Nats-Sequence: received "1"; by string Some("1"); by constant Some("1")
Other: received "also"; by string Some("also"); by from_static Some("also")
WANTED
