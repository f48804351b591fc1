//! A client that connects again, of each backend.
#![cfg_attr(
    not(any(feature = "tokio", feature = "smol", feature = "async-std")),
    allow(dead_code, unused_imports, reason = "not all that polls is needed")
)]

use std::thread;
use std::time::Duration;

use bellwire::backend::{ReconnectBuilder, Runtime};
use bellwire::listener::IntoListener;
use bellwire::reconnect::{Disconnected, Ended, Failure, Offline, Policy, Reconnecting};
use bellwire::{Closed, OwnedMessage, SendError, Target};

use super::{Backend, BoxError};

/// How long to wait until it is asked again whether there is a connection.
const MOMENT: Duration = Duration::from_millis(10);

/// A client, and what waits for its end.
pub(crate) struct Client {
    pub(crate) handle: Reconnecting,
    pub(crate) closed: Box<dyn FnOnce() -> Result<Closed, BoxError>>,
}

/// Connects in the background, and again whenever that may help. Each connection gets a listener.
pub(crate) fn start<L: IntoListener>(
    backend: Backend,
    target: Target,
    listener: impl Fn() -> L + Send + Sync + 'static,
    on_end: impl FnOnce() + Send + 'static,
) -> Result<Client, BoxError> {
    // What a lost connection has not written is sent by the next; beside that nothing is kept.
    let policy = Policy::new().first_delay(Duration::from_secs(1)).offline(Offline::Keep { messages: 0, bytes: 0 });
    match backend {
        #[cfg(feature = "blocking")]
        Backend::Blocking => {
            let builder = bellwire::blocking::reconnecting(target, policy)?;
            let builder = builder.on_disconnected(|disconnected| tell(&disconnected)).on_end(move |_| on_end());
            let handle = builder.listen(move |_| listener())?;
            Ok(Client { handle: handle.clone().into(), closed: Box::new(move || how(&*handle.wait()?)) })
        }
        #[cfg(feature = "tokio")]
        Backend::Tokio => {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
            let _here = runtime.enter();
            let handle = begin(bellwire::tokio::reconnecting(target, policy)?, listener, on_end);
            let ended = handle.wait();
            Ok(Client { handle, closed: Box::new(move || how(&runtime.block_on(ended))) })
        }
        #[cfg(feature = "smol")]
        Backend::Smol => {
            let handle = begin(bellwire::smol::reconnecting(target, policy)?, listener, on_end);
            let ended = handle.wait();
            Ok(Client { handle, closed: Box::new(move || how(&smol::block_on(ended))) })
        }
        #[cfg(feature = "async-std")]
        Backend::AsyncStd => {
            let handle = begin(bellwire::async_std::reconnecting(target, policy)?, listener, on_end);
            let ended = handle.wait();
            Ok(Client { handle, closed: Box::new(move || how(&async_std::task::block_on(ended))) })
        }
    }
}

fn begin<R: Runtime, L: IntoListener>(
    builder: ReconnectBuilder<R>,
    listener: impl Fn() -> L + Send + Sync + 'static,
    on_end: impl FnOnce() + Send + 'static,
) -> Reconnecting {
    builder.on_disconnected(|disconnected| tell(&disconnected)).on_end(move |_| on_end()).listen(move |_| listener())
}

fn tell(disconnected: &Disconnected) {
    if disconnected.retry_in.is_some() {
        eprintln!("{disconnected}");
    }
}

/// Says how it has ended.
fn how(ended: &Ended) -> Result<Closed, BoxError> {
    if !ended.unsent.is_empty() {
        return Err(format!("{} messages were not sent", ended.unsent.len()).into());
    }
    match ended.failure.as_deref() {
        Some(Failure::Closed(closed)) => Ok(closed.clone()),
        _ => Err(ended.to_string().into()),
    }
}

/// Sends a message as soon as there is a connection for it.
pub(crate) fn send(client: &Reconnecting, message: &OwnedMessage) -> Result<(), SendError> {
    loop {
        match client.send(message) {
            Err(SendError::Offline | SendError::Full) => thread::sleep(MOMENT),
            sent => return sent,
        }
    }
}
