//! The balancers, each with one worker on the same core, set up as their manuals say.
//!
//! What would flatter one of them is switched off for all: no access logs, timeouts that never
//! come, connections that carry any number of requests.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use crate::Result;
use crate::baseline::Flags;
use crate::bench::{Bench, free_addresses, wait_for};
use crate::process::Running;

/// Descriptors are 20,000 where the limit cannot be raised, and a proxied session takes two. With
/// splice HAProxy sets half as many again aside for pipes.
const HAPROXY_SESSIONS: usize = 9_900;
const HAPROXY_SPLICE_SESSIONS: usize = 4_000;

/// A balancer, or what can stand in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `--peek none`, one server.
    Ringway,
    /// The same with the machine's congestion control.
    RingwaySystem,
    /// `peek http`, a Host route and `sticky socketio`, one server.
    RingwayHttp,
    /// `sticky socketio` over all servers.
    RingwaySocketIo,
    NginxStream,
    NginxHttp,
    /// `ip_hash` over all servers.
    NginxIpHash,
    HaproxyTcp,
    HaproxySplice,
    HaproxyHttp,
    /// The relay of `baseline.rs`, with the flags that suit it best.
    TokioUring,
    TokioUringDefault,
    /// The server itself.
    Direct,
}

/// A balancer that runs; dropped, it ends.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    running: Option<Running>,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ringway => "ringway",
            Self::RingwaySystem => "ringway, system congestion",
            Self::RingwayHttp => "ringway, http + Host + socketio",
            Self::RingwaySocketIo => "ringway, socketio",
            Self::NginxStream => "nginx stream",
            Self::NginxHttp => "nginx http",
            Self::NginxIpHash => "nginx http, ip_hash",
            Self::HaproxyTcp => "haproxy tcp",
            Self::HaproxySplice => "haproxy tcp, splice forced",
            Self::HaproxyHttp => "haproxy http",
            Self::TokioUring => "tokio-uring relay",
            Self::TokioUringDefault => "tokio-uring relay, default flags",
            Self::Direct => "direct",
        }
    }
}

impl Peer {
    pub(crate) fn pids(&self) -> Result<Vec<i32>> {
        self.running.as_ref().map_or(Ok(Vec::new()), Running::pids)
    }
}

pub(crate) fn start(bench: &Bench, kind: Kind) -> Result<Peer> {
    let address = free_addresses(1)?[0];
    let servers = &bench.servers;
    let one = &servers[..1];
    match kind {
        Kind::Direct => Ok(Peer { name: kind.name(), address: servers[0], running: None }),
        Kind::Ringway => {
            let to = format!("--to={}", servers[0]);
            let workers = format!("--workers={},", bench.options.balancer_core);
            let words = [format!("--listen={address}"), to, "--peek=none".to_owned(), workers];
            let cores = [bench.options.balancer_core];
            ringway(bench, kind.name(), &cores, address, &words)
        }
        Kind::RingwaySystem => {
            let file = bench.scratch.join(format!("{}.json", file_name(kind.name())));
            let core = bench.options.balancer_core;
            let text = serde_json::json!({
                "workers": [core], "loopback_congestion": "system",
                "listeners": [{ "bind": address.to_string(), "peek": "none", "pool": "app" }],
                "pools": { "app": { "servers": one } },
            });
            fs::write(&file, text.to_string())?;
            ringway(bench, kind.name(), &[core], address, &[file.display().to_string()])
        }
        Kind::RingwayHttp | Kind::RingwaySocketIo => {
            let routed = kind == Kind::RingwayHttp;
            let file = bench.scratch.join(format!("{}.json", file_name(kind.name())));
            let core = bench.options.balancer_core;
            let servers = if routed { one } else { &servers[..] };
            fs::write(&file, ringway_file(address, servers, routed, core))?;
            let words = [file.display().to_string()];
            ringway(bench, kind.name(), &[core], address, &words)
        }
        Kind::NginxStream => nginx(bench, kind, address, &nginx_stream(address, servers[0])),
        Kind::NginxHttp => nginx(bench, kind, address, &nginx_http(address, one, "")),
        Kind::NginxIpHash => nginx(bench, kind, address, &nginx_http(address, servers, "ip_hash;")),
        Kind::HaproxyTcp => haproxy(bench, kind, address, "mode tcp", HAPROXY_SESSIONS),
        Kind::HaproxySplice => {
            // Not splice-auto, which copies what looks interactive, and so most of a bulk transfer.
            let lines = "mode tcp\n  option splice-request\n  option splice-response";
            haproxy(bench, kind, address, lines, HAPROXY_SPLICE_SESSIONS)
        }
        Kind::HaproxyHttp => {
            // As nginx does; the default keeps a connection's first request off reused ones.
            let lines = "mode http\n  http-reuse always";
            haproxy(bench, kind, address, lines, HAPROXY_SESSIONS)
        }
        Kind::TokioUring => baseline(bench, kind, address, Flags::Tuned),
        Kind::TokioUringDefault => baseline(bench, kind, address, Flags::Default),
    }
}

/// `ringway run` with these words.
pub(crate) fn ringway(
    bench: &Bench,
    name: &'static str,
    cores: &[usize],
    address: SocketAddr,
    words: &[String],
) -> Result<Peer> {
    let fixed = ["run", "--no-access-log"].map(str::to_owned);
    let words: Vec<String> = fixed.iter().chain(words).cloned().collect();
    run(bench, name, cores, &bench.options.ringway, &words, address)
}

fn ringway_file(address: SocketAddr, servers: &[SocketAddr], routed: bool, core: usize) -> String {
    let pool = serde_json::json!({ "sticky": "socketio", "servers": servers });
    let mut listener = serde_json::json!({ "bind": address.to_string(), "pool": "app" });
    let mut pools = serde_json::json!({ "app": pool });
    if routed {
        listener["routes"] = serde_json::json!([
            { "host": "other.example", "pool": "other" },
            { "host": "bench.example", "pool": "app" },
        ]);
        listener["pool"] = serde_json::json!("other");
        pools["other"] = serde_json::json!({ "servers": servers });
    }
    let file = serde_json::json!({ "workers": [core], "listeners": [listener], "pools": pools });
    file.to_string()
}

fn nginx_stream(address: SocketAddr, server: SocketAddr) -> String {
    format!(
        "stream {{\n  access_log off;\n  server {{\n    listen {address} backlog=4096;\n    \
         proxy_pass {server};\n    proxy_timeout 1h;\n  }}\n}}\n"
    )
}

/// With the lines its manual gives for keep-alive to servers and for WebSockets.
fn nginx_http(address: SocketAddr, servers: &[SocketAddr], balance: &str) -> String {
    let servers: String = servers.iter().map(|server| format!("server {server}; ")).collect();
    format!(
        r#"http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  keepalive_requests 1000000000;
  map $http_upgrade $upgraded {{ default upgrade; "" ""; }}
  upstream servers {{
    {balance} {servers}
    keepalive 128; keepalive_requests 1000000000;
  }}
  server {{
    listen {address} backlog=4096;
    location / {{
      proxy_pass http://servers;
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $upgraded;
      proxy_read_timeout 1h;
    }}
  }}
}}
"#
    )
}

fn nginx(bench: &Bench, kind: Kind, address: SocketAddr, block: &str) -> Result<Peer> {
    let home = bench.scratch.join(file_name(kind.name()));
    fs::create_dir_all(&home)?;
    // Root would become nobody, who may not enter every directory.
    let user = if Uid::effective().is_root() { "user root;" } else { "" };
    let text = format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n{user}\ndaemon off;\n\
         worker_processes 1;\npid nginx.pid;\nerror_log error.log;\n\
         events {{ worker_connections 19990; }}\n{block}"
    );
    let file = home.join("nginx.conf");
    fs::write(&file, text)?;
    let words = ["-p", &path(&home), "-c", &path(&file), "-e", "error.log"].map(str::to_owned);
    let cores = [bench.options.balancer_core];
    run(bench, kind.name(), &cores, Path::new("nginx"), &words, address)
}

fn haproxy(
    bench: &Bench,
    kind: Kind,
    address: SocketAddr,
    lines: &str,
    sessions: usize,
) -> Result<Peer> {
    let splice = if kind == Kind::HaproxySplice { "" } else { "nosplice" };
    let text = format!(
        "global\n  maxconn {sessions}\n  nbthread 1\n  {splice}\n\
         defaults\n  {lines}\n  timeout client 1h\n  timeout server 1h\n  timeout connect 5s\n  \
         timeout tunnel 1h\n\
         listen bench\n  bind {address} backlog 4096\n  server one {} maxconn {sessions}\n",
        bench.servers[0]
    );
    let file = bench.scratch.join(format!("{}.cfg", file_name(kind.name())));
    fs::write(&file, text)?;
    let words = ["-db".to_owned(), "-f".to_owned(), path(&file)];
    let cores = [bench.options.balancer_core];
    run(bench, kind.name(), &cores, Path::new("haproxy"), &words, address)
}

fn baseline(bench: &Bench, kind: Kind, address: SocketAddr, flags: Flags) -> Result<Peer> {
    let (address_word, server) = (address.to_string(), bench.servers[0].to_string());
    let words = ["baseline".to_owned(), address_word, server, flags.word().to_owned()];
    let cores = [bench.options.balancer_core];
    run(bench, kind.name(), &cores, &std::env::current_exe()?, &words, address)
}

fn run(
    bench: &Bench,
    name: &'static str,
    cores: &[usize],
    program: &Path,
    words: &[String],
    address: SocketAddr,
) -> Result<Peer> {
    let log = bench.scratch.join(format!("{}.log", file_name(name)));
    let mut running = Running::start(cores, program_path(program), words, &log)?;
    wait_for(address, &mut running)
        .map_err(|error| format!("{name}: {error}: see {}", log.display()))?;
    Ok(Peer { name, address, running: Some(running) })
}

/// Debian keeps daemons where a user's PATH does not look.
pub(crate) fn program_path(program: &Path) -> PathBuf {
    let daemon = Path::new("/usr/sbin").join(program);
    if daemon.exists() { daemon } else { program.to_path_buf() }
}

fn file_name(name: &str) -> String {
    name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-")
}

fn path(path: &Path) -> String {
    path.display().to_string()
}
