//! However a connection ends, the peer is told that nothing more comes: over TLS with a `close_notify`. The transport
//! is a script, which knows whether its sending side was closed before it was dropped.

use bellwire::proto::client::HandshakeError;
use bellwire::{ConnectError, Response, Role, listener};
use bellwire_tests::{
    Backend, Connect, Frame, Line, Over, Script, Setup, What, When, backends, echo, quiet, upgrade_request,
};

backends! {
    client {
        e4_a_client_that_is_refused_ends_its_sending_side,
        e4_a_client_whose_handshake_fails_ends_its_sending_side,
        e4_a_client_that_is_too_late_ends_its_sending_side,
    }
    both {
        e4_the_sending_side_is_ended_behind_the_peers_close,
        e4_the_sending_side_is_ended_behind_a_close_of_ours,
        e4_the_sending_side_is_ended_when_the_peer_has_vanished,
        e4_the_sending_side_is_ended_when_the_peer_breaks_the_protocol,
        e4_the_sending_side_is_ended_when_the_peer_does_not_answer_a_close,
    }
}

fn line(when: When, bytes: impl AsRef<[u8]>) -> Line {
    Line { when, what: What::Bytes(bytes.as_ref().to_vec()) }
}

const END: Line = Line { when: When::AtOnce, what: What::End };

/// A connection of ours in this role, on which the peer says this.
fn ends<B: Backend>(role: Role, closes: bool, lines: impl IntoIterator<Item = Line>) {
    let backend = B::start();
    let ours = move || listener().on_open(move |socket| if closes { socket.close() } else { Ok(()) });
    let config = quiet().close_timeout(std::time::Duration::from_millis(300));
    let head = match role {
        Role::Server => line(When::AtOnce, upgrade_request("/", &[])),
        Role::Client => Line { when: When::Written(0), what: What::Switching },
    };
    let script = Script::new([head].into_iter().chain(lines)).behind_a_head();
    let over = Over::Scripted(script.transport());
    match role {
        Role::Server => {
            let acceptor = backend.acceptor(Setup::new(config), move |_| Response::websocket(ours()));
            acceptor.accept(over, None).wait();
        }
        Role::Client => {
            let connect = Connect::to("ws://localhost/").config(config);
            backend.connect_over(connect, over, ours()).unwrap().closed();
        }
    }
    script.wait_for_drop();
    assert!(script.is_shut());
}

fn frame(role: Role, frame: &Frame) -> Line {
    line(When::AtOnce, frame.encode(role == Role::Server))
}

fn e4_the_sending_side_is_ended_behind_the_peers_close<B: Backend>(role: Role) {
    ends::<B>(role, false, [frame(role, &Frame::close(1000, "")), END]);
}

fn e4_the_sending_side_is_ended_behind_a_close_of_ours<B: Backend>(role: Role) {
    ends::<B>(role, true, [frame(role, &Frame::close(1000, "")), END]);
}

fn e4_the_sending_side_is_ended_when_the_peer_has_vanished<B: Backend>(role: Role) {
    ends::<B>(role, false, [END]);
}

fn e4_the_sending_side_is_ended_when_the_peer_breaks_the_protocol<B: Backend>(role: Role) {
    ends::<B>(role, false, [frame(role, &Frame::new(3, "")), END]);
}

fn e4_the_sending_side_is_ended_when_the_peer_does_not_answer_a_close<B: Backend>(role: Role) {
    ends::<B>(role, true, []);
}

/// A handshake of a client to which a server says this.
fn fails<B: Backend>(connect: Connect, lines: impl IntoIterator<Item = Line>) -> ConnectError {
    let script = Script::new(lines).behind_a_head();
    let failed = B::start().connect_over(connect, Over::Scripted(script.transport()), echo());
    script.wait_for_drop();
    assert!(script.is_shut());
    failed.err().expect("it connects")
}

fn e4_a_client_that_is_refused_ends_its_sending_side<B: Backend>() {
    let no = line(When::Written(0), "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let refused = fails::<B>(Connect::to("ws://localhost/"), [no]);
    assert!(matches!(refused, ConnectError::Handshake(HandshakeError::Refused(_))), "{refused}");
}

fn e4_a_client_whose_handshake_fails_ends_its_sending_side<B: Backend>() {
    let rubbish = fails::<B>(Connect::to("ws://localhost/"), [line(When::Written(0), "SSH-2.0-OpenSSH\r\n\r\n")]);
    assert!(matches!(rubbish, ConnectError::Handshake(_)), "{rubbish}");
    let nothing = fails::<B>(Connect::to("ws://localhost/"), [END]);
    assert!(matches!(nothing, ConnectError::Handshake(HandshakeError::Eof)), "{nothing}");
}

fn e4_a_client_that_is_too_late_ends_its_sending_side<B: Backend>() {
    let config = quiet().open_timeout(std::time::Duration::from_millis(200));
    let late = fails::<B>(Connect::to("ws://localhost/").config(config), []);
    assert!(matches!(late, ConnectError::Timeout(_)), "{late}");
}
