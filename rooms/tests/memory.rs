//! What rooms cost in memory. A binary of its own: its allocator counts.

// Elsewhere pointers are of other sizes.
#![cfg(target_pointer_width = "64")]

use std::sync::Arc;

use allocation_counter::measure;
use bellwire_core::backend::Shared;
use bellwire_core::proto::{Connection, Time};
use bellwire_core::{Config, WebSocket};
use bellwire_rooms::Rooms;

fn sockets(count: usize) -> Vec<WebSocket> {
    let config = Arc::new(Config::default());
    let shared = || Arc::new(Shared::new(Connection::server(config.clone(), Time::ZERO)));
    (0..count).map(|_| WebSocket::from_arc(shared())).collect()
}

/// Each socket with each of its rooms: so many rooms for a socket, of so many members.
fn memberships(sockets: &[WebSocket], each: usize, members: usize) -> impl Iterator<Item = (String, &WebSocket)> {
    let rooms = (0..each).flat_map(move |round| sockets.iter().enumerate().map(move |socket| (round, socket)));
    rooms.map(move |(round, (index, socket))| (format!("room {round} {}", index / members), socket))
}

/// Tables have as much room that they do not use as with 100,000.
const SOCKETS: usize = 25_000;

#[test]
fn a_membership_costs_what_the_documentation_says() {
    for (each, members, most) in [(1, 10, 375), (1, 10_000, 280), (10, 10, 215), (10, 10_000, 120)] {
        let (rooms, sockets) = (Rooms::local(), sockets(SOCKETS));
        let info = measure(|| {
            memberships(&sockets, each, members).for_each(|(room, socket)| rooms.join(&room, socket).unwrap());
        });
        let bytes = info.bytes_current as usize / (SOCKETS * each);
        println!("{each} rooms for a socket, of {members} members: {bytes} bytes for a membership, at most {most}");
        assert!(bytes <= most, "{bytes}");
    }
}

#[test]
fn whoever_leaves_leaves_nothing() {
    let (rooms, sockets) = (Rooms::local(), sockets(100));
    let come_and_go = || {
        memberships(&sockets, 3, 10).for_each(|(room, socket)| rooms.join(&room, socket).unwrap());
        memberships(&sockets, 3, 10).for_each(|(room, socket)| assert!(rooms.leave(&room, socket)));
    };
    // The tables have grown then.
    come_and_go();
    assert_eq!(measure(come_and_go).bytes_current, 0);
}
