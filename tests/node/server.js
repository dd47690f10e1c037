// One Socket.IO process: says its port as a JSON line, then every engine error as another.
//
// --id=s1          told to each client on connect
// --sids=prefix    ids are "<id>.<random>" instead of what Socket.IO makes
// --host=ADDRESS   where it listens instead of 127.0.0.1
// --redis=URL      joined to the other processes by @socket.io/redis-adapter
"use strict";

const crypto = require("node:crypto");
const http = require("node:http");
const { Server } = require("socket.io");
const { options, say } = require("./options");

const id = options.id ?? "s1";

const page = http.createServer();
page.on("request", (request, response) => {
  if (request.url.startsWith("/socket.io/")) return;
  const body = request.url === "/" ? `<p>${id}</p>` : `// ${id} ${request.url}\n`;
  response.setHeader("Content-Length", Buffer.byteLength(body));
  response.end(body);
});

const io = new Server(page, { cors: { origin: "*" } });
if (options.sids === "prefix") {
  io.engine.generateId = () => `${id}.${crypto.randomBytes(15).toString("base64url")}`;
}
io.engine.on("connection_error", (error) => {
  say({ engine_error: error.message, code: error.code });
});
io.on("connection", (socket) => {
  socket.emit("server", id);
  socket.on("echo", (data, answer) => answer(data));
  socket.on("shout", (data) => io.emit("shout", data));
});

async function main() {
  if (options.redis) {
    const { createAdapter } = require("@socket.io/redis-adapter");
    const { createClient } = require("redis");
    const publisher = createClient({ url: options.redis });
    const subscriber = publisher.duplicate();
    await Promise.all([publisher.connect(), subscriber.connect()]);
    io.adapter(createAdapter(publisher, subscriber));
  }
  page.listen(Number(options.port ?? 0), options.host ?? "127.0.0.1", 4096, () => {
    say({ port: page.address().port });
  });
}

main();
