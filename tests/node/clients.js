// Many Socket.IO clients at once, from a few processes; says one JSON report and exits.
//
// --url=http://127.0.0.1:PORT
// --count=500 --processes=2 --echoes=10 --deadline_s=60
// --transports=polling,websocket   as socket.io-client takes them
// --head=BYTES                     padding added to each request head
// --pool=4                         clients that share one browser-like pool of connections
// --page                           each pool fetches a page and six assets first
// --broadcast                      one client shouts when all are connected, all must hear it
"use strict";

const { fork } = require("node:child_process");
const http = require("node:http");
const { options, say } = require("./options");

const transports = (options.transports ?? "polling,websocket").split(",");
const deadlineMs = Number(options.deadline_s ?? 60) * 1000;

function emptyReport() {
  return {
    connected: 0,
    echoes: 0,
    wrong_echoes: 0,
    connect_errors: [],
    disconnects: [],
    reconnects: 0,
    upgrade_errors: [],
    not_upgraded: 0,
    heard: 0,
    page_errors: [],
    servers: {},
  };
}

// At most six kept-alive connections to an origin, the newest idle one first; WebSockets apart.
function browserPool() {
  return new http.Agent({ keepAlive: true, maxSockets: 6, maxFreeSockets: 6, scheduling: "lifo" });
}

function fetchThrough(agent, path) {
  return new Promise((resolve, reject) => {
    const request = http.get(new URL(path, options.url), { agent }, (response) => {
      response.resume();
      response.on("end", () => {
        if (response.statusCode === 200) resolve();
        else reject(new Error(`${path}: ${response.statusCode}`));
      });
      response.on("error", reject);
    });
    request.on("error", reject);
  });
}

async function fetchPage(agent, report) {
  try {
    await fetchThrough(agent, "/");
    await Promise.all([1, 2, 3, 4, 5, 6].map((n) => fetchThrough(agent, `/a${n}.js`)));
  } catch (error) {
    report.page_errors.push(error.message);
  }
}

// One client: connects, learns its server's name, echoes, and is done once it is on its last
// transport. It stays connected until the process is told to leave.
function startClient(number, agent, report) {
  const { io } = require("socket.io-client");
  const socket = io(options.url, {
    forceNew: true,
    transports,
    agent,
    transportOptions: { websocket: { agent: false } },
    extraHeaders: options.head ? { "x-padding": "p".repeat(Number(options.head)) } : undefined,
    closeOnBeforeunload: false,
  });
  const client = { socket, done: null };
  let wanted = Number(options.echoes ?? 10);
  client.done = new Promise((resolve) => {
    const settle = () => {
      if (wanted === 0 && onLastTransport(socket)) resolve();
    };
    const echo = () => {
      const sent = `${number}/${wanted}/${"x".repeat(100)}`;
      socket.emit("echo", sent, (got) => {
        if (got === sent) report.echoes += 1;
        else report.wrong_echoes += 1;
        wanted -= 1;
        if (wanted > 0) echo();
        else settle();
      });
    };
    socket.on("connect", () => {
      report.connected += 1;
      socket.io.engine.on("upgrade", settle);
      socket.io.engine.on("upgradeError", (error) => report.upgrade_errors.push(error.message));
    });
    socket.once("server", (id) => {
      report.servers[id] = (report.servers[id] ?? 0) + 1;
      echo();
    });
  });
  watchForTrouble(socket, report);
  socket.on("shout", () => (report.heard += 1));
  return client;
}

function onLastTransport(socket) {
  return socket.io.engine?.transport.name === transports[transports.length - 1];
}

function watchForTrouble(socket, report) {
  socket.on("connect_error", (error) => {
    const cause = error.description?.message ?? error.description ?? "";
    const answer = error.context?.responseText ?? "";
    report.connect_errors.push(`${error.message} ${cause} ${answer}`.trim());
  });
  socket.on("disconnect", (reason) => {
    if (reason !== "io client disconnect") report.disconnects.push(reason);
  });
  socket.io.on("reconnect_attempt", () => (report.reconnects += 1));
}

async function worker(count) {
  const report = emptyReport();
  const clients = [];
  const poolSize = Number(options.pool ?? 0);
  const startPool = async (from, size) => {
    const agent = poolSize > 0 ? browserPool() : undefined;
    if (options.page) await fetchPage(agent, report);
    for (let n = from; n < from + size; n += 1) clients.push(startClient(n, agent, report));
  };
  const size = poolSize || 1;
  const pools = [];
  for (let n = 0; n < count; n += size) pools.push(startPool(n, Math.min(size, count - n)));
  await Promise.all(pools);
  process.on("message", (message) => {
    if (message === "shout") clients[0].socket.emit("shout", "hello");
    if (message === "report") {
      report.not_upgraded = clients.filter((client) => !onLastTransport(client.socket)).length;
      process.send({ report, heard: report.heard });
    }
    if (message === "leave") process.exit(0);
  });
  await Promise.all(clients.map((client) => client.done));
  process.send({ settled: true });
}

// The parent: starts the processes, waits until all have settled, then asks each for its report.
function parent() {
  const processes = Number(options.processes ?? 2);
  const count = Number(options.count ?? 500);
  const total = emptyReport();
  const children = [];
  let settled = 0;
  let reports = [];
  let asking = false;
  const ask = () => {
    asking = true;
    reports = [];
    for (const child of children) child.send("report");
  };
  const finish = () => {
    for (const report of reports) add(total, report);
    say(total);
    for (const child of children) child.send("leave");
    process.exit(0);
  };
  const limit = setTimeout(ask, deadlineMs);
  const started = Date.now();
  const onMessage = (message) => {
    if (message.settled) {
      settled += 1;
      if (settled === processes) {
        if (options.broadcast) children[0].send("shout");
        ask();
      }
    }
    if (message.report) {
      reports.push(message.report);
      if (reports.length < processes) return;
      const heard = reports.reduce((sum, report) => sum + report.heard, 0);
      const late = Date.now() - started > deadlineMs;
      if (asking && options.broadcast && heard < count && !late) setTimeout(ask, 20);
      else finish();
    }
  };
  for (let n = 0; n < processes; n += 1) {
    const share = Math.floor(count / processes) + (n < count % processes ? 1 : 0);
    const child = fork(__filename, process.argv.slice(2), { env: workerEnvironment(share) });
    child.on("message", onMessage);
    children.push(child);
  }
  limit.unref();
}

function workerEnvironment(share) {
  return { ...process.env, CLIENTS_IN_THIS_PROCESS: String(share) };
}

function add(total, report) {
  for (const [name, value] of Object.entries(report)) {
    if (Array.isArray(value)) total[name].push(...value);
    else if (typeof value === "number") total[name] += value;
    else for (const [id, n] of Object.entries(value)) total[name][id] = (total[name][id] ?? 0) + n;
  }
}

if (process.env.CLIENTS_IN_THIS_PROCESS) {
  process.on("disconnect", () => process.exit(1));
  worker(Number(process.env.CLIENTS_IN_THIS_PROCESS));
} else {
  parent();
}
