//! The runtimes that have names: what most programs need, without a runtime to pass on.

/// The module of a runtime: a call to serve, and one to connect.
macro_rules! named {
    ($(#[$attribute:meta])* $module:ident, $executor:ident, $name:literal, $spawn:expr) => {
        $(#[$attribute])*
        pub mod $module {
            use bellwire_core::backend as task;
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

            /// A listening server: see the [methods](task::Server). [`from_listener`](task::Server::from_listener)
            /// takes what [`Async::new`] makes of a listener of the standard library.
            pub type Server = task::Server<Runtime>;

            /// Shuts a [`Server`] down, from any task: see the [methods](task::ServerHandle).
            pub type ServerHandle = task::ServerHandle<Runtime>;

            /// Answers requests on streams that the caller has accepted: TCP, Unix sockets, TLS, in-memory; whatever is
            /// [`AsyncRead`]` + `[`AsyncWrite`]` + Unpin`. See the [methods](task::Acceptor).
            pub type Acceptor = task::Acceptor<Runtime>;

            /// Builds a client that connects again when the connection is lost: see the [methods](task::ReconnectBuilder).
            pub type ReconnectBuilder = task::ReconnectBuilder<Runtime>;

            bellwire_core::backend::named_runtime! {
                RUNTIME,
                addresses: AsyncToSocketAddrs,
                streams: [AsyncRead + AsyncWrite + Unpin + Send + 'static],
                upgraded: [AsyncRead + AsyncWrite + Unpin + 'static];
                serve_with;
                serve_async;
                connect;
                connect_stream;
                reconnecting;
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
