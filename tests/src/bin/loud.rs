//! A server whose owner has set no hook, or a silent one: what `tests/suite/refusals.rs` reads the stderr of. It prints
//! its address, and ends when its stdin does.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::thread;

use bellwire::async_std::AsyncStd;
use bellwire::futures_io::{Executor, FuturesIo, Server};
use bellwire::smol::Smol;
use bellwire::{Request, Response, blocking, listener, tokio};

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result {
    let mut args = std::env::args().skip(1);
    let (backend, quiet) = (args.next().unwrap_or_default(), args.next().is_some());
    thread::spawn(move || match &*backend {
        "blocking" => on_threads(quiet),
        "tokio" => ::tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(on_tokio(quiet)),
        "tokio_single_threaded" => {
            ::tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(on_tokio(quiet))
        }
        "async_std" => async_std::task::block_on(on_futures_io(AsyncStd, quiet)),
        "smol" => smol::block_on(on_futures_io(Smol, quiet)),
        _ => Err("which backend?".into()),
    });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn handler(request: &Request) -> Result<Response> {
    match request.path() {
        "/fails" => Err("out of\norder".into()),
        _ => Ok(Response::websocket(listener())),
    }
}

fn on_threads(quiet: bool) -> Result {
    let server = blocking::Server::bind("127.0.0.1:0")?;
    announce(server.local_addr()?)?;
    let server = if quiet { server.on_error(|_| ()) } else { server };
    Ok(server.run(handler)?)
}

async fn on_tokio(quiet: bool) -> Result {
    let server = tokio::Server::bind("127.0.0.1:0").await?;
    announce(server.local_addr()?)?;
    let server = if quiet { server.on_error(|_| ()) } else { server };
    Ok(server.run(handler).await?)
}

async fn on_futures_io<E: Executor>(executor: E, quiet: bool) -> Result {
    let server = Server::bind_on(FuturesIo(executor), "127.0.0.1:0").await?;
    announce(server.local_addr()?)?;
    let server = if quiet { server.on_error(|_| ()) } else { server };
    Ok(server.run(handler).await?)
}

/// Tells where a server listens.
fn announce(addr: SocketAddr) -> Result {
    println!("{addr}");
    Ok(std::io::stdout().flush()?)
}
