//! A real nginx as a server behind ringway.

use std::fs;
use std::io::Write;

use tempfile::TempDir;

use crate::harness::{
    DEADLINE, Numbers, Process, Response, Ringway, both_cores, eventually, free_port, get,
};

/// One nginx that serves files of these sizes and keeps what is PUT under /in/.
struct Nginx {
    process: Process,
    port: u16,
    files: TempDir,
}

const CONFIGURATION: &str = r"
daemon off; master_process off; pid DIR/nginx.pid; error_log stderr warn;
events { worker_connections 4096; }
http {
    access_log off; sendfile on; client_max_body_size 64m; keepalive_requests 100000;
    client_body_temp_path DIR/body; proxy_temp_path DIR/p; fastcgi_temp_path DIR/f;
    uwsgi_temp_path DIR/u; scgi_temp_path DIR/s;
    server {
        listen 127.0.0.1:PORT backlog=4096;
        root DIR/www;
        location /in/ { dav_methods PUT; create_full_put_path on; }
    }
}";

const SIZES: [u64; 6] = [8, 1 << 10, 64 << 10, (64 << 10) + 8, 1 << 20, 10 << 20];

impl Nginx {
    fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let www = files.path().join("www");
        fs::create_dir_all(www.join("in")).unwrap();
        fs::write(www.join("1"), "1").unwrap();
        for size in SIZES {
            let mut bytes = vec![0; size as usize];
            Numbers::seeded(size).fill(&mut bytes);
            fs::write(www.join(size.to_string()), bytes).unwrap();
        }
        let port = free_port();
        let directory = files.path().to_str().unwrap();
        let text = CONFIGURATION.replace("DIR", directory).replace("PORT", &port.to_string());
        let path = files.path().join("nginx.conf");
        fs::write(&path, text).unwrap();
        let process = Process::start(
            "nginx",
            "/usr/sbin/nginx",
            &["-e", "stderr", "-c", path.to_str().unwrap()],
        );
        eventually("nginx listening", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Self { process, port, files }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

#[test]
fn files_of_every_size_come_whole_on_one_kept_connection() {
    let nginx = Nginx::start();
    for peek in ["none", "http"] {
        let lb = Ringway::to([nginx.address()]).with(["--peek", peek]).start();
        let mut client = lb.client();
        for size in SIZES.into_iter().chain(SIZES).chain([8; 50]) {
            client.send(get(&format!("/{size}"), &[]));
            let head = client.head();
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert!(head.contains(&format!("Content-Length: {size}\r\n")), "{head}");
            Numbers::seeded(size).check_from(&mut client, size);
        }
        client.send(get("/1", &["Connection: close"]));
        assert_eq!(client.response().text(), "1");
        client.expect_eof();
        drop(client);
        assert_eq!(lb.sessions().len().max(1), 1, "one session for all requests");
    }
    assert!(nginx.process.stderr().is_empty(), "{:?}", nginx.process.stderr());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let nginx = Nginx::start();
    let lb = Ringway::to([nginx.address()]).with(["--peek", "http"]).start();
    let mut client = lb.client();
    let requests: String = (0..20).map(|_| get("/1", &[]) + &get("/1024", &[])).collect();
    client.send(requests);
    for _ in 0..20 {
        assert_eq!(client.response().body.len(), 1);
        assert_eq!(client.response().body.len(), 1024);
    }
}

#[test]
fn a_body_sent_to_the_server_arrives_whole() {
    let nginx = Nginx::start();
    for keep_alive in ["none", "query:user"] {
        let lb =
            Ringway::to([nginx.address()]).with(["--peek", "http", "--sticky", keep_alive]).start();
        for size in [8_u64, 1 << 20, 10 << 20] {
            let mut client = lb.client();
            client.send(format!(
                "PUT /in/{keep_alive}/{size} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"
            ));
            Numbers::seeded(size).write_to(&mut client, size);
            let answer = client.response();
            assert_eq!(answer.status, 201, "{}", answer.head);
            let kept = nginx.files.path().join(format!("www/in/{keep_alive}/{size}"));
            let mut want = vec![0; size as usize];
            Numbers::seeded(size).fill(&mut want);
            assert!(fs::read(kept).unwrap() == want, "{size} bytes");
        }
    }
}

#[test]
fn a_chunked_body_arrives_whole_where_each_request_chooses_for_itself() {
    let nginx = Nginx::start();
    let lb = Ringway::to([nginx.address()]).with(["--sticky", "query:user"]).start();
    let mut client = lb.client();
    client.send("PUT /in/chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut chunk = vec![0; 80_000];
    for n in 1..=20 {
        Numbers::seeded(n).fill(&mut chunk);
        client.send(format!("{:x}\r\n", chunk.len()));
        client.send(&chunk);
        client.send("\r\n");
    }
    client.send("0\r\n\r\n");
    let answer: Response = client.response();
    assert_eq!(answer.status, 201, "{}", answer.head);
    let kept = fs::read(nginx.files.path().join("www/in/chunked")).unwrap();
    assert_eq!(kept.len(), 20 * chunk.len());
    for (n, got) in (1..).zip(kept.chunks(chunk.len())) {
        Numbers::seeded(n).fill(&mut chunk);
        assert!(chunk == got, "chunk {n}");
    }
}

#[test]
fn a_hundred_clients_at_once_get_their_files() {
    let _turn = both_cores();
    let nginx = Nginx::start();
    let lb = Ringway::to([nginx.address()]).with(["--peek", "http"]).start();
    let mut clients: Vec<_> = (0..100).map(|_| lb.client()).collect();
    for client in &mut clients {
        client.set_timeout(DEADLINE);
        client.write_all(get("/1048576", &["Connection: close"]).as_bytes()).unwrap();
    }
    for client in &mut clients {
        assert!(client.head().starts_with("HTTP/1.1 200"));
        Numbers::seeded(1 << 20).check_from(client, 1 << 20);
        client.expect_eof();
    }
}
