//! A NATS or Redis server of the test's own.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{Process, Random, asking, look_for, wait_until};

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `nats-server`.
    Nats,
    /// `redis-server`.
    Redis,
}

/// A broker that a test has started: on a port of its own, with a folder of its own. Both are given back when this is
/// dropped.
pub struct Broker {
    kind: Kind,
    place: Place,
    more: Vec<String>,
    password: Option<String>,
    process: Process,
}

/// Where a broker listens, and where it keeps its files.
pub(crate) struct Place {
    pub(crate) port: u16,
    /// Where NATS is asked what it does.
    pub(crate) monitor: u16,
    /// What tells this broker from one that came first to this port.
    pub(crate) name: String,
    folder: Folder,
}

/// A folder that goes when this is dropped.
struct Folder(PathBuf);

/// Who may use a broker that asks.
pub(crate) const USER: &str = "alice";

/// So many ports are tried.
const TRIES: usize = 50;

impl Broker {
    /// Starts one that keeps nothing.
    pub fn start(kind: Kind) -> Self {
        Self::with(kind, &[])
    }

    /// Starts one with these lines in its configuration, besides.
    pub fn with(kind: Kind, more: &[&str]) -> Self {
        Self::launch(kind, None, more)
    }

    /// Starts one with streams, which outlive it.
    pub fn with_history(kind: Kind) -> Self {
        match kind {
            Kind::Nats => Self::with(kind, &["jetstream { store_dir: \"FOLDER\" }"]),
            Kind::Redis => Self::with(kind, &["appendonly yes", "appendfsync always"]),
        }
    }

    /// Starts one that wants this password, from the user of [`url`](Self::url).
    pub fn secured(kind: Kind, password: &str) -> Self {
        let line = match kind {
            Kind::Nats => format!("authorization {{ user: {USER}, password: \"{password}\" }}"),
            Kind::Redis => format!("user default off\nuser {USER} on >{password} ~* &* +@all"),
        };
        Self::launch(kind, Some(password.to_owned()), &[&line])
    }

    /// Starts one that has all of another Redis, as soon as it answers.
    pub fn replica_of(primary: &Self) -> Self {
        let this = Self::with(Kind::Redis, &[&format!("replicaof 127.0.0.1 {}", primary.port())]);
        let is_online = || primary.redis(&["INFO", "replication"]).concat().contains("state=online");
        wait_until("a replica that is online", is_online);
        wait_until("a replica that knows that", || this.redis(&["ROLE"]).contains(&"connected".to_owned()));
        this
    }

    /// Starts a Sentinel that calls a Redis `mymaster`, takes it for lost when it has said nothing for 0.3 s, and fails
    /// over if so many of them do. It wants a password if there is one.
    pub fn sentinel_of(primary: &Self, quorum: usize, password: Option<&str>) -> Self {
        let mut lines = vec![
            format!("sentinel monitor mymaster 127.0.0.1 {} {quorum}", primary.port()),
            "sentinel down-after-milliseconds mymaster 300".to_owned(),
            "sentinel failover-timeout mymaster 2000".to_owned(),
        ];
        if let Some(password) = &primary.password {
            lines.extend([
                format!("sentinel auth-pass mymaster {password}"),
                format!("sentinel auth-user mymaster {USER}"),
            ]);
        }
        if let Some(password) = password {
            lines.push(format!("user default off\nuser {USER} on >{password} ~* &* +@all"));
        }
        Self::launch(Kind::Redis, password.map(str::to_owned), &lines.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn launch(kind: Kind, password: Option<String>, more: &[&str]) -> Self {
        let mut random = Random::unseeded();
        let more: Vec<_> = more.iter().map(|&line| line.to_owned()).collect();
        for _ in 0..TRIES {
            let place = Place::somewhere(&mut random);
            if let Ok(process) = launch(kind, &place, &more, password.as_deref()) {
                return Self { kind, place, more, password, process };
            }
        }
        panic!("{kind:?} starts on none of {TRIES} ports: is it installed?");
    }

    /// Returns which broker it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.place.port
    }

    /// Returns what nodes are given.
    pub fn url(&self) -> String {
        self.url_at(self.place.port)
    }

    /// Returns what nodes are given that come through something else.
    pub fn url_at(&self, port: u16) -> String {
        let credentials = self.password.as_ref().map_or_else(String::new, |password| format!("{USER}:{password}@"));
        format!("{}://{credentials}127.0.0.1:{port}", self.kind.scheme())
    }

    /// Returns which channels are subscribed whose names begin with `prefix`, and by how many connections.
    pub fn channels(&self, prefix: &str) -> BTreeMap<String, usize> {
        match self.kind {
            Kind::Nats => asking::nats_subjects(&self.place, prefix),
            Kind::Redis => asking::redis_channels(&self.place, self.password.as_deref(), prefix),
        }
    }

    /// Tells Redis something, and returns what it says, as words.
    pub fn redis(&self, command: &[&str]) -> Vec<String> {
        asking::redis(&self.place, self.password.as_deref(), command).unwrap()
    }

    /// Lets the broker end every connection of a client that is there, and go on.
    pub fn stop(&mut self) {
        self.process.stop();
    }

    /// Ends it as a power cut does.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Lets it do nothing, with its connections open.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.resume();
    }

    /// Starts it again where it was, after it was stopped or killed.
    pub fn restart(&mut self) {
        assert!(!self.process.is_running(), "a broker is started again while it runs");
        let started = look_for(|| launch(self.kind, &self.place, &self.more, self.password.as_deref()).ok());
        self.process = started.expect("the port is free again");
    }
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Nats, Self::Redis];

    /// Returns how a URL begins.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::Redis => "redis",
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Nats => "nats-server",
            Self::Redis => "redis-server",
        }
    }
}

impl Place {
    /// Below the ports that systems give to clients: none of those takes it while a broker is away.
    fn somewhere(random: &mut Random) -> Self {
        let mut port = || random.within(10_000..32_000) as u16;
        let (port, monitor) = (port(), port());
        Self { port, monitor, name: format!("bellwire-{}", random.number()), folder: Folder::new(random) }
    }

    fn write(&self, kind: Kind, more: &[String]) -> PathBuf {
        let (port, folder) = (self.port, self.folder.0.display().to_string());
        let mut lines = match kind {
            Kind::Nats => vec![
                format!("listen: 127.0.0.1:{port}"),
                format!("http: 127.0.0.1:{}", self.monitor),
                format!("server_name: {}", self.name),
            ],
            Kind::Redis => vec![
                "bind 127.0.0.1".to_owned(),
                format!("port {port}"),
                "save \"\"".to_owned(),
                "repl-diskless-sync-delay 0".to_owned(),
                format!("dir {folder}"),
            ],
        };
        lines.extend(more.iter().map(|line| line.replace("FOLDER", &folder)));
        let path = self.folder.0.join("configuration");
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        path
    }
}

/// Starts a broker, and waits until it answers. `Err`: its port was taken.
fn launch(kind: Kind, place: &Place, more: &[String], password: Option<&str>) -> Result<Process, ()> {
    if TcpListener::bind(("127.0.0.1", place.port)).is_err() {
        return Err(());
    }
    let path = place.write(kind, more);
    let mut command = Command::new(kind.program());
    match kind {
        Kind::Nats => command.arg("--config").arg(path),
        Kind::Redis => command.arg(path),
    };
    if more.iter().any(|line| line.starts_with("sentinel ")) {
        command.arg("--sentinel");
    }
    let mut process = Process::start(&mut command);
    let mut ended = false;
    wait_until("a broker that answers", || {
        ended = !process.is_running();
        ended || is_this(kind, place, password, &process)
    });
    if ended { Err(()) } else { Ok(process) }
}

/// Whether the broker there is this one, and not another that was faster.
fn is_this(kind: Kind, place: &Place, password: Option<&str>, process: &Process) -> bool {
    match kind {
        Kind::Nats => asking::nats_is_called(place),
        Kind::Redis => asking::redis_is_process(place, password, process.id()),
    }
}

impl Folder {
    fn new(random: &mut Random) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let name = format!("bellwire-rooms-{process}-{count}-{:x}", random.number());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
