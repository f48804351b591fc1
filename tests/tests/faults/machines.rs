//! The backends, each with a clock that costs nothing, or short deadlines.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bellwire::backend::Service;
use bellwire::futures_io::{Acceptor, connect_over, upgraded};
use bellwire::proto::client::IntoTarget;
use bellwire::{
    Config, ConnectError, Listener, Request, Response, Role, ServerError, Target, blocking, tokio as on_tokio,
};
use bellwire_tests::{Call, Fault, Script, within};
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep, timeout};

use crate::conversation::Start;
use crate::virtual_time::VirtualTime;
use crate::{Machine, Setup, Silence};

/// Threads, in real time.
pub(crate) struct Blocking;

/// Tokio on one thread, with its clock paused.
pub(crate) struct Tokio;

/// futures-io on a runtime with a clock of its own.
pub(crate) struct FuturesIo;

/// A handler that has one listener.
fn handler(listener: Box<dyn Listener>) -> impl Fn(&Request) -> Response + Send + Sync {
    let listener = Mutex::new(Some(listener));
    move |_| Response::websocket(listener.lock().unwrap().take().unwrap())
}

fn target(config: Config) -> impl IntoTarget {
    Target::new("ws://localhost/").unwrap().config(config)
}

/// What a runtime's transports can suffer.
fn polled_faults(call: Call) -> &'static [Fault] {
    use Fault::{Eof, Error, Late, NotYet, Short, Spurious, Stall, Zero};
    match call {
        Call::Read => &[Short, NotYet, Late, Spurious, Error, Eof, Stall],
        Call::Write => &[Short, NotYet, Late, Spurious, Error, Zero, Stall],
        Call::Flush | Call::Shutdown => &[NotYet, Late, Spurious, Error, Stall],
    }
}

impl Machine for Tokio {
    const NAME: &str = "tokio";
    const THREADS: usize = 1;
    const ATTEMPTS: usize = 1;
    const SILENCE: Silence = Silence::Keepalive;
    const FLUSHES: bool = true;

    fn faults(call: Call) -> &'static [Fault] {
        polled_faults(call)
    }

    fn drive(setup: Setup) -> (Result<(), ConnectError>, Duration) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            tokio::spawn(release_late(setup.script.clone()));
            let start = Instant::now();
            // Of the paused clock's time.
            let result = timeout(Duration::from_secs(120), drive_on_tokio(setup)).await.expect("it takes too long");
            (result, start.elapsed())
        })
    }
}

/// Paused time passes when there is nothing else to do.
async fn release_late(script: Script) {
    while !script.is_dropped() {
        sleep(Duration::from_millis(500)).await;
        script.release();
    }
}

async fn drive_on_tokio(setup: Setup) -> Result<(), ConnectError> {
    let Setup { conversation, transport, leftover, listener, .. } = setup;
    let config = Config::default();
    match (conversation.start, conversation.role) {
        (Start::Upgraded, role) => on_tokio::upgraded(transport, leftover, role, config, listener).await,
        (Start::Handshake, Role::Server) => {
            on_tokio::Acceptor::new(handler(listener)).config(config).on_error(|_| ()).accept(transport, None).await;
        }
        (Start::Handshake, Role::Client) => {
            on_tokio::connect_over(target(config), transport, listener).await?.closed().await;
        }
    }
    Ok(())
}

impl Machine for FuturesIo {
    const NAME: &str = "futures-io";
    const THREADS: usize = 1;
    const ATTEMPTS: usize = 1;
    const SILENCE: Silence = Silence::Keepalive;
    const FLUSHES: bool = true;

    fn faults(call: Call) -> &'static [Fault] {
        polled_faults(call)
    }

    fn drive(setup: Setup) -> (Result<(), ConnectError>, Duration) {
        let runtime = VirtualTime::default();
        let script = setup.script.clone();
        let result = runtime.run(&script, drive_on_futures_io(runtime.clone(), setup));
        (result, runtime.now().since_start())
    }
}

async fn drive_on_futures_io(runtime: VirtualTime, setup: Setup) -> Result<(), ConnectError> {
    let runtime = bellwire::futures_io::FuturesIo(runtime);
    let Setup { conversation, transport, leftover, listener, .. } = setup;
    let config = Config::default();
    match (conversation.start, conversation.role) {
        (Start::Upgraded, role) => upgraded(runtime, transport, leftover, role, config, listener).await,
        (Start::Handshake, Role::Server) => {
            let service = Arc::new(Service::new(config, handler(listener), |_: &ServerError| ()));
            Acceptor::from_service_on(runtime, service).accept(transport, None).await;
        }
        (Start::Handshake, Role::Client) => {
            connect_over(runtime, target(config), transport, listener).await?.closed().await;
        }
    }
    Ok(())
}

impl Machine for Blocking {
    const NAME: &str = "blocking";
    // Most of them wait for a deadline.
    const THREADS: usize = 16;
    const ATTEMPTS: usize = 4;
    const SILENCE: Silence = Silence::Idle;
    const FLUSHES: bool = false;

    fn faults(call: Call) -> &'static [Fault] {
        use Fault::{Eof, Error, Interrupted, Short, Stall, TimedOut, Zero};
        match call {
            Call::Read => &[Short, Interrupted, TimedOut, Error, Eof, Stall],
            Call::Write => &[Short, Interrupted, TimedOut, Error, Zero, Stall],
            Call::Flush => &[],
            Call::Shutdown => &[Error],
        }
    }

    fn drive(setup: Setup) -> (Result<(), ConnectError>, Duration) {
        let start = std::time::Instant::now();
        let result = within("a connection", || drive_on_threads(setup));
        (result, start.elapsed())
    }
}

fn drive_on_threads(setup: Setup) -> Result<(), ConnectError> {
    let Setup { conversation, fault, transport, leftover, listener, .. } = setup;
    let config = deadlines(fault);
    match (conversation.start, conversation.role) {
        (Start::Upgraded, role) => blocking::upgraded(transport, leftover, role, config, listener),
        (Start::Handshake, Role::Server) => {
            blocking::Acceptor::new(handler(listener)).config(config).on_error(|_| ()).accept(transport, None);
        }
        (Start::Handshake, Role::Client) => {
            blocking::connect_over(target(config), transport, listener)?.closed();
        }
    }
    Ok(())
}

/// Short where one of them is waited for. No keepalive: on a slow machine its ping could come between two messages.
fn deadlines(fault: Option<Fault>) -> Config {
    let config = Config::default().keepalive_interval(None).linger_timeout(Duration::from_millis(30));
    if fault != Some(Fault::Stall) {
        return config;
    }
    let short = Duration::from_millis(40);
    config.idle_timeout(short).close_timeout(short).open_timeout(short)
}
