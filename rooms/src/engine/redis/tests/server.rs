//! Redis itself, as a process of its own.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use redis::{Client, Value};

/// A `redis-server` that ends with this.
pub(super) struct Server {
    process: Child,
    folder: PathBuf,
    port: u16,
    options: Vec<String>,
}

impl Server {
    /// Starts one that keeps nothing on the disk. In its options `PORT` stands for its port.
    pub(super) async fn start(options: &[&str]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("bellwire-redis-{}-{count}", std::process::id()));
        let options: Vec<_> = options.iter().flat_map(|option| option.split(' ')).map(str::to_owned).collect();
        // Somebody else may have taken the port meanwhile.
        for _ in 0..20 {
            std::fs::create_dir_all(&folder).unwrap();
            let port = free_port();
            let process = spawn(&folder, port, &options);
            let mut server = Self { process, folder: folder.clone(), port, options: options.clone() };
            if server.is_up().await {
                return server;
            }
        }
        panic!("no redis-server could be started with {options:?}");
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn unix_url(&self) -> String {
        format!("unix://{}", self.folder.join("socket").display())
    }

    /// Sends it a command.
    pub(super) async fn tell(&self, command: &str) -> Value {
        self.tell_as(&self.unix_url(), command).await
    }

    pub(super) async fn tell_as(&self, url: &str, command: &str) -> Value {
        let client = Client::open(url).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut words = command.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            command.arg(word);
        });
        connection.send_packed_command(&command).await.unwrap()
    }

    /// Ends it as if the machine had lost its power.
    pub(super) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again, at the same port.
    pub(super) async fn start_again(&mut self) {
        self.kill();
        self.process = spawn(&self.folder, self.port, &self.options);
        assert!(self.is_up().await, "it did not start again");
    }

    async fn is_up(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            if self.answers().is_ok_and(|length| length > 0) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        false
    }

    /// Asks it at its own socket: at the port may be another.
    fn answers(&self) -> std::io::Result<usize> {
        let mut socket = UnixStream::connect(self.folder.join("socket"))?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        socket.write_all(b"PING\r\n")?;
        socket.read(&mut [0; 64])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn spawn(folder: &Path, port: u16, options: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command.current_dir(folder).args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.args(["--port", &port.to_string(), "--unixsocket", "socket", "--dir", "."]);
    command.args(options.iter().map(|option| option.replace("PORT", &port.to_string())));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("redis-server has to be installed (Debian's package `redis-server`)")
}
