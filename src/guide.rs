//! How things are done with bellwire, a page for each.
//!
//! The same pages are in the folder `docs` of the repository.

/// Where the links between the pages lead here. At the end of each page its links are defined again, as files of the
/// repository; of two definitions Markdown takes the first.
macro_rules! links {
    () => {
        "
[choosing]: crate::guide::choosing
[serving]: crate::guide::serving
[listeners]: crate::guide::listeners
[clients]: crate::guide::clients
[redirects]: crate::guide::clients#redirects
[streams]: crate::guide::streams
[sending]: crate::guide::sending
[closing]: crate::guide::closing
[rooms]: crate::guide::rooms
[history]: crate::guide::rooms#history
[program]: crate::guide::rooms#a-whole-program
[rooms_tests]: crate::guide::rooms#tests
[many_nodes]: crate::guide::many_nodes
[promised]: crate::guide::many_nodes#what-is-promised
[presence]: crate::guide::many_nodes#presence-and-its-times
[rolling]: crate::guide::many_nodes#rolling-restarts
[failover]: crate::guide::many_nodes#redis-that-fails-over
[million]: crate::guide::memory#a-million
[memory]: crate::guide::memory
[bench]: https://github.com/bellwire/bellwire/blob/main/bench/README.md#rooms
[slow]: crate::guide::sending#peers-that-read-slowly
[recorders]: crate::guide::testing#a-listener-alone
[clients_in_memory]: crate::guide::testing#a-handler-with-its-listener
[securing]: crate::guide::many_nodes#securing-the-broker
[seeing_rooms]: crate::guide::seeing#rooms
[typed]: crate::guide::listeners#typed-messages
[staying_connected]: crate::guide::staying_connected
[before-a-program-ends]: crate::guide::closing#before-a-program-ends
[stampede]: crate::guide::closing#restarting-without-a-stampede
[testing]: crate::guide::testing
[transports]: crate::guide::transports
[tls]: crate::guide::tls
[tls_features]: crate::guide::tls#features
[tls_of_another_library]: crate::guide::tls#tls-of-another-library
[axum]: crate::guide::axum
[frameworks]: https://github.com/bellwire/bellwire/tree/main/examples/frameworks/src
[visitor]: crate::guide::peers#who-the-visitor-is
[axum_shutdown]: crate::guide::axum#connections-limits-errors-shutdown
[upgraded]: crate::guide::transports#other-streams-that-are-upgraded-already
[serving_behind]: crate::guide::serving#behind-a-proxy
[who_may_connect]: crate::guide::limits#who-may-connect
[proxies]: crate::guide::proxies
[runtimes]: crate::guide::runtimes
[limits]: crate::guide::limits
[seeing]: crate::guide::seeing
[compression]: crate::guide::compression
[by_hand]: crate::guide::by_hand
[contract]: crate::guide::contract
[decisions]: crate::guide::contract#decisions
[peers]: crate::guide::peers
[from_tokio_tungstenite]: crate::guide::from_tokio_tungstenite
[from_ring]: crate::guide::from_ring
[by_hand.rs]: #the-whole-program
[no-std-check]: https://github.com/bellwire/bellwire/blob/main/no-std-check/src/lib.rs
[tested_listener.rs]: https://github.com/bellwire/bellwire/blob/main/examples/tested_listener.rs
[axum-chat]: https://github.com/bellwire/bellwire/tree/main/examples/axum
[chat.rs]: https://github.com/bellwire/bellwire/blob/main/examples/chat.rs
[own_runtime]: https://github.com/bellwire/bellwire/blob/main/tests/tests/own_runtime/runtime.rs
[tls.rs]: https://github.com/bellwire/bellwire/blob/main/tests/tests/suite/tls.rs
[SECURITY.md]: https://github.com/bellwire/bellwire/blob/main/SECURITY.md
[.ci/proxies]: https://github.com/bellwire/bellwire/blob/main/.ci/proxies
[findings]: https://github.com/bellwire/bellwire/tree/main/findings
[deny.toml]: https://github.com/bellwire/bellwire/blob/main/deny.toml
"
    };
}

/// A module for each page. The items that it is about are listed at its end.
macro_rules! pages {
    ($($name:ident = $file:literal $(: $($item:literal)+)?;)*) => {$(
        #[doc = links!()]
        #[doc = include_str!(concat!("../docs/", $file))]
        $(#[doc = concat!("\nIn the API:", $(" [`", $item, "`](crate::", $item, ")"),+)])?
        pub mod $name {}
    )*};
}

pages! {
    choosing = "choosing.md";
    serving = "guide/serving.md": "Request" "Response" "AsyncResponse" "Responder" "ServerError" "is_upgrade_request()";
    listeners = "guide/listeners.md": "listener()" "Listener" "async_listener()" "AsyncListener" "typed_listener()"
        "Codec" "Message" "WebSocket" "broadcast()" "done()";
    clients = "guide/clients.md": "Target" "ConnectError" "proto::client::HandshakeError" "Config";
    streams = "guide/streams.md": "stream()" "MessageStream" "OwnedMessage" "StreamError";
    sending = "guide/sending.md": "WebSocket" "broadcast()" "Prepared" "SendError" "Config";
    closing = "guide/closing.md": "WebSocket" "Closed" "CloseCode" "Error" "Config";
    rooms = "guide/rooms.md";
    many_nodes = "many-nodes.md";
    staying_connected = "guide/staying-connected.md": "reconnect" "reconnect::Policy" "reconnect::Reconnecting"
        "reconnect::ReconnectingStream" "reconnect::Backoff";
    proxies = "guide/proxies.md": "Proxy" "Target" "proto::client::ProxyRules" "proto::client::ProxyError";
    testing = "guide/testing.md": "testing";
    limits = "guide/limits.md": "Config";
    seeing = "guide/seeing.md": "Stats" "WebSocket" "ServerError";
    compression = "guide/compression.md": "Config" "Outgoing";
    tls = "guide/tls.md": "ClientTls" "ServerTls" "TlsError" "Target";
    transports = "guide/transports.md": "proto::server";
    axum = "guide/axum.md";
    runtimes = "guide/runtimes.md";
    contract = "contract.md";
    memory = "memory.md";
    peers = "peers.md";
    from_tokio_tungstenite = "from-tokio-tungstenite.md";
    from_ring = "from-ring.md";
}

#[doc = links!()]
#[doc = include_str!("../docs/guide/by-hand.md")]
///
/// In the API: [`proto`](crate::proto)
///
/// # The whole program
///
/// ```no_run
#[doc = include_str!("../examples/by_hand.rs")]
/// ```
pub mod by_hand {}

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
