// Echoes WebSocket messages of 1 B to 16 MiB with the `ws` library, byte by byte, then says how
// many came back as they were.
//
// --url=ws://127.0.0.1:PORT/
// --skip=N   messages the server sends before it echoes
"use strict";

const { WebSocket } = require("ws");
const { options, say } = require("./options");

const sizes = [1, 2, 125, 126, 127, 4096, 16383, 16384, 65535, 65536, 1 << 20, 16 << 20];
const socket = new WebSocket(options.url, { maxPayload: 64 << 20 });
let sent = null;
let same = 0;
let skip = Number(options.skip ?? 0);

function pattern(size) {
  const bytes = Buffer.allocUnsafe(size);
  for (let n = 0; n < size; n += 1) bytes[n] = (n * 31 + (n >> 8) * 7 + size) & 255;
  return bytes;
}

function next() {
  if (sizes.length === 0) return socket.close(1000, "done");
  sent = pattern(sizes.shift());
  socket.send(sent);
}

socket.on("open", next);
socket.on("message", (data) => {
  if (skip > 0) {
    skip -= 1;
    return;
  }
  if (!sent.equals(data)) throw new Error(`${sent.length} bytes came back as ${data.length} others`);
  same += 1;
  next();
});
socket.on("close", (code, reason) => {
  say({ same, code, reason: reason.toString() });
  process.exit(0);
});
