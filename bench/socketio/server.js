// A chat of one room with socket.io, over several nodes with its Redis adapter, as its documentation shows it.
//
//     node server.js REDIS_URL PORT
//
// It looks for its packages in NODE_PATH. Who connects with `?publisher=1` is no member.
"use strict";

const { createServer } = require("node:http");
const { createAdapter } = require("@socket.io/redis-adapter");
const { createClient } = require("redis");
const { Server } = require("socket.io");

const [url, port] = process.argv.slice(2);
const ROOM = "room";

async function main() {
  const publishing = createClient({ url });
  const subscribing = publishing.duplicate();
  await Promise.all([publishing.connect(), subscribing.connect()]);
  const http = createServer();
  // No pings: keepalive is off in all servers that are measured.
  const options = { transports: ["websocket"], pingInterval: 3_600_000 };
  const io = new Server(http, { ...options, adapter: createAdapter(publishing, subscribing) });
  io.on("connection", (socket) => {
    if (!socket.handshake.query.publisher) {
      socket.join(ROOM);
    }
    socket.on("m", (text) => io.to(ROOM).emit("m", text));
  });
  http.listen(Number(port), "127.0.0.1");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
