//! `Target::socket`: what a program does with a client's sockets before they are connected.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;

use bellwire::{ConnectError, Request, Response, listener};
use bellwire_tests::{Backend, Connect, Setup, backends, echo, next};
use socket2::Socket;

backends! {
    client {
        one_that_connects_to_a_proxy_is_bound_as_well,
        a_hook_that_fails_is_named_and_nobody_is_connected_to,
        an_address_where_nobody_listens_is_told_with_a_hook_as_without,
        so_is_one_to_which_the_system_does_not_even_try_to_connect,
    }
    pair {
        a_client_connects_from_the_address_that_its_socket_was_bound_to,
        a_socket_that_is_set_up_does_not_wait_and_carries_much,
    }
}

/// All of 127.0.0.0/8 is the machine's own.
const HAS_ANOTHER_ADDRESS: bool = cfg!(target_os = "linux");

fn from_another_address(socket: &Socket, _: SocketAddr) -> io::Result<()> {
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0)).into())
}

fn a_client_connects_from_the_address_that_its_socket_was_bound_to<B: Backend>() {
    if !HAS_ANOTHER_ADDRESS {
        return;
    }
    let backend = B::start();
    let (sender, peers) = mpsc::channel();
    let sender = Mutex::new(sender);
    let server = backend.serve(Setup::default(), move |request: &Request| {
        sender.lock().unwrap().send(request.peer_addr().unwrap().ip()).unwrap();
        Response::websocket(listener())
    });
    for (socket, from) in [(None, [127, 0, 0, 1]), (Some(from_another_address as _), [127, 0, 0, 2])] {
        let connect = Connect { socket, ..Connect::to(server.url("/")) };
        let client = backend.connect(connect, listener()).unwrap();
        assert_eq!(next(&peers), Ipv4Addr::from(from));
        assert_eq!(client.socket.peer_addr(), Some(server.addr));
        client.socket.close().unwrap();
        assert!(client.closed().clean);
    }
}

fn one_that_connects_to_a_proxy_is_bound_as_well<B: Backend>() {
    if !HAS_ANOTHER_ADDRESS {
        return;
    }
    let backend = B::start();
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let asked = thread::spawn(move || proxy.accept().unwrap().1.ip());
    let connect = Connect { socket: Some(from_another_address), ..Connect::to("ws://far.example/").through(&url) };
    // It hangs up.
    assert!(matches!(backend.connect(connect, listener()), Err(ConnectError::Proxy(_))));
    assert_eq!(asked.join().unwrap(), Ipv4Addr::new(127, 0, 0, 2));
}

fn a_socket_that_is_set_up_does_not_wait_and_carries_much<B: Backend>() {
    fn is_told_of_each(socket: &Socket, addr: SocketAddr) -> io::Result<()> {
        assert!(addr.ip().is_loopback());
        assert!(socket.tcp_nodelay()?, "it waits for more to send");
        assert!(socket.peer_addr().is_err(), "it is connected already");
        socket.set_send_buffer_size(8 * 1024)
    }
    let backend = B::start();
    let server = backend.serve(Setup::default(), |_: &Request| Response::websocket(echo()));
    let (sender, echoes) = mpsc::channel();
    let connect = Connect { socket: Some(is_told_of_each), ..Connect::to(server.url("/")) };
    let hears = listener().on_message(move |_, message| sender.send(message.into_owned()).unwrap());
    let client = backend.connect(connect, hears).unwrap();
    let long = "x".repeat(500_000);
    client.socket.send(&*long).unwrap();
    assert!(next(&echoes) == *long);
    client.socket.close().unwrap();
    assert!(client.closed().clean);
}

fn a_hook_that_fails_is_named_and_nobody_is_connected_to<B: Backend>() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    fn fails(_: &Socket, _: SocketAddr) -> io::Result<()> {
        CALLS.fetch_add(1, Ordering::Relaxed);
        Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "no such interface"))
    }
    let backend = B::start();
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listening.local_addr().unwrap());
    let before = CALLS.load(Ordering::Relaxed);
    let Err(error) = backend.connect(Connect { socket: Some(fails), ..Connect::to(url) }, listener()) else {
        panic!("it connects");
    };
    assert!(matches!(error, ConnectError::Connect(_)), "{error:?}");
    assert!(error.to_string().contains("the hook of Target::socket: no such interface"), "{error}");
    assert!(CALLS.load(Ordering::Relaxed) > before);
    // Nobody has come.
    listening.set_nonblocking(true).unwrap();
    assert_eq!(listening.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

fn an_address_where_nobody_listens_is_told_with_a_hook_as_without<B: Backend>() {
    fn nothing(_: &Socket, _: SocketAddr) -> io::Result<()> {
        Ok(())
    }
    let backend = B::start();
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let connect = Connect { socket: Some(nothing), ..Connect::to(format!("ws://{addr}/")) };
    let Err(ConnectError::Connect(error)) = backend.connect(connect, listener()) else { panic!("not so") };
    assert!(error.to_string().contains("refused"), "{error}");
}

/// From an address of this machine alone there is no way to another.
fn so_is_one_to_which_the_system_does_not_even_try_to_connect<B: Backend>() {
    if !HAS_ANOTHER_ADDRESS {
        return;
    }
    let backend = B::start();
    let connect = Connect { socket: Some(from_another_address), ..Connect::to("ws://192.0.2.1:9/") };
    let Err(error) = backend.connect(connect, listener()) else { panic!("it connects") };
    assert!(matches!(error, ConnectError::Connect(_)), "{error:?}");
}
