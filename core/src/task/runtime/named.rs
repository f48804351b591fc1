//! The functions of a runtime that has a name, so that they and their documentation are written once.

/// Defines the functions that most programs need, for a [`Runtime`](crate::backend::Runtime) that has a name: `serve`,
/// `serve_with`, `serve_async`, `connect`, `connect_over`, `connect_stream`, `connect_stream_over`, `reconnecting`,
/// `reconnecting_over`, `accept_stream` and `upgraded`, without a runtime to pass on.
///
/// It takes a value of the runtime, what its addresses and streams implement, when its functions panic, and examples
/// for five of them. Where it stands, `Server` and `ReconnectBuilder` are those of this runtime, and `bellwire_core` is this
/// crate: their documentation has links to them.
#[macro_export]
macro_rules! named_runtime {
    (
        $runtime:expr, addresses: $Address:path, streams: [$($Stream:tt)+], upgraded: [$($Upgraded:tt)+]
        $(, panics: $panics:literal)?;
        $(#[$serve_with:meta])* serve_with;
        $(#[$serve_async:meta])* serve_async;
        $(#[$connect:meta])* connect;
        $(#[$connect_stream:meta])* connect_stream;
        $(#[$reconnecting:meta])* reconnecting;
    ) => {
        /// Listens on `addr` and answers every request with `handler`, until the process ends. [`Server`] has
        /// options, tells its address, and can be shut down.
        ///
        /// Refused requests and failures of the handler are printed on stderr, each kind at most once per minute;
        /// [`Server::on_error`](bellwire_core::backend::Server::on_error) takes another hook.
        ///
        /// # Errors
        /// If the address cannot be listened on.
        ///
        /// # Cancel safety
        /// Dropping the future ends the listening, and nothing else.
        $(#[doc = concat!("\n# Panics\n", $panics)])?
        pub async fn serve<A: $crate::listener::IntoResponse>(
            addr: impl $Address,
            handler: impl Fn(&$crate::Request) -> A + Send + Sync + 'static, // an `async` one goes to `serve_async`
        ) -> ::std::io::Result<()> {
            Server::bind(addr).await?.run(handler).await
        }

        /// As [`serve`], with a handler that answers when it likes, and from where it likes.
        /// [`Server::run_with`](bellwire_core::backend::Server::run_with) has options.
        ///
        $(#[$serve_with])*
        ///
        /// # Errors
        /// If the address cannot be listened on.
        ///
        /// # Cancel safety
        /// Dropping the future ends the listening, and nothing else.
        $(#[doc = concat!("\n# Panics\n", $panics)])?
        pub async fn serve_with(
            addr: impl $Address,
            handler: impl Fn($crate::Request, $crate::Responder) + Send + Sync + 'static,
        ) -> ::std::io::Result<()> {
            Server::bind(addr).await?.run_with(handler).await
        }

        /// As [`serve`], with an asynchronous handler, whose answer may carry an asynchronous listener.
        /// [`Server::run_async`](bellwire_core::backend::Server::run_async) has options.
        ///
        $(#[$serve_async])*
        ///
        /// # Errors
        /// If the address cannot be listened on.
        ///
        /// # Cancel safety
        /// Dropping the future ends the listening, and nothing else.
        $(#[doc = concat!("\n# Panics\n", $panics)])?
        pub async fn serve_async<F: ::core::future::Future<Output: $crate::listener::IntoAsyncResponse> + Send + 'static>(
            addr: impl $Address,
            handler: impl Fn($crate::Request) -> F + Send + Sync + 'static, // one that is not `async` goes to `serve`
        ) -> ::std::io::Result<()> {
            Server::bind(addr).await?.run_async(handler).await
        }

        /// Connects: resolves the host, tries its addresses, 250 ms apart, until the first answers (RFC 8305), and
        /// makes the opening handshake, all within [`Config::open_timeout`](bellwire_core::Config::open_timeout).
        /// `target` is a `ws://` or `wss://` URL, or a [`Target`](bellwire_core::Target), which has options. When this returns,
        /// `on_open` has run; that of an asynchronous listener has begun.
        ///
        $(#[$connect])*
        ///
        /// # Errors
        /// Every [`ConnectError`](bellwire_core::ConnectError). A refusal carries status, headers and the start of the
        /// body.
        ///
        /// # Cancel safety
        /// Dropping the future drops the transport; no callback has run then, and none will.
        $(#[doc = concat!("\n# Panics\n", $panics)])?
        pub async fn connect(
            target: impl $crate::proto::client::IntoTarget,
            listener: impl $crate::listener::IntoAnyListener,
        ) -> ::core::result::Result<$crate::backend::Client, $crate::ConnectError> {
            $crate::backend::connect($runtime, target, listener).await
        }

        /// Makes the opening handshake over a stream that the caller has: a Unix socket, memory, TLS that
        /// was made elsewhere. When this returns, `on_open` has run; that of an asynchronous listener has begun.
        ///
        /// # Errors
        /// Those [`ConnectError`](bellwire_core::ConnectError)s that come after connecting.
        ///
        /// # Cancel safety
        /// Dropping the future drops the stream; no callback has run then, and none will.
        $(#[doc = concat!("\n# Panics\n", $panics)])?
        pub async fn connect_over<S: $($Stream)+>(
            target: impl $crate::proto::client::IntoTarget,
            stream: S,
            listener: impl $crate::listener::IntoAnyListener,
        ) -> ::core::result::Result<$crate::backend::Client, $crate::ConnectError> {
            $crate::backend::connect_over($runtime, target, stream, listener).await
        }

        /// As [`connect`], and the connection is a [`MessageStream`](bellwire_core::MessageStream): a `Stream` of
        /// messages and a `Sink` for them.
        ///
        $(#[$connect_stream])*
        ///
        /// # Errors
        /// As [`connect`].
        ///
        /// # Cancel safety
        /// Dropping the future drops or closes the connection.
        $(#[doc = concat!("\n# Panics\n", $panics)])?
        pub async fn connect_stream(
            target: impl $crate::proto::client::IntoTarget,
        ) -> ::core::result::Result<($crate::MessageStream, $crate::proto::client::Response), $crate::ConnectError> {
            $crate::backend::connect_stream($runtime, target).await
        }

        /// As [`connect_over`], and the connection is a [`MessageStream`](bellwire_core::MessageStream).
        ///
        /// # Errors
        /// As [`connect_over`].
        ///
        /// # Cancel safety
        /// Dropping the future drops or closes the connection.
        $(#[doc = concat!("\n# Panics\n", $panics)])?
        pub async fn connect_stream_over<S: $($Stream)+>(
            target: impl $crate::proto::client::IntoTarget,
            transport: S,
        ) -> ::core::result::Result<($crate::MessageStream, $crate::proto::client::Response), $crate::ConnectError> {
            $crate::backend::connect_stream_over($runtime, target, transport).await
        }

        /// Prepares a client that connects, and connects again when the connection is lost, as the
        /// [`Policy`](bellwire_core::reconnect::Policy) says. [`listen`](bellwire_core::backend::ReconnectBuilder::listen)
        /// or [`stream`](bellwire_core::backend::ReconnectBuilder::stream) start it.
        ///
        $(#[$reconnecting])*
        ///
        /// # Errors
        /// [`ConnectError::Url`](bellwire_core::ConnectError::Url) and
        /// [`ConnectError::Config`](bellwire_core::ConnectError::Config), which say what is wrong with the target. What fails
        /// later is told later.
        pub fn reconnecting(
            target: impl $crate::proto::client::IntoTarget,
            policy: $crate::reconnect::Policy,
        ) -> ::core::result::Result<ReconnectBuilder, $crate::ConnectError> {
            ReconnectBuilder::new($runtime, target, policy, |target, listener| {
                $crate::backend::connect($runtime, target, listener)
            })
        }

        /// As [`reconnecting`], over streams that the caller makes: TLS of its own, Unix sockets, memory. `transport` makes
        /// one for each try; how long that may take is its own affair.
        ///
        /// # Errors
        /// As [`reconnecting`]. An error of `transport` is a [`ConnectError::Connect`](bellwire_core::ConnectError::Connect),
        /// which is told later.
        pub fn reconnecting_over<S, F>(
            target: impl $crate::proto::client::IntoTarget,
            policy: $crate::reconnect::Policy,
            mut transport: impl FnMut() -> F + Send + 'static,
        ) -> ::core::result::Result<ReconnectBuilder, $crate::ConnectError>
        where
            S: $($Stream)+,
            F: ::core::future::Future<Output = ::std::io::Result<S>> + Send + 'static,
        {
            ReconnectBuilder::new($runtime, target, policy, move |target, listener| {
                let transport = transport();
                async move {
                    let stream = transport.await.map_err($crate::ConnectError::Connect)?;
                    $crate::backend::connect_over($runtime, target, stream, listener).await
                }
            })
        }

        /// Answers the one request on a stream that the caller has accepted, and makes a
        /// [`MessageStream`](bellwire_core::MessageStream) of the connection, whatever the path. To look at the request
        /// first, return the listener of [`stream`](fn@bellwire_core::stream) from a handler.
        ///
        /// # Errors
        /// What was wrong with the request, in words; the peer was told.
        ///
        /// # Cancel safety
        /// Dropping the future drops or closes the connection.
        $(#[doc = concat!("\n# Panics\n", $panics)])?
        pub async fn accept_stream<S: $($Stream)+>(
            transport: S,
            config: $crate::Config,
        ) -> ::std::io::Result<$crate::MessageStream> {
            $crate::backend::accept_stream($runtime, transport, config).await
        }

        /// Drives a stream that another library has upgraded, until it ends. `leftover` is what was read after the
        /// handshake.
        ///
        /// That library has checked the request: nothing here looks at its key
        /// ([`accept_key`](bellwire_core::proto::server::accept_key) makes the answer to it), its version or its
        /// `Origin`.
        ///
        /// For a [`MessageStream`](bellwire_core::MessageStream), spawn this with the listener of
        /// [`stream`](fn@bellwire_core::stream), and then await the other end.
        ///
        /// The listener's `on_open` runs when the future is first polled.
        ///
        /// # Cancel safety
        /// Dropping the future drops the connection without a closing handshake. If `on_open` ran, `on_close` does
        /// so at once, with 1006.
        $(#[doc = concat!("\n# Panics\n", $panics)])?
        pub fn upgraded(
            stream: impl $($Upgraded)+,
            leftover: impl ::core::convert::Into<::std::vec::Vec<u8>>,
            role: $crate::Role,
            config: $crate::Config,
            listener: impl $crate::listener::IntoAnyListener,
        ) -> impl ::core::future::Future<Output = ()> {
            $crate::backend::upgraded($runtime, stream, leftover, role, config, listener)
        }
    };
}

pub use named_runtime;
