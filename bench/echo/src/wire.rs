//! What carries the bytes of a connection: TCP, or TLS over it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, process};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// Where a server listens, and what its clients speak there.
#[derive(Clone, Debug)]
pub struct Address {
    pub at: SocketAddr,
    pub tls: Option<Arc<ClientConfig>>,
}

/// A certificate for all servers, in files, and what its clients trust.
#[derive(Debug)]
pub struct Certificate {
    folder: PathBuf,
    pub client: Arc<ClientConfig>,
}

impl Certificate {
    pub fn make() -> io::Result<Self> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).map_err(io::Error::other)?;
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).map_err(io::Error::other)?;
        let client = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let folder =
            std::env::temp_dir().join(format!("bench-echo-{}-{}", process::id(), MADE.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&folder)?;
        let made = Self { folder, client: Arc::new(client) };
        fs::write(made.certificate(), cert.pem())?;
        fs::write(made.key(), signing_key.serialize_pem())?;
        Ok(made)
    }

    pub fn certificate(&self) -> PathBuf {
        self.file("certificate.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.file("key.pem")
    }

    fn file(&self, name: &str) -> PathBuf {
        Path::new(&self.folder).join(name)
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        // It lies in a folder for such files, and is worth nothing.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// TCP, or TLS over it.
#[derive(Debug)]
pub enum Wire<T> {
    Tcp(T),
    Tls(Box<Tls<T>>),
}

/// TLS, as a client.
#[derive(Debug)]
pub struct Tls<T> {
    tcp: T,
    tls: ClientConnection,
    blocking: bool,
}

impl Wire<TcpStream> {
    /// Shakes hands, if there is to be TLS.
    pub fn open(mut tcp: TcpStream, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let Some(config) = tls else { return Ok(Self::Tcp(tcp)) };
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        Ok(Self::Tls(Box::new(Tls { tcp, tls, blocking: true })))
    }

    /// The same without blocking, and the socket of another kind.
    pub fn nonblocking<T>(self, convert: impl FnOnce(TcpStream) -> io::Result<T>) -> io::Result<Wire<T>> {
        let converted = |tcp: TcpStream| {
            tcp.set_nonblocking(true)?;
            convert(tcp)
        };
        Ok(match self {
            Self::Tcp(tcp) => Wire::Tcp(converted(tcp)?),
            Self::Tls(tls) => Wire::Tls(Box::new(Tls { tcp: converted(tls.tcp)?, tls: tls.tls, blocking: false })),
        })
    }

    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Tcp(tcp) => tcp,
            Self::Tls(tls) => &tls.tcp,
        }
    }
}

impl<T: Read + Write> Read for Wire<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl<T: Read + Write> Write for Wire<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

impl<T: Read + Write> Tls<T> {
    /// As a socket does: less than there is room for only if that is all.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        loop {
            match self.tls.reader().read(&mut buffer[count..]) {
                Ok(0) => return Ok(count),
                Ok(more) => count += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if count == buffer.len() || count > 0 && self.blocking {
                return Ok(count);
            }
            match self.tls.read_tls(&mut self.tcp) {
                Err(error) if count > 0 && error.kind() == ErrorKind::WouldBlock => return Ok(count),
                result => result?,
            };
            self.tls.process_new_packets().map_err(io::Error::other)?;
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // No more in memory than that: else a socket that is full would never be noticed.
        self.flush()?;
        let count = self.tls.writer().write(bytes)?;
        match self.flush() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(count),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.tcp)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ServerConfig, ServerConnection, StreamOwned};
    use std::net::TcpListener;
    use std::sync::mpsc::{Receiver, channel};
    use std::thread;
    use std::time::{Duration, Instant};

    /// Echoes what one client says, in parts of another size. It begins to read when `go` is sent.
    fn server(certificate: &Certificate, go: Receiver<()>) -> Address {
        let chain = CertificateDer::pem_file_iter(certificate.certificate()).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(certificate.key()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        thread::spawn(move || {
            let tls = ServerConnection::new(Arc::new(config)).unwrap();
            let (mut stream, mut buffer) = (StreamOwned::new(tls, listener.accept().unwrap().0), [0; 1000]);
            stream.conn.complete_io(&mut stream.sock).unwrap();
            let _ = go.recv();
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                stream.write_all(&buffer[..count]).unwrap();
            }
        });
        Address { at, tls: Some(certificate.client.clone()) }
    }

    /// Byte number `at` of what is sent.
    fn byte(at: usize) -> u8 {
        (at / 7) as u8
    }

    #[test]
    fn a_socket_that_is_full_and_then_not_loses_nothing() {
        // More than two sockets hold, however much that is here.
        const MOST: usize = 256 << 20;
        let certificate = Certificate::make().unwrap();
        let (go, waits) = channel();
        let address = server(&certificate, waits);
        let tcp = TcpStream::connect(address.at).unwrap();
        let mut wire = Wire::open(tcp, address.tls.as_ref()).unwrap().nonblocking(Ok).unwrap();
        let (mut written, mut came, mut full) = (0, 0, false);
        let mut length = MOST;
        let until = Instant::now() + Duration::from_secs(60);
        while came < length && Instant::now() < until {
            let part: Vec<u8> = (written..length.min(written + 50_000)).map(byte).collect();
            match wire.write(&part) {
                Ok(count) => written += count,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    if !full {
                        (full, length) = (true, written + (1 << 20));
                        go.send(()).unwrap();
                    }
                }
            }
            let mut buffer = [0; 100_000];
            match wire.read(&mut buffer) {
                Ok(count) => {
                    assert!(buffer[..count].iter().zip(came..).all(|(&is, at)| is == byte(at)));
                    came += count;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        assert!(full, "the socket took {written} bytes");
        assert_eq!(came, length);
    }

    #[test]
    fn who_has_another_certificate_is_not_trusted() {
        let (certificate, other) = (Certificate::make().unwrap(), Certificate::make().unwrap());
        let tcp = TcpStream::connect(server(&certificate, channel().1).at).unwrap();
        assert!(Wire::open(tcp, Some(&other.client)).is_err());
    }
}
