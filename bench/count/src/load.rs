//! What a program that is measured has to do.

use std::io;
use std::net::TcpListener;
use std::process::Command;

use bellwire_bench_callgrind::{Counts, Program, count};

use crate::peer::Peer;
use bellwire_bench_messages::Exchange;

/// How many connections are made at once: a backlog has room for them.
const BATCH: usize = 64;
/// How many idle connections are counted, and how many come before them, which pay for what is there once.
const IDLE: usize = 2000;
const WARM: usize = 200;
/// How many batches of connections live and end, in the first run.
const LIVES: usize = 25;

/// Connections, and what is sent on them.
#[derive(Debug, Clone)]
pub struct Load {
    pub exchange: Exchange,
    pub connections: usize,
    /// How many messages are sent at once on a connection.
    pub depth: usize,
    /// How often that is done; in the second run it is twice as often.
    pub turns: usize,
    /// Who gets a message back.
    pub receivers: Receivers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receivers {
    /// All send, and each gets back what it has sent.
    Sender,
    /// The first one sends, and all get it.
    All,
}

impl Load {
    /// Returns what one message costs a server.
    ///
    /// # Errors
    /// If it does not answer as it should.
    pub fn on_server(&self, program: &str, form: &str) -> io::Result<Counts> {
        self.twice(|turns| {
            let mut server = Program::start(command(program)?.arg(form))?;
            let address = server.line()?;
            let mut peers = connect(&server, &address, None, self.connections)?;
            self.run(&server, &mut peers, turns)?;
            server.end()
        })
    }

    /// Returns what one message costs a program that is a client on so many connections.
    ///
    /// # Errors
    /// As [`on_server`](Self::on_server).
    pub fn on_client(&self, program: &str) -> io::Result<Counts> {
        self.twice(|turns| {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let arguments = [listener.local_addr()?.to_string(), self.connections.to_string()];
            let client = Program::start(command(program)?.args(arguments))?;
            let mut peers: Vec<_> =
                (0..self.connections).map(|_| Peer::accept(&listener)).collect::<io::Result<_>>()?;
            self.run(&client, &mut peers, turns)?;
            client.end()
        })
    }

    fn twice(&self, run: impl Fn(usize) -> io::Result<Counts>) -> io::Result<Counts> {
        let messages = self.turns * self.depth * self.connections;
        Ok(run(self.turns)?.per(run(2 * self.turns)?, messages))
    }

    fn run(&self, program: &Program, peers: &mut [Peer], turns: usize) -> io::Result<()> {
        let senders = if self.receivers == Receivers::All { 1 } else { peers.len() };
        for _ in 0..turns {
            let stopped = program.stop()?;
            peers[..senders].iter_mut().try_for_each(|peer| peer.send(&self.exchange, self.depth))?;
            drop(stopped);
            peers.iter_mut().try_for_each(|peer| peer.receive(&self.exchange, self.depth))?;
        }
        Ok(())
    }
}

/// Returns what so many rounds of something in memory cost, for one of them.
///
/// # Errors
/// If the program fails.
pub fn in_memory(program: &str, arguments: &[&str], rounds: usize) -> io::Result<Counts> {
    let run = |rounds: usize| count(command(program)?.args(arguments).arg(rounds.to_string()));
    Ok(run(rounds)?.per(run(2 * rounds)?, rounds))
}

/// Returns what a connection's life costs a server: it is accepted and upgraded, echoes once, and is closed by its peer.
///
/// # Errors
/// If it does not answer as it should.
pub fn life(program: &str, form: &str, exchange: &Exchange) -> io::Result<Counts> {
    let run = |turns: usize| {
        let mut server = Program::start(command(program)?.arg(form))?;
        let address = server.line()?;
        // One stays: the last to leave would give back memory that the next would take again.
        let stays = connect(&server, &address, None, 1)?;
        for _ in 0..turns {
            come_and_go(&server, &address, exchange)?;
        }
        let counts = server.end();
        drop(stays);
        counts
    };
    Ok(run(LIVES)?.per(run(2 * LIVES)?, LIVES * BATCH))
}

/// Many connections go through each step together.
fn come_and_go(program: &Program, address: &str, exchange: &Exchange) -> io::Result<()> {
    let mut peers = connect(program, address, None, BATCH)?;
    let stopped = program.stop()?;
    peers.iter_mut().try_for_each(|peer| peer.send(exchange, 1))?;
    drop(stopped);
    peers.iter_mut().try_for_each(|peer| peer.receive(exchange, 1))?;
    let stopped = program.stop()?;
    peers.iter_mut().try_for_each(Peer::close)?;
    drop(stopped);
    peers.iter_mut().try_for_each(Peer::closed)?;
    // The server waits for the end of each.
    let stopped = program.stop()?;
    drop(peers);
    drop(stopped);
    program.rest()
}

/// Returns how many bytes of a server are resident for an idle connection: a new one, and one that has echoed.
///
/// # Errors
/// If it does not answer as it should.
pub fn idle(program: &str, form: &str, offer: Option<&str>, exchange: &Exchange) -> io::Result<[f64; 2]> {
    let mut server = Program::start_plain(command(program)?.arg(form))?;
    let address = server.line()?;
    let mut peers = connect(&server, &address, offer, WARM)?;
    // What a thread compresses with is there once, however many connections there are.
    let warm = if offer.is_some() { WARM } else { 0 };
    let echo = |peer: &mut Peer| peer.send(exchange, 1).and_then(|()| peer.receive(exchange, 1));
    peers[..warm].iter_mut().try_for_each(echo)?;
    let before = server.resident()?;
    peers.extend(connect(&server, &address, offer, IDLE)?);
    let opened = server.resident()?;
    peers[warm..].iter_mut().try_for_each(echo)?;
    let of = |resident: u64| (resident as f64 - before as f64) / IDLE as f64;
    Ok([of(opened), of(server.resident()?)])
}

/// Connects so many peers. The program is held while they ask, so that it finds the same each time.
fn connect(program: &Program, address: &str, offer: Option<&str>, count: usize) -> io::Result<Vec<Peer>> {
    let mut peers = Vec::with_capacity(count);
    while peers.len() < count {
        let stopped = program.stop()?;
        let batch = (count - peers.len()).min(BATCH);
        let mut asking: Vec<_> = (0..batch).map(|_| Peer::connect(address, offer)).collect::<io::Result<_>>()?;
        drop(stopped);
        asking.iter_mut().try_for_each(Peer::upgraded)?;
        peers.extend(asking);
    }
    Ok(peers)
}

/// A program of this package: it is beside the one that runs.
fn command(program: &str) -> io::Result<Command> {
    let mut path = std::env::current_exe()?;
    path.set_file_name(program);
    Ok(Command::new(path))
}
