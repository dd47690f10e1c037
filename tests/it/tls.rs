//! Real TLS passes through, led by its server name and never decrypted.

use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Process, Ringway, eventually, free_port};

/// openssl's own web server with a certificate for one name.
struct TlsServer {
    _process: Process,
    port: u16,
}

fn certificate(directory: &Path, name: &str) -> (String, String) {
    let path = |kind: &str| directory.join(format!("{name}.{kind}")).to_str().unwrap().to_owned();
    let (key, certificate) = (path("key"), path("pem"));
    let subject = format!("/CN={name}");
    let alternative = format!("subjectAltName=DNS:{name}");
    let mut openssl = Process::start(
        "openssl req",
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            &key,
            "-out",
            &certificate,
            "-days",
            "30",
            "-subj",
            &subject,
            "-addext",
            &alternative,
        ],
    );
    openssl.succeed();
    (key, certificate)
}

impl TlsServer {
    fn start(files: &TempDir, name: &str) -> Self {
        let (key, certificate) = certificate(files.path(), name);
        let port = free_port();
        let accept = format!("127.0.0.1:{port}");
        let arguments =
            ["s_server", "-accept", &accept, "-key", &key, "-cert", &certificate, "-www"];
        let process = Process::start("openssl s_server", "openssl", &arguments);
        eventually("openssl listening", || std::net::TcpStream::connect(&accept).ok());
        Self { _process: process, port }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

#[test]
fn curl_reaches_the_server_whose_certificate_it_asked_for() {
    let files = tempfile::tempdir().unwrap();
    let names = ["one.example", "two.example"];
    let servers = names.map(|name| TlsServer::start(&files, name));
    let [one, two] = servers.each_ref().map(TlsServer::address);
    let lb = Ringway::configured(&json!({
        "workers": 2,
        "listeners": [{
            "name": "tls", "bind": ["127.0.0.1:0"], "peek": "tls", "pool": "one",
            "routes": [{"host": "two.example", "pool": "two"}],
        }],
        "pools": {"one": {"servers": [one]}, "two": {"servers": [two]}},
    }))
    .start();
    let port = lb.address().port();
    for name in names {
        let url = format!("https://{name}:{port}/");
        let resolve = format!("{name}:{port}:127.0.0.1");
        let trusted = files.path().join(format!("{name}.pem"));
        let mut curl = Process::start(
            "curl",
            "curl",
            &[
                "--silent",
                "--show-error",
                "--fail",
                "--max-time",
                "20",
                "--noproxy",
                "*",
                "--cacert",
                trusted.to_str().unwrap(),
                "--resolve",
                &resolve,
                &url,
            ],
        );
        curl.succeed();
        assert!(curl.stdout().join("\n").contains("TLSv1.3"), "{:?}", curl.stdout());
    }
    eventually("two sessions", || {
        let sessions = lb.sessions();
        let hosts: Vec<_> = sessions.iter().map(|session| session.get("host")).collect();
        (hosts.len() == 2 && names.iter().all(|name| hosts.contains(name))).then_some(())
    });
}
