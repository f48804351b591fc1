//! What a delivery costs at least: a program that does nothing but write frames to sockets. It speaks just enough
//! WebSocket for that, and serves one publisher, who comes when all members are there.
//!
//! `bench-rooms-floor send|batch PORT`: a write for each frame, or one for all frames of a read.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [way, port] = &arguments[..] else { return Err(io::Error::other("usage: bench-rooms-floor WAY PORT")) };
    let listener = TcpListener::bind(("127.0.0.1", port.parse().map_err(io::Error::other)?))?;
    let mut members = Vec::new();
    loop {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        // What has connected and gone only wanted to know whether anybody listens.
        let Ok(publishes) = upgrade(&mut stream) else { continue };
        if publishes {
            return publish(stream, &members, way == "batch");
        }
        members.push(stream);
    }
}

/// Whether it is the publisher.
fn upgrade(stream: &mut TcpStream) -> io::Result<bool> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")?;
    Ok(head.starts_with(b"GET /publisher "))
}

fn publish(mut publisher: TcpStream, members: &[TcpStream], batch: bool) -> io::Result<()> {
    let (mut buffer, mut filled, mut output) = (vec![0; 256 * 1024], 0, Vec::new());
    loop {
        match publisher.read(&mut buffer[filled..])? {
            0 => return Ok(()),
            count => filled += count,
        }
        let mut taken = 0;
        output.clear();
        while let Some((header, length)) = header(&buffer[taken..filled]) {
            let start = taken + header;
            let Some(payload) = buffer[..filled].get(start..start + length) else { break };
            frame(payload, &buffer[start - 4..start], &mut output);
            taken = start + length;
            if !batch {
                to_all(members, &output)?;
                output.clear();
            }
        }
        to_all(members, &output)?;
        buffer.copy_within(taken..filled, 0);
        filled -= taken;
    }
}

fn to_all(mut members: &[TcpStream], output: &[u8]) -> io::Result<()> {
    while let (false, Some((mut member, others))) = (output.is_empty(), members.split_first()) {
        member.write_all(output)?;
        members = others;
    }
    Ok(())
}

/// The lengths of a masked frame's header and payload, if its header is there.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    match bytes {
        [_, 0xfe, a, b, _, _, _, _, ..] => Some((8, u16::from_be_bytes([*a, *b]).into())),
        [_, second, _, _, _, _, ..] if *second < 0xfe => Some((6, (second & 0x7f).into())),
        _ => None,
    }
}

/// A text's frame without a mask.
fn frame(payload: &[u8], key: &[u8], output: &mut Vec<u8>) {
    match u8::try_from(payload.len()) {
        Ok(length @ 0..126) => output.extend([0x81, length]),
        _ => {
            output.extend([0x81, 126]);
            output.extend((payload.len() as u16).to_be_bytes());
        }
    }
    output.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}
