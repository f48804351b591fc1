//! The runtimes that have names: what most programs need, without a runtime to pass on.

/// The module of a runtime: a call to serve, and one to connect.
macro_rules! named {
    ($(#[$attribute:meta])* $module:ident, $executor:ident, $name:literal, $spawn:expr) => {
        $(#[$attribute])*
        pub mod $module {
            use std::io;

            use bellwire_core::backend::{self as task, IntoTarget};
            use bellwire_core::listener::{IntoAnyListener, IntoAsyncResponse, IntoResponse};
            use bellwire_core::proto::client::Response;
            use bellwire_core::{Config, ConnectError, MessageStream, Request, Responder, Role};
            use futures_io::{AsyncRead, AsyncWrite};

            pub use async_io::Async;
            pub use async_net::AsyncToSocketAddrs;
            pub use bellwire_core::backend::Client;

            use crate::{Executor, FuturesIo, Timer};

            #[doc = concat!("Spawns on ", $name, ".")]
            #[derive(Debug, Clone, Copy, Default)]
            pub struct $executor;

            impl Executor for $executor {
                type Timer = Timer;

                fn timer(&self) -> Timer {
                    Timer::start()
                }

                fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
                    let spawn = $spawn;
                    spawn(task);
                }
            }

            #[doc = concat!("The runtime of ", $name, ".")]
            pub type Runtime = FuturesIo<$executor>;

            const RUNTIME: Runtime = FuturesIo($executor);

            /// A listening server: see the [methods](task::Server). [`from_listener`](task::Server::from_listener) takes
            /// what [`Async::new`] makes of a listener of the standard library.
            pub type Server = task::Server<Runtime>;

            /// Shuts a [`Server`] down, from any task: see the [methods](task::ServerHandle).
            pub type ServerHandle = task::ServerHandle<Runtime>;

            /// Answers requests on streams that the caller has accepted: TCP, Unix sockets, TLS, in-memory; whatever is
            /// [`AsyncRead`]` + `[`AsyncWrite`]` + Unpin`. See the [methods](task::Acceptor).
            pub type Acceptor = task::Acceptor<Runtime>;

            /// Listens on `addr` and answers every request with `handler`, until the process ends. [`Server`] has
            /// options, tells its address, and can be shut down.
            ///
            /// Refused requests and failures of the handler are printed on stderr, each kind at most once per minute;
            /// [`Server::on_error`](task::Server::on_error) takes another hook.
            ///
            /// # Errors
            /// If the address cannot be listened on.
            ///
            /// # Cancel safety
            /// Dropping the future ends the listening, and nothing else.
            pub async fn serve<A: IntoResponse>(
                addr: impl AsyncToSocketAddrs,
                handler: impl Fn(&Request) -> A + Send + Sync + 'static, // an `async` one goes to `serve_async`
            ) -> io::Result<()> {
                Server::bind(addr).await?.run(handler).await
            }

            /// As [`serve`], with a handler that answers when it likes, and from where it likes: Ring's asynchronous
            /// handler. [`Server::run_with`](task::Server::run_with) has options.
            ///
            /// # Errors
            /// If the address cannot be listened on.
            ///
            /// # Cancel safety
            /// Dropping the future ends the listening, and nothing else.
            pub async fn serve_with(
                addr: impl AsyncToSocketAddrs,
                handler: impl Fn(Request, Responder) + Send + Sync + 'static,
            ) -> io::Result<()> {
                Server::bind(addr).await?.run_with(handler).await
            }

            /// As [`serve`], with an asynchronous handler, whose answer may carry an asynchronous listener.
            /// [`Server::run_async`](task::Server::run_async) has options.
            ///
            /// # Errors
            /// If the address cannot be listened on.
            ///
            /// # Cancel safety
            /// Dropping the future ends the listening, and nothing else.
            pub async fn serve_async<F: Future<Output: IntoAsyncResponse> + Send + 'static>(
                addr: impl AsyncToSocketAddrs,
                handler: impl Fn(Request) -> F + Send + Sync + 'static, // one that is not `async` goes to `serve`
            ) -> io::Result<()> {
                Server::bind(addr).await?.run_async(handler).await
            }

            /// Connects: resolves the host, tries its addresses, 250 ms apart, until the first answers (RFC 8305), and
            /// makes the opening handshake, all within [`Config::open_timeout`]. `target` is a `ws://` URL, or a
            /// [`Target`](bellwire_core::Target), which has options. When this returns, `on_open` has run; that of an
            /// asynchronous listener has begun.
            ///
            /// # Errors
            /// Every [`ConnectError`]. A refusal carries status, headers and the start of the body.
            ///
            /// # Cancel safety
            /// Dropping the future drops the transport; no callback has run then, and none will.
            pub async fn connect(
                target: impl IntoTarget,
                listener: impl IntoAnyListener,
            ) -> Result<Client, ConnectError> {
                task::connect(RUNTIME, target, listener).await
            }

            /// Makes the opening handshake over a stream that the caller has: TLS for a `wss://` URL, a Unix socket,
            /// memory. When this returns, `on_open` has run; that of an asynchronous listener has begun.
            ///
            /// # Errors
            /// Those [`ConnectError`]s that come after connecting.
            ///
            /// # Cancel safety
            /// Dropping the future drops the stream; no callback has run then, and none will.
            pub async fn connect_over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
                target: impl IntoTarget,
                stream: S,
                listener: impl IntoAnyListener,
            ) -> Result<Client, ConnectError> {
                task::connect_over(RUNTIME, target, stream, listener).await
            }

            /// As [`connect`], and the connection is a [`MessageStream`]: a `Stream` of messages and a `Sink` for them.
            ///
            /// # Errors
            /// As [`connect`].
            ///
            /// # Cancel safety
            /// Dropping the future drops or closes the connection.
            pub async fn connect_stream(target: impl IntoTarget) -> Result<(MessageStream, Response), ConnectError> {
                task::connect_stream(RUNTIME, target).await
            }

            /// As [`connect_over`], and the connection is a [`MessageStream`].
            ///
            /// # Errors
            /// As [`connect_over`].
            ///
            /// # Cancel safety
            /// Dropping the future drops or closes the connection.
            pub async fn connect_stream_over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
                target: impl IntoTarget,
                transport: S,
            ) -> Result<(MessageStream, Response), ConnectError> {
                task::connect_stream_over(RUNTIME, target, transport).await
            }

            /// Answers the one request on a stream that the caller has accepted, and makes a [`MessageStream`] of the
            /// connection, whatever the path. To look at the request first, return the listener of
            /// [`stream`](bellwire_core::stream()) from a handler.
            ///
            /// # Errors
            /// What was wrong with the request, in words; the peer was told.
            ///
            /// # Cancel safety
            /// Dropping the future drops or closes the connection.
            pub async fn accept_stream<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
                transport: S,
                config: Config,
            ) -> io::Result<MessageStream> {
                task::accept_stream(RUNTIME, transport, config).await
            }

            /// Drives a stream that somebody else upgraded, until it ends. `leftover` is what was read after the
            /// handshake.
            ///
            /// Whoever upgrades has checked the request: nothing here looks at its key
            /// ([`accept_key`](bellwire_core::proto::server::accept_key) makes the answer to it), its version or its `Origin`.
            ///
            /// For a [`MessageStream`], spawn this with the listener of [`stream`](bellwire_core::stream()), and then
            /// await the other end.
            ///
            /// The listener's `on_open` runs when the future is first polled.
            ///
            /// # Cancel safety
            /// Dropping the future drops the connection without a closing handshake. If `on_open` ran, `on_close` does
            /// so at once, with 1006.
            pub fn upgraded(
                stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
                leftover: impl Into<Vec<u8>>,
                role: Role,
                config: Config,
                listener: impl IntoAnyListener,
            ) -> impl Future<Output = ()> {
                task::upgraded(RUNTIME, stream, leftover, role, config, listener)
            }
        }
    };
}

named! {
    /// Servers and clients on smol's global executor.
    #[cfg(feature = "smol")]
    smol, Smol, "smol's global executor", |task| ::smol::spawn(task).detach()
}

named! {
    /// Servers and clients on async-std, which is discontinued (RUSTSEC-2025-0052): its authors recommend smol.
    #[cfg(feature = "async-std")]
    async_std, AsyncStd, "async-std", |task| drop(::async_std::task::spawn(task))
}
