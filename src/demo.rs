//! `ringway demo`: four small servers to put ringway in front of, and the configuration for it.
//!
//! Each serves a page that opens WebSockets and shows where they landed. They know nothing of
//! ringway and answer anybody on the loopback interface; never part of a real set-up.

use std::fmt::Write;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::header::{CACHE_CONTROL, CONNECTION};
use axum::response::{Html, IntoResponse};
use axum::routing::{any, get};
use tokio::runtime;

use crate::config::{
    AccessLog, Address, Admin, Balance, Bind, Config, EngineChoice, Forwarded, KeepAlive, Listener,
    LoopbackCongestion, OnDown, Peek, Pool, PoolIndex, Routes, Server, ServerAddress, Sticky,
    TcpKeepAlive, Timeouts, Workers,
};
use crate::sys::signal::block_all;

/// Servers started: the page shows this many, by these names.
const SERVERS: usize = 4;

/// What a browser gets; `{{server}}` stands for the server's name.
const PAGE: &str = include_str!("demo.html");

/// The next request makes its own choice, and is not answered from a cache: reloading the page
/// shows the next server.
const EACH_ANEW: [(axum::http::HeaderName, &str); 2] =
    [(CONNECTION, "close"), (CACHE_CONTROL, "no-store")];

/// Starts the servers on free ports of 127.0.0.1, in a thread of their own that lives as long as
/// the process, and says where they are. They accept from the moment this returns.
///
/// # Errors
/// When no port, thread or event loop is to be had.
pub fn start() -> io::Result<Vec<SocketAddr>> {
    let bind = |_| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let listeners: Vec<TcpListener> = (0..SERVERS).map(bind).collect::<io::Result<_>>()?;
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let registered = {
        let _context = runtime.enter();
        let listeners = listeners.into_iter().map(tokio::net::TcpListener::from_std);
        listeners.collect::<io::Result<Vec<_>>>()?
    };
    thread::Builder::new().name("demo".into()).spawn(move || {
        // Signals are for ringway; a failure leaves them to either.
        let _ = block_all();
        runtime.block_on(serve(registered));
    })?;
    Ok(addresses)
}

/// Where the demo is asked and told things, unless it is told another place.
const ADMIN: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 9080);

/// The configuration with which ringway balances those servers on `listen`. Where `admin` names no
/// place, a port that is taken keeps nobody from the demo.
pub fn config(listen: &Address, servers: &[SocketAddr], admin: Option<Admin>) -> Config {
    let listener = Listener {
        name: "demo".into(),
        bind: vec![Bind::At(listen.clone())],
        peek: Peek::Http,
        keep_alive: KeepAlive::Trust,
        routes: Routes::default(),
        pool: PoolIndex(0),
        accept_proxy: Vec::new(),
        allow: Vec::new(),
        deny: Vec::new(),
        max_connections: None,
        max_connections_per_source: None,
        accept_rate_per_s: None,
        peek_timeout_ms: 5_000,
        auto_timeout_ms: 200,
        head_max_bytes: 32_768,
    };
    let server = |(number, &address): (usize, &SocketAddr)| Server {
        address: ServerAddress::Address(Address::Tcp(address)),
        id: name(number),
        weight: 1,
        backup: false,
        max_connections: None,
    };
    let pool = Pool {
        name: "demo".into(),
        balance: Balance::RoundRobin,
        sticky: Sticky::None,
        strict: false,
        send_proxy: None,
        forwarded: Forwarded::Off,
        servers: servers.iter().enumerate().map(server).collect(),
        source_addresses: Vec::new(),
        connect_timeout_ms: 2_000,
        connect_tries: 3,
        max_connections_per_server: None,
        connects_in_flight_max: None,
        queue_max: 0,
        queue_timeout_ms: 5_000,
        timeouts: Timeouts::default(),
        health: None,
        eject: None,
        slow_start_ms: 0,
        on_down: OnDown::Keep,
    };
    Config {
        workers: Workers::Auto,
        listeners: vec![listener],
        pools: vec![pool],
        tcp_keep_alive: Some(TcpKeepAlive { idle_s: 60, interval_s: 10, probes: 6 }),
        tcp_user_timeout_ms: None,
        engine: EngineChoice::Auto,
        loopback_congestion: LoopbackCongestion::Reno,
        max_connections: None,
        access_log: Some(AccessLog::default()),
        splice: true,
        drain_timeout_ms: 0,
        drain_window_ms: 0,
        user: None,
        group: None,
        sandbox: true,
        admin: Some(admin.unwrap_or_else(|| Admin {
            bind: Address::Tcp(ADMIN.into()),
            token: None,
            or_any_port: true,
        })),
    }
}

/// What to try, for the terminal the demo was started in. `listen` is where ringway listens and
/// `admin` where it is asked, with their real ports.
pub fn banner(listen: &Address, servers: &[SocketAddr], admin: &Address) -> String {
    let mut text = format!("ringway demo: {} servers behind {listen}\n\n", servers.len());
    for (number, server) in servers.iter().enumerate() {
        writeln!(text, "  {}  {server}", name(number)).expect("a String takes everything");
    }
    let tries = match listen {
        Address::Tcp(address) => {
            let address = reachable(*address);
            format!(
                "  http://{address}/  in a browser: WebSockets, and where they land\n  \
                 curl http://{address}/whoami  again and again: each server in turn\n  \
                 npx wscat -c ws://{address}/ws  echoes what you type\n"
            )
        }
        Address::Unix(path) => format!(
            "  curl --unix-socket {} http://demo/whoami  again and again: each server in turn\n",
            path.display()
        ),
    };
    let asks = match admin {
        Address::Tcp(address) => {
            format!(
                "  http://{address}/  in a browser: what ringway is doing\n  \
                 curl http://{address}/v1/servers  what ringway knows of its servers\n"
            )
        }
        Address::Unix(path) => format!(
            "  curl --unix-socket {} http://admin/v1/servers  what ringway knows of its servers\n",
            path.display()
        ),
    };
    text + "\nTry:\n" + &tries + &asks + "\nCtrl-C ends it.\n"
}

/// An address to connect to: a wildcard listener is reached by loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        // Dual stack: `[::]` takes IPv4 too, and every machine has 127.0.0.1.
        address = (Ipv4Addr::LOCALHOST, address.port()).into();
    }
    address
}

fn name(number: usize) -> String {
    format!("demo-{}", number + 1)
}

async fn serve(listeners: Vec<tokio::net::TcpListener>) {
    let servers: Vec<_> = listeners
        .into_iter()
        .enumerate()
        .map(|(number, listener)| {
            tokio::spawn(async move { axum::serve(listener, routes(name(number))).await })
        })
        .collect();
    for server in servers {
        // axum's loop goes on after a failed accept, so this is the end of the process.
        let _ended = server.await;
    }
}

fn routes(name: String) -> Router {
    let page = PAGE.replace("{{server}}", &name);
    let whoami = format!("{name}\n");
    Router::new()
        .route("/", get(async || (EACH_ANEW, Html(page)).into_response()))
        .route("/whoami", get(async || (EACH_ANEW, whoami).into_response()))
        .route("/healthz", get(async || "ok\n"))
        .route(
            "/ws",
            any(async |upgrade: WebSocketUpgrade| {
                upgrade.on_upgrade(async |socket| echo(socket, name).await)
            }),
        )
}

/// Says who it is, then returns every message as it came.
async fn echo(mut socket: WebSocket, name: String) {
    let hello = Message::text(format!(r#"{{"server":"{name}"}}"#));
    // An error is a client that went away; there is nobody to tell.
    if socket.send(hello).await.is_err() {
        return;
    }
    while let Some(Ok(message)) = socket.recv().await {
        let is_data = matches!(message, Message::Text(_) | Message::Binary(_));
        if is_data && socket.send(message).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write as _};
    use std::net::TcpStream;
    use std::time::Duration;

    fn connect(server: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    fn answer(server: SocketAddr, path: &str) -> String {
        let mut stream = connect(server);
        let request = format!("GET {path} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn expect(stream: &mut TcpStream, expected: &[u8]) {
        let mut found = vec![0; expected.len()];
        stream.read_exact(&mut found).unwrap();
        assert_eq!(found.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    #[test]
    fn each_server_says_which_one_it_is() {
        let servers = start().unwrap();
        assert_eq!(servers.len(), SERVERS);
        for (number, &server) in servers.iter().enumerate() {
            let name = name(number);
            let whoami = answer(server, "/whoami");
            assert!(whoami.starts_with("HTTP/1.1 200 OK\r\n"), "{whoami}");
            assert!(whoami.contains("connection: close\r\n"), "{whoami}");
            assert!(whoami.ends_with(&format!("\r\n\r\n{name}\n")), "{whoami}");
            let page = answer(server, "/");
            assert!(page.contains("content-type: text/html"));
            assert!(page.contains(&format!(r#"data-server="{name}">{name}</span>"#)));
            assert!(!page.contains("{{"));
            assert!(answer(server, "/healthz").ends_with("\r\n\r\nok\n"));
        }
    }

    #[test]
    fn a_websocket_is_greeted_and_echoed() {
        let mut stream = connect(start().unwrap()[1]);
        // The key and its answer are those of RFC 6455 section 1.3.
        let request = "GET /ws HTTP/1.1\r\nHost: demo\r\nUpgrade: websocket\r\n\
                       Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
        assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
        expect(&mut stream, b"\x81\x13{\"server\":\"demo-2\"}");
        // Client frames are masked (here with zeros), server frames are not.
        for (opcode, text) in [(b'\x81', b"hello"), (b'\x82', b"\0\xff\x01\xfe\x80")] {
            stream.write_all(&[&[opcode, 0x85, 0, 0, 0, 0], &text[..]].concat()).unwrap();
            expect(&mut stream, &[&[opcode, 5], &text[..]].concat());
        }
        // Close 1000, and its answer.
        stream.write_all(b"\x88\x82\0\0\0\0\x03\xe8").unwrap();
        expect(&mut stream, b"\x88\x02\x03\xe8");
    }

    #[test]
    fn the_configuration_leads_to_the_servers_in_turn() {
        let servers = [([127, 0, 0, 1], 4_001).into(), ([127, 0, 0, 1], 4_002).into()];
        let listen = Address::Tcp(([0, 0, 0, 0], 8_080).into());
        let config = config(&listen, &servers, None);
        assert_eq!(config.listeners[0].bind, [Bind::At(listen)]);
        let ids: Vec<&str> = config.pools[0].servers.iter().map(|s| s.id.as_str()).collect();
        assert_eq!(ids, ["demo-1", "demo-2"]);
        assert_eq!(config.pools[0].servers[1].address.to_string(), "127.0.0.1:4002");
    }

    #[test]
    fn the_banner_names_addresses_that_work() {
        let servers = [([127, 0, 0, 1], 4_001).into()];
        let rows = [
            (Address::Tcp("0.0.0.0:8080".parse().unwrap()), "curl http://127.0.0.1:8080/whoami"),
            (Address::Tcp("[::]:8080".parse().unwrap()), "ws://127.0.0.1:8080/ws"),
            (Address::Tcp("[::1]:8080".parse().unwrap()), "http://[::1]:8080/ "),
            (Address::Unix("/run/demo.sock".into()), "--unix-socket /run/demo.sock http://demo/"),
        ];
        for (listen, expected) in rows {
            let admin = Address::Tcp(ADMIN.into());
            let banner = banner(&listen, &servers, &admin);
            assert!(banner.contains("curl http://127.0.0.1:9080/v1/servers"), "{banner}");
            assert!(banner.contains(expected), "{banner}");
            assert!(banner.contains("demo-1  127.0.0.1:4001\n"), "{banner}");
        }
    }
}
