//! Servers whose connections are streams, each for a thread that talks.

use std::future::ready;
use std::io;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bellwire_core::backend::{Service, conclude};
use bellwire_core::listener::IntoOutcome;
use bellwire_core::stream::StreamListener;
use bellwire_core::{AsyncResponse, Config, Request, Response, ServerError, stream};

use crate::end::End;
use crate::message_stream::MessageStream;
use crate::server::{OnError, Server};
use crate::wait::wait_until;

/// Listens on `addr`, and makes a [`MessageStream`] of every connection, until the process ends. The handler sees the
/// request first. It returns a function that talks, on a thread of its own; or a response, which refuses.
/// [`Server::run_streams`] has options.
///
/// ```no_run
/// # mod bellwire { pub use bellwire_core::*; pub mod blocking { pub use bellwire_blocking::*; } }
/// use bellwire::blocking::{MessageStream, serve_streams};
/// use bellwire::{Response, StreamError};
///
/// fn echo(messages: &mut MessageStream) -> Result<(), StreamError> {
///     while let Some(message) = messages.recv() {
///         messages.send(message?)?;
///     }
///     Ok(())
/// }
///
/// serve_streams("127.0.0.1:9001", |request| match request.path() {
///     "/echo" => Ok(echo),
///     _ => Err(Response::not_found()),
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// If the address cannot be listened on.
pub fn serve_streams<T, O: IntoOutcome>(
    addr: impl ToSocketAddrs,
    handler: impl Fn(&Request) -> Result<T, Response> + Send + Sync + 'static,
) -> io::Result<()>
where
    T: FnOnce(&mut MessageStream) -> O + Send + 'static,
{
    Server::bind(addr)?.run_streams(handler)
}

impl Server {
    /// As [`run`](Self::run), and each connection is a [`MessageStream`] for a function that the handler returns; a
    /// [`Response`] refuses the request, or answers a plain one.
    ///
    /// The function runs on a thread of its own, beside the connection's. When it returns the connection is closed with 1000
    /// "Normal Closure", if it is open. An error or a panic closes it with 1011 "Unexpected Error", and an error is
    /// [told](Self::on_error); one that says how the connection has ended ([`StreamError`](bellwire_core::StreamError)) changes nothing. A
    /// [shutdown](crate::ServerHandle::shutdown) ends the connection: the function sees that, and is not waited for.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_streams<T, O: IntoOutcome>(
        self,
        handler: impl Fn(&Request) -> Result<T, Response> + Send + Sync + 'static,
    ) -> io::Result<()>
    where
        T: FnOnce(&mut MessageStream) -> O + Send + 'static,
    {
        self.run_service(|config, on_error| service(config, handler, on_error))
    }
}

fn service<T, O: IntoOutcome>(
    config: Config,
    handler: impl Fn(&Request) -> Result<T, Response> + Send + Sync + 'static,
    on_error: OnError,
) -> Service
where
    T: FnOnce(&mut MessageStream) -> O + Send + 'static,
{
    let (close_timeout, on_error) = (config.close_timeout, Arc::new(on_error));
    let told = on_error.clone();
    let handler = move |request: Request| {
        ready(match handler(&request) {
            Ok(talk) => begin(close_timeout, talk, told.clone()).map(AsyncResponse::websocket),
            Err(response) => Ok(response.into()),
        })
    };
    Service::asynchronous(config, handler, move |error: &ServerError| on_error(error))
}

/// Starts the thread that talks, once the connection is open.
fn begin<T, O: IntoOutcome>(
    close_timeout: Option<Duration>,
    talk: T,
    on_error: Arc<OnError>,
) -> io::Result<StreamListener>
where
    T: FnOnce(&mut MessageStream) -> O + Send + 'static,
{
    let (listener, opened) = stream();
    // The handler is called by the connection's thread.
    let driving = thread::current().id();
    let run = move || {
        let Some(messages) = wait_until(None, opened).flatten() else { return };
        let end = End::of_server(messages.socket().clone(), close_timeout, driving);
        let mut messages = MessageStream::new(messages, end);
        let returned = talk(&mut messages);
        if let Err(error) = conclude(messages.socket(), returned) {
            on_error(&ServerError::Handler(error));
        }
    };
    thread::Builder::new().name("bellwire-stream".into()).spawn(run)?;
    Ok(listener)
}
