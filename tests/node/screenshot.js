// Makes docs/status-page.png and docs/status-page-dark.png: the page of a real ringway, with traffic
// of its own making between four servers and a few hundred clients, all in this process.
//
// --ringway=PATH     the program
// --to=DIRECTORY     where the pictures go
// --seconds=300      how long there is traffic before that: what a chart spans
"use strict";

const { spawn } = require("node:child_process");
const fs = require("node:fs");
const http = require("node:http");
const os = require("node:os");
const path = require("node:path");
const WebSocket = require("ws");
const { launch, open, textIs } = require("./browser");
const { options, say } = require("./options");

const LISTEN = "127.0.0.1:18080";
const ADMIN = "127.0.0.1:19080";
const SOCKETS = 240;
const HOSTS = ["chat.example.com", "www.example.com", "eu.example.com"];

main().catch((error) => {
  console.error(error.stack);
  process.exitCode = 1;
});

async function main() {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "ringway-"));
  const servers = [18881, 18882, 18883, 18884].map(startServer);
  const ringway = await startRingway(directory);
  const browser = await launch();
  try {
    const views = [];
    for (const colorScheme of ["light", "dark"]) {
      const viewport = { width: 1280, height: 1060 };
      const { page } = await open(browser, `http://${ADMIN}/`, { colorScheme, viewport });
      await textIs(page, "#link", "live");
      views.push({ page, colorScheme });
    }
    const load = new Load();
    await pause(Number(options.seconds ?? 300) * 1_000);
    servers[2].close();
    servers[2].closeAllConnections();
    await drain("127.0.0.1:18882");
    await pause(4_000);
    for (const { page, colorScheme } of views) await shoot(page, colorScheme);
    load.stop();
  } finally {
    await browser.close();
    ringway.kill("SIGINT");
    fs.rmSync(directory, { recursive: true });
    process.exit();
  }
}

// Answers with as many bytes as it is asked for, over HTTP and WebSockets.
function startServer(port) {
  const some = Buffer.alloc(1 << 20, ".");
  const server = http.createServer((request, response) => {
    const size = Number(new URL(request.url, "http://x").searchParams.get("bytes") ?? 100);
    response.end(some.subarray(0, size));
  });
  const sockets = new WebSocket.WebSocketServer({ server });
  sockets.on("connection", (socket) => {
    socket.on("message", (size) => socket.send(some.subarray(0, Number(size))));
    socket.on("error", () => {});
  });
  server.listen(port, "127.0.0.1");
  return server;
}

async function startRingway(directory) {
  const file = path.join(directory, "ringway.json");
  const server = (number) => ({ address: `127.0.0.1:1888${number}`, id: `s${number}` });
  const health = { check: "tcp", interval_ms: 1_000, fast_interval_ms: 200 };
  fs.writeFileSync(file, JSON.stringify({
    workers: 2,
    admin: { bind: ADMIN },
    listeners: [{ name: "web", bind: LISTEN, peek: "http", keep_alive: "trust" }],
    pools: { chat: { servers: [1, 2, 3, 4].map(server), health } },
  }));
  const ringway = spawn(options.ringway, ["run", file], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((resolve, reject) => {
    ringway.stdout.on("data", (text) => String(text).includes(" ready ") && resolve());
    ringway.on("exit", (status) => reject(new Error(`ringway ended with ${status}`)));
  });
  return ringway;
}

// Sockets that talk for as long as it lasts, and short requests that come in waves.
class Load {
  constructor() {
    this.sockets = Array.from({ length: SOCKETS }, (_, number) => connect(HOSTS[number % 3]));
    this.talking = setInterval(() => this.talk(), 100);
  }

  talk() {
    const phase = Date.now() / 1_000;
    const much = 1 + 0.6 * Math.sin(phase / 23) + 0.3 * Math.sin(phase / 7);
    for (const socket of this.sockets) {
      if (socket.readyState !== WebSocket.OPEN || Math.random() > 0.06 * much) continue;
      socket.send(String(Math.ceil(Math.random() * 24_000 * much)));
    }
    const requests = Math.round(3 + 2 * Math.sin(phase / 31) + Math.random() * 2);
    for (let number = 0; number < requests; number += 1) request(HOSTS[number % 3]);
  }

  stop() {
    clearInterval(this.talking);
    for (const socket of this.sockets) socket.terminate();
  }
}

function connect(host) {
  const socket = new WebSocket(`ws://${LISTEN}/`, { headers: { host } });
  socket.on("error", () => {});
  return socket;
}

function request(host) {
  const headers = { host, connection: "close" };
  const sent = http.get(`http://${LISTEN}/?bytes=2000`, { headers, agent: false }, (response) => {
    response.resume();
    response.on("error", () => {});
  });
  sent.on("error", () => {});
}

async function drain(server) {
  await fetch(`http://${ADMIN}/v1/pools/chat/servers/${server}`, {
    method: "PATCH",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ state: "drain" }),
  });
}

async function shoot(page, colorScheme) {
  const name = colorScheme === "dark" ? "status-page-dark.png" : "status-page.png";
  const file = path.join(options.to, name);
  await page.screenshot({ path: file });
  say({ file, bytes: fs.statSync(file).size });
}

function pause(timeMs) {
  return new Promise((resolve) => setTimeout(resolve, timeMs));
}
