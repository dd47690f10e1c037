//! The pages for those who come from nginx or HAProxy: what ran there, then its translation, in
//! front of the same servers and, seen from outside, the same.
//!
//! The files are run as they stand in the pages. They name servers of 10.0.0.0/8, which is a
//! network behind the test's own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use tempfile::TempDir;

use crate::harness::{
    Peer, Process, Ringway, Server, alone, behind, client_hello, eventually, get, ip, json_line,
    node_script, port_of,
};

const FROM_NGINX: &str = "docs/from-nginx.md";
const FROM_HAPROXY: &str = "docs/from-haproxy.md";

/// A module of its own in Debian; without a daemon and without a master, one process to end.
const NGINX: &str = "load_module /usr/lib/nginx/modules/ngx_stream_module.so; daemon off; \
    master_process off; pid /dev/null;";

/// A fenced block: the word behind the fence, the heading above, and what is within.
struct Block {
    tag: String,
    heading: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let path = format!("{}/{page}", env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(path).expect("the page is there");
    let (mut blocks, mut heading) = (Vec::new(), String::new());
    for (number, part) in page.split("\n```").enumerate() {
        if number % 2 == 1 {
            let (tag, text) = part.split_once('\n').expect("a fence has a line of its own");
            let (tag, text) = (tag.to_owned(), format!("{text}\n"));
            blocks.push(Block { tag, heading: heading.clone(), text });
        } else if let Some(line) = part.lines().rfind(|line| line.starts_with("## ")) {
            line[3..].clone_into(&mut heading);
        }
    }
    blocks
}

/// What stands in a file of its own below this heading.
fn file(page: &str, heading: &str, tag: &str) -> (TempDir, String) {
    let blocks = blocks(page).into_iter();
    let mut found = blocks.filter(|block| block.heading == heading && block.tag == tag);
    let block = found.next().unwrap_or_else(|| panic!("{page}: {heading} has no {tag}"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(tag);
    fs::write(&path, block.text).unwrap();
    let path = path.to_str().expect("a path in UTF-8").to_owned();
    (folder, path)
}

fn original(tag: &str, path: &str) -> Process {
    match tag {
        "nginx" => {
            Process::start("nginx", "/usr/sbin/nginx", &["-e", "stderr", "-c", path, "-g", NGINX])
        }
        _ => Process::start("haproxy", "/usr/sbin/haproxy", &["-db", "-f", path]),
    }
}

/// Answers with its address and what it was sent, and stays until its client is gone.
fn serve(address: &'static str) {
    Server::listen_on(address).serve(move |mut peer| {
        let mut got = Vec::new();
        while !["hello", "example.com"].iter().any(|word| holds(&got, word)) {
            let mut bytes = [0; 4096];
            match peer.read(&mut bytes) {
                Ok(count @ 1..) => got.extend(&bytes[..count]),
                _ => return,
            }
        }
        let answer = format!("{address} {}\n", got.escape_ascii());
        let length = answer.len();
        if holds(&got, " HTTP/1.") {
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
        }
        peer.send(answer);
        let _ = peer.read_to_end(&mut got);
    });
}

fn holds(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

/// Has `look` look at what stands below a heading: first at the original, then at its translation.
fn same<T: Debug + PartialEq + 'static>(
    page: &'static str,
    heading: &'static str,
    servers: &'static [&'static str],
    port: u16,
    look: fn() -> T,
) {
    alone(&[], move || {
        let _network = behind(|| servers.iter().for_each(|address| serve(address)));
        let tag = if page == FROM_NGINX { "nginx" } else { "haproxy" };
        let (_folder, path) = file(page, heading, tag);
        let process = original(tag, &path);
        eventually("the original listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        let there = look();
        drop(process);

        let (_folder, path) = file(page, heading, "json");
        let lb = Ringway::run(path.as_ref()).start();
        let here = look();
        drop(lb);
        assert_eq!(there, here, "{page}: {heading}");
    });
}

fn connect(port: u16) -> Peer {
    Peer::connect(SocketAddr::from(([127, 0, 0, 1], port)))
}

fn connect_from(source: &str, port: u16) -> Peer {
    Peer::connect_from(source, SocketAddr::from(([127, 0, 0, 1], port)))
}

/// Which server answers these bytes, and what it was sent; `None` where nobody does.
fn try_answer(peer: &mut Peer, bytes: impl AsRef<[u8]>) -> Option<(String, String)> {
    peer.write_all(bytes.as_ref()).ok()?;
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        peer.read_exact(&mut byte).ok()?;
        line.extend(byte);
    }
    let line = String::from_utf8(line).expect("escaped");
    let (server, got) = line.trim_end().split_once(' ').expect("two words");
    Some((server.to_owned(), got.to_owned()))
}

fn answer(peer: &mut Peer, bytes: impl AsRef<[u8]>) -> (String, String) {
    try_answer(peer, bytes).expect("an answer")
}

/// The same over HTTP, and the answer's head.
fn fetch(peer: &mut Peer, fields: &[&str]) -> (String, String, String) {
    peer.send(get("/hello", fields));
    let response = peer.response();
    let text = response.text();
    let (server, got) = text.trim_end().split_once(' ').expect("two words");
    (server.to_owned(), got.to_owned(), response.head)
}

/// How many of 30 clients each server gets.
fn shares(port: u16) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..30 {
        *shares.entry(answer(&mut connect(port), "hello").0).or_default() += 1;
    }
    shares
}

/// Servers in use by 40 addresses, of which each must stay at its own.
fn by_address(port: u16) -> usize {
    let mut servers = BTreeSet::new();
    for number in 1..=40 {
        let source = format!("127.9.0.{number}");
        let ask = || answer(&mut connect_from(&source, port), "hello").0;
        let server = ask();
        assert_eq!((ask(), ask()), (server.clone(), server.clone()), "{source} stays");
        servers.insert(server);
    }
    servers.len()
}

const TCP: &[&str] = &["10.0.0.1:5432", "10.0.0.2:5432", "10.0.0.3:5432"];

#[test]
fn weights_share_clients_as_in_nginx() {
    same(FROM_NGINX, "TCP with weights and a backup", TCP, 5432, || shares(5432));
}

#[test]
fn weights_share_clients_as_in_haproxy() {
    same(FROM_HAPROXY, "TCP with weights, checks and limits", TCP, 5432, || shares(5432));
}

#[test]
fn a_backup_serves_where_nobody_else_does() {
    for (page, heading) in [
        (FROM_NGINX, "TCP with weights and a backup"),
        (FROM_HAPROXY, "TCP with weights, checks and limits"),
    ] {
        same(page, heading, &TCP[2..], 5432, || {
            // HAProxy needs its checks for that.
            eventually("the backup serves", || {
                let (server, _) = try_answer(&mut connect(5432), "hello")?;
                assert_eq!(server, TCP[2]);
                Some(())
            });
        });
    }
}

const GAME: &[&str] = &["10.0.0.1:6000", "10.0.0.2:6000", "10.0.0.3:6000"];

#[test]
fn clients_stay_by_their_address_as_in_nginx() {
    let heading = "By client address, and least connections";
    same(FROM_NGINX, heading, GAME, 6000, || by_address(6000));
}

#[test]
fn clients_stay_by_their_address_as_in_haproxy() {
    same(FROM_HAPROXY, "By client address", GAME, 6000, || by_address(6000));
}

/// Where each name leads, and whether a PROXY header of this version came along.
fn by_name(signature: &'static str) -> Vec<(String, bool)> {
    let names = ["api.example.com", "www.example.com", "www.example.org"];
    let asked = names.into_iter().flat_map(|name| [(name, &["h2"][..]), (name, &[][..])]);
    let answers = asked.map(|(name, protocols)| {
        let hello = client_hello(Some(name), protocols);
        let (server, got) = answer(&mut connect(443), [&hello[..], b"hello"].concat());
        (server, got.starts_with(signature))
    });
    answers.collect()
}

#[test]
fn names_in_tls_lead_where_they_led_in_nginx() {
    let servers = &["10.0.0.1:443", "10.0.1.1:443"];
    same(FROM_NGINX, "TLS by name", servers, 443, || by_name("PROXY TCP4 127.0.0.1 127.0.0.1 "));
}

#[test]
fn names_in_tls_lead_where_they_led_in_haproxy() {
    let servers = &["10.0.0.1:50051", "10.0.1.1:443", "10.0.2.1:443"];
    same(FROM_HAPROXY, "TLS by name", servers, 443, || by_name(r"\r\n\r\n\x00\r\nQUIT\n\x21\x11"));
}

#[test]
fn proxy_headers_come_in_and_go_out() {
    for page in [FROM_NGINX, FROM_HAPROXY] {
        let servers = &["10.0.0.1:8881", "10.0.0.2:8881"];
        same(page, "PROXY protocol in and out", servers, 8080, || {
            let header = "PROXY TCP4 203.0.113.7 127.0.0.1 5555 8080\r\n";
            let (_, got) = answer(&mut connect(8080), format!("{header}hello"));
            assert_eq!(got, r"PROXY TCP4 203.0.113.7 127.0.0.1 5555 8080\r\nhello");
        });
    }
}

#[test]
fn strangers_and_the_third_connection_are_turned_away() {
    same(FROM_NGINX, "Who may connect, and how often", &["10.0.0.1:5000"], 5000, || {
        ip("address replace 192.0.2.1/32 dev lo");
        connect_from("192.0.2.1", 5000).expect_closed();
        let mut held: Vec<_> = (0..2).map(|_| connect_from("127.9.0.1", 5000)).collect();
        for peer in &mut held {
            answer(peer, "hello");
        }
        connect_from("127.9.0.1", 5000).expect_closed();
        answer(&mut connect_from("127.9.0.2", 5000), "hello");
    });
}

#[test]
fn servers_are_told_of_websockets_and_clients() {
    let servers = &["10.0.0.1:8881", "10.0.0.2:8881", "10.0.0.3:8881", "10.0.0.4:8881"];
    same(FROM_NGINX, "WebSockets and Socket.IO", servers, 80, || {
        let fields = ["Connection: Upgrade", "Upgrade: websocket", "X-Forwarded-For: 203.0.113.7"];
        let (_, got, _) = fetch(&mut connect(80), &fields);
        let got = got.to_ascii_lowercase();
        let told = ["upgrade: websocket", "connection: upgrade", "x-forwarded-proto: http"];
        for field in told.into_iter().chain(["x-forwarded-for: 203.0.113.7, 127.0.0.1"]) {
            assert!(got.contains(field), "{field} in {got}");
        }
    });
}

fn by_host() -> Vec<String> {
    let hosts = ["chat.example.com", "CHAT.example.com", "www.example.com", "example.org"];
    // Which of two is a matter of their hashes.
    let ask = |host: &str| fetch(&mut connect(80), &[&format!("Host: {host}")]).0[..6].to_owned();
    hosts.into_iter().map(ask).collect()
}

#[test]
fn hosts_lead_where_they_led_in_nginx() {
    same(FROM_NGINX, "Hosts", &["10.0.0.1:8881", "10.0.1.1:8080"], 80, by_host);
}

#[test]
fn hosts_lead_where_they_led_in_haproxy() {
    let servers = &["10.0.0.1:8881", "10.0.0.2:8881", "10.0.1.1:8080"];
    same(FROM_HAPROXY, "Hosts and WebSockets", servers, 80, by_host);
}

#[test]
fn a_cookie_keeps_a_browser_at_its_server() {
    let servers = &["10.0.0.1:8080", "10.0.0.2:8080"];
    same(FROM_HAPROXY, "By cookie, with HTTP checks", servers, 80, || {
        let (server, got, head) = fetch(&mut connect(80), &[]);
        assert!(got.to_ascii_lowercase().contains("x-forwarded-for: 127.0.0.1"), "{got}");
        let (_, cookie) = head.split_once("SERVER=").expect("a cookie is set");
        let cookie = cookie.split([';', '\r']).next().expect("a value");
        for _ in 0..10 {
            let field = format!("Cookie: SERVER={cookie}");
            assert_eq!(fetch(&mut connect(80), &[&field]).0, server);
        }
        let held: Vec<_> = (0..4).map(|_| connect(80)).collect();
        let servers = held.into_iter().map(|mut peer| fetch(&mut peer, &[]).0);
        assert_eq!(servers.collect::<BTreeSet<_>>().len(), 2, "others are balanced");
    });
}

const FROM_TLS: &str = "docs/tls.md";

/// Where the pages have their certificates.
const CERTIFICATES: &str = "/etc/tls/";

/// A certificate for this address and these names, with its key behind it in the same file.
fn certificate(folder: &TempDir, file: &str, names: &str) -> String {
    let path = |file: &str| folder.path().join(file).to_str().expect("UTF-8").to_owned();
    let (key, pem) = (path("key"), path(file));
    let alternative = format!("subjectAltName={names}");
    let request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30";
    let mut arguments: Vec<&str> = request.split(' ').collect();
    arguments.extend(["-subj", "/CN=test", "-addext", &alternative, "-keyout", &key, "-out", &pem]);
    Process::start("openssl req", "openssl", &arguments).succeed();
    let both = fs::read_to_string(&pem).unwrap() + &fs::read_to_string(&key).unwrap();
    fs::write(&pem, both).unwrap();
    pem
}

/// Runs the recipe with this terminator in front of whatever listens at its servers.
fn terminated(tag: &'static str, test: fn(&str)) {
    alone(&[], move || {
        let (folder, path) = file(FROM_TLS, RECIPES[usize::from(tag == "nginx")], tag);
        let pem = certificate(&folder, "example.com.pem", "IP:127.0.0.1");
        let text = fs::read_to_string(&path).unwrap();
        let place = format!("{}/", folder.path().display());
        fs::write(&path, text.replace(CERTIFICATES, &place)).unwrap();
        let _terminator = original(tag, &path);
        let (_folder, path) = file(FROM_TLS, RECIPES[0], "json");
        let _lb = Ringway::run(path.as_ref()).start();
        eventually("it listens", || TcpStream::connect(("127.0.0.1", 443)).ok());
        test(&pem);
    });
}

const RECIPES: [&str; 2] = ["HAProxy in front", "nginx in front"];

/// What a server is told of a client that comes by TLS.
fn told(pem: &str) -> String {
    const SERVERS: [&str; 4] =
        ["127.0.0.1:8881", "127.0.0.1:8882", "127.0.0.1:8883", "127.0.0.1:8884"];
    SERVERS.iter().for_each(|address| serve(address));
    let options = ["--silent", "--show-error", "--fail", "--max-time", "20", "--noproxy", "*"];
    let fields = ["--header", "X-Forwarded-For: 203.0.113.7", "--cacert", pem];
    let arguments = [&options[..], &fields, &["https://127.0.0.1/hello"]].concat();
    let mut curl = Process::start("curl", "curl", &arguments);
    curl.succeed();
    curl.stdout().join("\n").to_ascii_lowercase()
}

#[test]
fn behind_haproxy_servers_are_told_of_tls_and_the_client() {
    terminated("haproxy", |pem| {
        let told = told(pem);
        assert!(told.contains(r"x-forwarded-proto: https\r\n"), "{told}");
        assert!(told.contains(r"x-forwarded-for: 127.0.0.1\r\n"), "{told}");
    });
}

#[test]
fn behind_nginx_servers_are_told_of_the_client() {
    terminated("nginx", |pem| {
        let told = told(pem);
        assert!(told.contains(r"x-forwarded-proto: http\r\n"), "{told}");
        assert!(told.contains(r"x-forwarded-for: 127.0.0.1\r\n"), "{told}");
    });
}

#[test]
fn socketio_connects_by_wss() {
    for tag in ["haproxy", "nginx"] {
        terminated(tag, |pem| {
            let start = |port: u16| {
                node_script("server.js", &[&format!("--port={port}"), &format!("--id=s{port}")])
            };
            let mut servers: Vec<_> = (8881..=8884).map(start).collect();
            servers.iter_mut().for_each(|server| assert_ne!(port_of(server), 0));
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/clients.js");
            let trust = format!("NODE_EXTRA_CA_CERTS={pem}");
            let options =
                ["--url=https://127.0.0.1", "--count=40", "--echoes=5", "--deadline_s=25"];
            let arguments = [&[trust.as_str(), "node", script][..], &options].concat();
            let mut clients = Process::start("clients.js", "env", &arguments);
            let report = json_line(&mut clients);
            clients.succeed();
            assert_eq!(report["connected"], 40, "{report}");
            assert_eq!(report["echoes"], 200, "{report}");
            assert_eq!(report["not_upgraded"], 0, "{report}");
            let servers = report["servers"].as_object().expect("servers in use");
            assert!(servers.values().all(|count| *count == 10), "{report}");
        });
    }
}

#[test]
fn tls_passes_through_to_the_server_of_that_name() {
    alone(&[], || {
        let folder = tempfile::tempdir().unwrap();
        let names = ["api.example.com", "www.example.com"];
        let certificates = names.map(|name| certificate(&folder, name, &format!("DNS:{name}")));
        let _network = behind(|| {
            // Either server of a pool may be asked.
            let addresses = [["10.0.0.1:443", "10.0.0.2:443"], ["10.0.1.1:443", "10.0.1.2:443"]];
            let pairs = certificates.into_iter().zip(addresses);
            let each = pairs.flat_map(|(pem, both)| both.map(|address| (pem.clone(), address)));
            let start = |(pem, address): (String, &str)| {
                let arguments =
                    ["s_server", "-accept", address, "-key", &pem, "-cert", &pem, "-www"];
                let server = Process::start("openssl s_server", "openssl", &arguments);
                eventually("openssl listens", || TcpStream::connect(address).ok());
                server
            };
            each.map(start).collect::<Vec<_>>()
        });
        let (_folder, path) = file(FROM_TLS, "TLS passes through", "json");
        let _lb = Ringway::run(path.as_ref()).start();
        for name in names {
            let (url, resolve) = (format!("https://{name}/"), format!("{name}:443:127.0.0.1"));
            let pem = folder.path().join(name).display().to_string();
            let options = "--silent --show-error --fail --max-time 20 --noproxy * --cacert";
            let mut arguments: Vec<&str> = options.split(' ').collect();
            arguments.extend([&pem, "--resolve", &resolve, &url]);
            Process::start("curl", "curl", &arguments).succeed();
        }
    });
}

#[test]
fn every_original_is_right() {
    alone(&[], || {
        let mut files = 0;
        let folder = tempfile::tempdir().unwrap();
        certificate(&folder, "example.com.pem", "DNS:example.com");
        let place = format!("{}/", folder.path().display());
        for page in [FROM_NGINX, FROM_HAPROXY, FROM_TLS] {
            for block in blocks(page) {
                let file = tempfile::NamedTempFile::new().unwrap();
                fs::write(file.path(), block.text.replace(CERTIFICATES, &place)).unwrap();
                let path = file.path().to_str().expect("a path in UTF-8");
                let mut check = match block.tag.as_str() {
                    "nginx" => {
                        let arguments = ["-t", "-e", "stderr", "-c", path, "-g", NGINX];
                        Process::start("nginx", "/usr/sbin/nginx", &arguments)
                    }
                    "haproxy" => {
                        Process::start("haproxy", "/usr/sbin/haproxy", &["-c", "-f", path])
                    }
                    _ => continue,
                };
                check.succeed();
                files += 1;
            }
        }
        assert!(files >= 13, "{files} files were checked");
    });
}
