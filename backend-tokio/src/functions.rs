//! What most programs need: one call to serve, and one to connect.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::ToSocketAddrs;

use crate::{ReconnectBuilder, Server, Tokio};

bellwire_core::backend::named_runtime! {
    Tokio,
    addresses: ToSocketAddrs,
    streams: [AsyncRead + AsyncWrite + Unpin + Send + 'static],
    upgraded: [AsyncRead + AsyncWrite + Unpin],
    panics: "When polled outside of a tokio runtime, or in one without its timer; for sockets of the runtime's own, also in \
             one without its driver of I/O.";

    /// ```no_run
    /// # mod bellwire { pub use bellwire_core::*; pub mod tokio { pub use bellwire_tokio::*; } }
    /// use bellwire::{Response, listener};
    /// use bellwire::tokio::serve_with;
    ///
    /// # async fn example() -> std::io::Result<()> {
    /// serve_with("127.0.0.1:9001", |request, responder| {
    ///     tokio::spawn(async move {
    ///         // Ask a database, say.
    ///         match request.path() {
    ///             "/echo" => responder.respond(Response::websocket(
    ///                 listener().on_message(|socket, message| socket.send(message)),
    ///             )),
    ///             _ => responder.respond(Response::not_found()),
    ///         }
    ///     });
    /// })
    /// .await
    /// # }
    /// ```
    serve_with;

    /// ```no_run
    /// # mod bellwire { pub use bellwire_core::*; pub mod tokio { pub use bellwire_tokio::*; } }
    /// use bellwire::{AsyncResponse, async_listener};
    /// use bellwire::tokio::serve_async;
    ///
    /// # async fn example() -> std::io::Result<()> {
    /// serve_async("127.0.0.1:9001", |_request| async {
    ///     AsyncResponse::websocket(
    ///         async_listener().on_message(async |socket, message| socket.send_and_wait(message).await),
    ///     )
    /// })
    /// .await
    /// # }
    /// ```
    serve_async;

    /// ```no_run
    /// # mod bellwire { pub use bellwire_core::*; pub mod tokio { pub use bellwire_tokio::*; } }
    /// use bellwire::listener;
    /// use bellwire::tokio::connect;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let printing = listener().on_message(|_, message| println!("{}", message.as_text().unwrap_or("(binary)")));
    /// let mut client = connect("ws://127.0.0.1:9001/", printing).await?;
    /// client.socket().send("hello")?;
    /// println!("{}", client.closed().await); // or `close`, to be the one who ends it
    /// # Ok(())
    /// # }
    /// ```
    connect;

    /// ```no_run
    /// # mod bellwire { pub use bellwire_core::*; pub mod tokio { pub use bellwire_tokio::*; } }
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let (mut messages, _response) = bellwire::tokio::connect_stream("ws://127.0.0.1:9001/").await?;
    /// messages.send("hello").await?;
    /// while let Some(message) = messages.recv().await {
    ///     println!("{:?}", message?);
    /// }
    /// println!("{:?}", messages.closed());
    /// # Ok(())
    /// # }
    /// ```
    connect_stream;

    /// ```no_run
    /// # mod bellwire { pub use bellwire_core::*; pub mod tokio { pub use bellwire_tokio::*; } }
    /// use bellwire::tokio::reconnecting;
    /// use bellwire::listener;
    /// use bellwire::reconnect::Policy;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let feed = reconnecting("ws://127.0.0.1:9001/", Policy::new())?
    ///     .on_disconnected(|disconnected| eprintln!("{disconnected}"))
    ///     .listen(|_connected| {
    ///         listener()
    ///             .on_open(|socket| socket.send("subscribe"))
    ///             .on_message(|_, message| println!("{}", message.as_text().unwrap_or("(binary)")))
    ///     });
    /// println!("{}", feed.wait().await); // or `close`, to be the one who ends it
    /// # Ok(())
    /// # }
    /// ```
    reconnecting;
}
