//! Programs of a few lines that say something and end: what `tests/suite/last_words.rs` runs again and again. Each takes
//! the address of a server, or prints its own, and returns from `main` without another call.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use bellwire::async_std::AsyncStd;
use bellwire::futures_io::{Executor, FuturesIo, Server, connect, connect_stream};
use bellwire::listener::ListenerBuilder;
use bellwire::smol::Smol;
use bellwire::{AsyncResponse, Closed, Config, Response, blocking, listener, stream, tokio};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// What each of them says before it ends.
const LAST_WORDS: &str = "last words";

/// How long a server waits for its peers when it is shut down.
const GRACE: Duration = Duration::from_secs(10);

fn main() -> Result {
    let mut args = std::env::args().skip(1);
    let (program, backend) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    let url = args.next().unwrap_or_default();
    match (&*program, &*backend) {
        ("send", "blocking") => send_blocking(&url),
        ("close", "blocking") => close_blocking(&url),
        ("on_open", "blocking") => ended_well(&blocking::connect(&url, says_it_at_once())?.close()),
        ("shutdown", "blocking") => shutdown_blocking(),
        // Dropping it waits.
        ("stream_send", "blocking") => Ok(blocking::connect_stream(&url)?.0.send(LAST_WORDS)?),
        ("stream_close", "blocking") => {
            let (mut messages, _) = blocking::connect_stream(&url)?;
            messages.send(LAST_WORDS)?;
            ended_well(&messages.close())
        }
        ("stream_server", "blocking") => {
            let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
            announce(listener.local_addr()?)?;
            Ok(blocking::accept_stream(listener.accept()?.0, Config::default())?.send(LAST_WORDS)?)
        }
        (_, "tokio") => multi_threaded()?.block_on(on_tokio(&program, &url)),
        (_, "tokio_single_threaded") => single_threaded()?.block_on(on_tokio(&program, &url)),
        (_, "async_std") => async_std::task::block_on(on_futures_io(AsyncStd, &program, &url)),
        (_, "smol") => smol::block_on(on_futures_io(Smol, &program, &url)),
        _ => Err("which program, on which backend?".into()),
    }
}

fn multi_threaded() -> std::io::Result<::tokio::runtime::Runtime> {
    ::tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn single_threaded() -> std::io::Result<::tokio::runtime::Runtime> {
    ::tokio::runtime::Builder::new_current_thread().enable_all().build()
}

// Threads.

fn send_blocking(url: &str) -> Result {
    let client = blocking::connect(url, listener())?;
    client.socket().send(LAST_WORDS)?;
    Ok(())
}

fn close_blocking(url: &str) -> Result {
    let mut client = blocking::connect(url, listener())?;
    client.socket().send(LAST_WORDS)?;
    ended_well(&client.close())
}

fn shutdown_blocking() -> Result {
    let server = blocking::Server::bind("127.0.0.1:0")?;
    announce(server.local_addr()?)?;
    let handle = server.handle();
    let (opens, opened) = std::sync::mpsc::channel();
    let running = std::thread::spawn(move || {
        server.run(move |_| {
            let opens = opens.clone();
            Response::websocket(listener().on_open(move |socket| opens.send(socket.clone())))
        })
    });
    opened.recv()?.send(LAST_WORDS)?;
    handle.shutdown(GRACE);
    Ok(running.join().map_err(|_| "the server panicked")??)
}

// Tasks: the same programs on each runtime.

async fn on_tokio(program: &str, url: &str) -> Result {
    match program {
        // Without another call: a runtime that is dropped lets its tasks say what they have to say.
        "send" => tokio::connect(url, listener()).await?.socket().send(LAST_WORDS)?,
        "send_and_wait" => tokio::connect(url, listener()).await?.socket().send_and_wait(LAST_WORDS).await?,
        "close" => {
            let mut client = tokio::connect(url, listener()).await?;
            client.socket().send(LAST_WORDS)?;
            return ended_well(&client.close().await);
        }
        "on_open" => return ended_well(&tokio::connect(url, says_it_at_once()).await?.close().await),
        "stream_send" => tokio::connect_stream(url).await?.0.send(LAST_WORDS).await?,
        "stream_close" => {
            let (mut messages, _) = tokio::connect_stream(url).await?;
            messages.send(LAST_WORDS).await?;
            return ended_well(&messages.close().await);
        }
        "shutdown" => {
            let server = tokio::Server::bind("127.0.0.1:0").await?;
            announce(server.local_addr()?)?;
            let (handle, (opens, opened)) = (server.handle(), smol::channel::bounded(1));
            let running = ::tokio::spawn(server.run(move |_| {
                let opens = opens.clone();
                Response::websocket(listener().on_open(move |socket| opens.try_send(socket.clone())))
            }));
            opened.recv().await?.send(LAST_WORDS)?;
            handle.shutdown(GRACE).await;
            running.await??;
        }
        "stream_server" => {
            let server = tokio::Server::bind("127.0.0.1:0").await?;
            announce(server.local_addr()?)?;
            let (opens, opened) = smol::channel::bounded(1);
            ::tokio::spawn(server.run_async(move |_| {
                let (listener, opened) = stream();
                let _ = opens.try_send(opened);
                async { AsyncResponse::websocket(listener) }
            }));
            let mut messages = opened.recv().await?.await.ok_or("refused")?;
            messages.send(LAST_WORDS).await?;
            messages.flush().await?;
        }
        _ => return Err("there is no such program".into()),
    }
    Ok(())
}

async fn on_futures_io<E: Executor>(executor: E, program: &str, url: &str) -> Result {
    let runtime = FuturesIo(executor.clone());
    match program {
        "send_and_wait" => connect(runtime, url, listener()).await?.socket().send_and_wait(LAST_WORDS).await?,
        "close" => {
            let mut client = connect(runtime, url, listener()).await?;
            client.socket().send(LAST_WORDS)?;
            return ended_well(&client.close().await);
        }
        "on_open" => return ended_well(&connect(runtime, url, says_it_at_once()).await?.close().await),
        "stream_send" => {
            let (mut messages, _) = connect_stream(runtime, url).await?;
            messages.send(LAST_WORDS).await?;
            messages.flush().await?;
        }
        "stream_close" => {
            let (mut messages, _) = connect_stream(runtime, url).await?;
            messages.send(LAST_WORDS).await?;
            return ended_well(&messages.close().await);
        }
        "shutdown" => {
            let server = Server::bind_on(runtime, "127.0.0.1:0").await?;
            announce(server.local_addr()?)?;
            let (handle, (opens, opened)) = (server.handle(), smol::channel::bounded(1));
            let (ends, ended) = smol::channel::bounded(1);
            executor.spawn(async move {
                let outcome = server.run(move |_| {
                    let opens = opens.clone();
                    Response::websocket(listener().on_open(move |socket| opens.try_send(socket.clone())))
                });
                let _ = ends.try_send(outcome.await);
            });
            opened.recv().await?.send(LAST_WORDS)?;
            handle.shutdown(GRACE).await;
            ended.recv().await??;
        }
        "stream_server" => {
            let server = Server::bind_on(runtime, "127.0.0.1:0").await?;
            announce(server.local_addr()?)?;
            let (opens, opened) = smol::channel::bounded(1);
            executor.spawn(async move {
                let serving = server.run_async(move |_| {
                    let (listener, opened) = stream();
                    let _ = opens.try_send(opened);
                    async { AsyncResponse::websocket(listener) }
                });
                let _ = serving.await;
            });
            let mut messages = opened.recv().await?.await.ok_or("refused")?;
            messages.send(LAST_WORDS).await?;
            messages.flush().await?;
        }
        _ => return Err("there is no such program".into()),
    }
    Ok(())
}

fn says_it_at_once() -> ListenerBuilder {
    listener().on_open(|socket| socket.send(LAST_WORDS))
}

fn ended_well(closed: &Closed) -> Result {
    if closed.clean && closed.code == 1000 { Ok(()) } else { Err(format!("{closed:?}").into()) }
}

/// Tells where a server listens.
fn announce(addr: SocketAddr) -> Result {
    println!("{addr}");
    Ok(std::io::stdout().flush()?)
}
