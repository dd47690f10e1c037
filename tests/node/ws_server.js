// A WebSocket echo server made with the `ws` library: says its port as a JSON line.
"use strict";

const { WebSocketServer } = require("ws");
const { say } = require("./options");

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, maxPayload: 64 << 20 });
server.on("listening", () => say({ port: server.address().port }));
server.on("connection", (socket) => {
  socket.on("message", (data, binary) => socket.send(data, { binary }));
});
