//! A server of NATS, and a relay in front of it.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

static DIRECTORIES: AtomicUsize = AtomicUsize::new(0);

/// A server that was started, with a folder of its own.
pub(super) struct Server {
    child: Child,
    folder: PathBuf,
    pub(super) place: String,
    monitor: String,
    /// Where other servers of its cluster find it.
    pub(super) cluster: String,
}

impl Server {
    pub(super) fn start() -> Self {
        Self::with("")
    }

    /// Starts it with this configuration.
    pub(super) fn with(configuration: &str) -> Self {
        let number = DIRECTORIES.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("bellwire-nats-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self::run(folder, "-1", configuration)
    }

    fn run(folder: PathBuf, port: &str, configuration: &str) -> Self {
        let file = folder.join("configuration");
        let store = folder.join("store");
        fs::write(&file, configuration.replace("STORE", store.to_str().unwrap())).unwrap();
        let child = Command::new("nats-server")
            .args(["-a", "127.0.0.1", "-p", port, "-m", "-1", "--ports_file_dir"])
            .arg(&folder)
            .arg("-c")
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server is not installed");
        let ports = folder.join(format!("nats-server_{}.ports", child.id()));
        let mut server = Self { child, folder, place: String::new(), monitor: String::new(), cluster: String::new() };
        until(|| {
            let text = fs::read_to_string(&ports).unwrap_or_default();
            let mut places = text.split('"').filter_map(|part| part.split_once("://"));
            let (Some((_, place)), Some((_, monitor))) = (places.next(), places.next()) else { return false };
            (server.place, server.monitor) = (place.into(), monitor.into());
            server.cluster = places.next().map(|(_, cluster)| cluster.into()).unwrap_or_default();
            true
        });
        server
    }

    pub(super) fn url(&self) -> String {
        format!("nats://{}", self.place)
    }

    /// Kills it, and starts it again at the same place.
    pub(super) fn restart(&mut self, configuration: &str) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let (_, port) = self.place.rsplit_once(':').unwrap();
        let next = Self::run(self.folder.clone(), port, configuration);
        let mut before = std::mem::replace(self, next);
        // The folder is still in use.
        before.folder = PathBuf::new();
    }

    pub(super) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// What the server counts of `what`, on its page of that name.
    pub(super) fn count(&self, page: &str, what: &str) -> usize {
        let mut stream = TcpStream::connect(&self.monitor).unwrap();
        write!(stream, "GET /{page} HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (_, after) = text.split_once(&format!("\"{what}\":")).unwrap();
        let digits: String = after.trim_start().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    }

    pub(super) fn connections(&self) -> usize {
        self.count("connz", "num_connections")
    }

    pub(super) fn subscriptions(&self) -> usize {
        self.count("subsz", "num_subscriptions")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !self.folder.as_os_str().is_empty() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Waits until something is so.
pub(super) fn until(mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < super::HANG, "it does not come about");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Hands on what goes to a server and what comes from it, until it is cut.
pub(super) struct Relay {
    pub(super) place: String,
    accepted: Arc<AtomicUsize>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl Relay {
    pub(super) fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let (accepted, streams) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let gate = Arc::new((Mutex::new(true), Condvar::new()));
        let relay = Self { place, accepted: accepted.clone(), streams: streams.clone(), gate: gate.clone() };
        let to = server.place.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                accepted.fetch_add(1, Ordering::SeqCst);
                let (client, Ok(server)) = (client.unwrap(), TcpStream::connect(&to)) else { continue };
                let copies = [client.try_clone().unwrap(), server.try_clone().unwrap()];
                streams.lock().unwrap().extend(copies);
                let (from_client, to_client) = (client.try_clone().unwrap(), client);
                let (from_server, to_server) = (server.try_clone().unwrap(), server);
                let gate = gate.clone();
                thread::spawn(move || pump(from_client, to_server, Some(gate)));
                thread::spawn(move || pump(from_server, to_client, None));
            }
        });
        relay
    }

    pub(super) fn url(&self) -> String {
        format!("nats://{}", self.place)
    }

    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Lets nothing through to the server any more.
    pub(super) fn hold(&self) {
        *self.gate.0.lock().unwrap() = false;
    }

    /// Ends all connections, and lets the next ones through.
    pub(super) fn cut(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, gate: Option<Arc<(Mutex<bool>, Condvar)>>) -> io::Result<()> {
    let mut buffer = [0; 65536];
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            to.shutdown(Shutdown::Both)?;
            return Ok(());
        }
        if let Some(gate) = &gate {
            drop(gate.1.wait_while(gate.0.lock().unwrap(), |open| !*open).unwrap());
        }
        to.write_all(&buffer[..length])?;
    }
}
