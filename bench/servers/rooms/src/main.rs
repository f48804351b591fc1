//! A chat of one room on bellwire.
//!
//! `bench-rooms broadcast PORT`: a set of sockets, and `broadcast`. `bench-rooms local|redis URL|nats URL PORT`: rooms. Who
//! connects to `/publisher` is no member.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bellwire::rooms::Rooms;
use bellwire::tokio::Server;
use bellwire::{CloseCode, Config, Listener, Message, Outcome, Request, Response, WebSocket, broadcast};

type Members = Arc<Mutex<HashSet<WebSocket>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((port, chat)) = arguments.split_last() else {
        return Err(io::Error::other("usage: bench-rooms CHAT PORT"));
    };
    // No pings: what is idle is to stay so.
    let server = Server::bind(format!("127.0.0.1:{port}")).await?.config(Config::default().keepalive_interval(None));
    match &chat.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["broadcast"] => by_hand(server).await,
        ["local"] => in_rooms(server, Rooms::local()).await,
        ["nats", url] => in_rooms(server, Rooms::nats(*url).map_err(io::Error::other)?).await,
        ["redis", url] => in_rooms(server, Rooms::redis(*url).map_err(io::Error::other)?).await,
        _ => Err(io::Error::other("there is no such chat")),
    }
}

fn publishes(request: &Request) -> bool {
    request.path() == "/publisher"
}

async fn in_rooms(server: Server, rooms: Rooms) -> io::Result<()> {
    rooms.connected().await.map_err(io::Error::other)?;
    server
        .run(move |request: &Request| {
            Response::websocket(InRooms { rooms: rooms.clone(), publishes: publishes(request) })
        })
        .await
}

struct InRooms {
    rooms: Rooms,
    publishes: bool,
}

const ROOM: &str = "room";

impl Listener for InRooms {
    fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        if !self.publishes {
            self.rooms.join(ROOM, socket)?;
        }
        Ok(())
    }

    fn on_message(&mut self, _: &WebSocket, message: Message<'_>) -> Outcome {
        Ok(self.rooms.publish(ROOM, message)?)
    }
}

async fn by_hand(server: Server) -> io::Result<()> {
    let members = Members::default();
    server
        .run(move |request: &Request| {
            Response::websocket(ByHand { members: members.clone(), publishes: publishes(request) })
        })
        .await
}

struct ByHand {
    members: Members,
    publishes: bool,
}

impl Listener for ByHand {
    fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        if !self.publishes {
            self.members.lock().unwrap_or_else(PoisonError::into_inner).insert(socket.clone());
        }
        Ok(())
    }

    fn on_message(&mut self, _: &WebSocket, message: Message<'_>) -> Outcome {
        broadcast(&*self.members.lock().unwrap_or_else(PoisonError::into_inner), message);
        Ok(())
    }

    fn on_close(&mut self, socket: &WebSocket, _: CloseCode, _: &str) {
        self.members.lock().unwrap_or_else(PoisonError::into_inner).remove(socket);
    }
}
