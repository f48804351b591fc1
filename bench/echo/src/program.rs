//! Programs that are measured: how they are built, started and ended.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::pin;

/// Builds a package of this workspace.
///
/// # Errors
///
/// What the compiler said at first.
pub fn build(package: &str) -> Result<(), String> {
    let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--locked", "--package", package])
        .arg("--manifest-path")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"))
        .arg("--target-dir")
        .arg(target().map_err(|error| error.to_string())?)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if built.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&built.stderr);
    let first = said.lines().find(|line| line.starts_with("error")).unwrap_or("cargo failed and did not say why");
    Err(format!("not built: {first}"))
}

/// A package's program.
///
/// # Errors
///
/// If this program is in no folder.
pub fn built(package: &str) -> io::Result<PathBuf> {
    Ok(target()?.join("release").join(package))
}

/// Where this program was built: what it builds goes there as well.
///
/// # Errors
///
/// If this program is in no folder.
pub fn target() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    program.ancestors().nth(2).map(Path::to_owned).ok_or_else(|| io::Error::other("this program is in no folder"))
}

/// One that nobody listened on a moment ago.
///
/// # Errors
///
/// If there is none.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// A program that takes connections, until this is dropped.
#[derive(Debug)]
pub struct Started {
    child: Child,
}

impl Started {
    /// Starts a program on a processor, and waits until it listens at the address. This thread is then on another one.
    ///
    /// # Errors
    ///
    /// If it does not start, or does not listen.
    pub fn start(command: &mut Command, address: SocketAddr, on: usize, own: usize) -> io::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        pin(on)?;
        let child = command.spawn();
        pin(own)?;
        let child = child.map_err(|error| io::Error::new(error.kind(), format!("it does not start: {error}")))?;
        let mut started = Self { child };
        started.ready(address)?;
        Ok(started)
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn ready(&mut self, address: SocketAddr) -> io::Result<()> {
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("it does not start: {status}")));
            }
            if Instant::now() > until {
                return Err(io::Error::other("it does not listen"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // One that has ended by itself can be neither ended nor waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
