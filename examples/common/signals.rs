//! What tells a program to end: Ctrl-C, and on Unix SIGTERM.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::thread;

use super::BoxError;

/// Listens from now on. What it returns is something that every backend can wait for.
pub(crate) fn to_end() -> Result<smol::channel::Receiver<()>, BoxError> {
    // tokio hears signals on every system; this runtime does nothing else.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let told = {
        let _inside = runtime.enter();
        told()?
    };
    let (sender, receiver) = smol::channel::bounded(1);
    thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(told);
        // Nobody waits for it any more if the server has failed.
        let _ = sender.try_send(());
    })?;
    Ok(receiver)
}

type Told = Pin<Box<dyn Future<Output = ()> + Send>>;

#[cfg(unix)]
fn told() -> io::Result<Told> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(Box::pin(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }))
}

#[cfg(windows)]
fn told() -> io::Result<Told> {
    let mut ctrl_c = tokio::signal::windows::ctrl_c()?;
    Ok(Box::pin(async move {
        ctrl_c.recv().await;
    }))
}
