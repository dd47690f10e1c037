// What Node's own HTTP parser makes of bytes: reads lines of hex from the file given as
// --input, and prints for each a JSON line with what a server of Node sees, or why it refuses.
//
// Nothing is sent anywhere: the server is given a stream instead of a socket, so that bytes are
// parsed as soon as they are fed.
"use strict";

const fs = require("node:fs");
const http = require("node:http");
const { Duplex } = require("node:stream");
const { options, say } = require("./options");

// Bytes fed behind a head to find where its request ends; longer ones are "long".
const BODY_MAX = 64;

class Connection extends Duplex {
  answered = "";
  _read() {}
  _write(chunk, encoding, done) {
    this.answered += chunk.toString("latin1");
    done();
  }
}

const server = http.createServer({ insecureHTTPParser: false, keepAlive: true });
server.timeout = server.requestTimeout = server.headersTimeout = server.keepAliveTimeout = 0;
// Of the connection that is being fed.
let seen;
for (const event of ["request", "checkContinue", "checkExpectation"]) {
  server.on(event, (request) => seen.requests.push(request));
}
for (const event of ["upgrade", "connect"]) {
  server.on(event, (request, socket, head) => {
    seen.requests.push(request);
    seen.tunnel = { event, head: head.length };
  });
}
server.on("clientError", (error) => (seen.error ??= error.code ?? error.message));

// Feeds until there is an error or nothing is left.
function feed(connection, bytes) {
  connection.emit("data", bytes);
  if (!seen.error && connection.answered.startsWith("HTTP/1.1 4")) {
    seen.error = connection.answered.split("\r\n")[0];
  }
}

// Where the request ends: "none" (with its head), a number of bytes, "long" or "chunked".
function body(connection, request) {
  if (seen.tunnel || request.complete) return "none";
  for (let length = 1; length <= BODY_MAX; length += 1) {
    // No size of a chunk begins with it.
    feed(connection, Buffer.from("z"));
    if (seen.error) return length === 1 ? "chunked" : `broken at ${length}: ${seen.error}`;
    if (request.complete) return length;
  }
  return "long";
}

// As engine.io reads it (Server.prepare in engine.io/build/server.js).
function sid(request) {
  try {
    const url = new URL(request.url, "https://socket.io");
    return Object.fromEntries(url.searchParams.entries()).sid ?? null;
  } catch {
    return null;
  }
}

const hex = (text) => Buffer.from(text, "latin1").toString("hex");

function look(bytes) {
  const connection = new Connection();
  connection.on("error", () => {});
  seen = { requests: [], tunnel: null, error: null };
  server.emit("connection", connection);
  feed(connection, bytes);
  const { requests, tunnel, error } = seen;
  const [request] = requests;
  if (!request) return { error: error ?? "incomplete" };
  const answer = {
    requests: requests.length,
    error,
    complete: request.complete,
    method: request.method,
    target: hex(request.url),
    fields: request.rawHeaders.map(hex),
    host: request.headers.host ?? null,
    forwarded_for: request.headers["x-forwarded-for"] ?? null,
    forwarded_proto: request.headers["x-forwarded-proto"] ?? null,
    sid: sid(request),
    tunnel: tunnel?.event ?? null,
    body: error ? null : body(connection, request),
  };
  connection.destroy();
  return answer;
}

for (const line of fs.readFileSync(options.input, "latin1").split("\n")) {
  if (line) say(look(Buffer.from(line, "hex")));
}
