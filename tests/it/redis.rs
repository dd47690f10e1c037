//! A real redis-server, alone and behind ringway.

use crate::harness::{Peer, Process, Ringway, both_cores, free_port};

/// A redis-server of the test's own, with nothing on disk.
pub(crate) struct Redis {
    _process: Process,
    port: u16,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let port = free_port();
        let port_text = port.to_string();
        let mut process = Process::start(
            "redis-server",
            "redis-server",
            &["--port", &port_text, "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"],
        );
        process.line("Ready", |line| line.contains("Ready to accept connections").then_some(()));
        Self { _process: process, port }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

#[test]
fn redis_benchmark_runs_through_ringway() {
    let _turn = both_cores();
    let redis = Redis::start();
    let server = format!("127.0.0.1:{}", redis.port());
    let lb = Ringway::to([server]).with(["--peek", "none"]).start();
    let port = lb.address().port().to_string();
    for more in [&["-P", "1", "-n", "5000"], &["-P", "16", "-n", "20000"]] {
        let mut benchmark = Process::start(
            "redis-benchmark",
            "redis-benchmark",
            &[&["-p", &port, "-c", "50", "-t", "ping,set,get,lpush,mset", "--csv"][..], more]
                .concat(),
        );
        benchmark.succeed();
        let rows = benchmark.stdout();
        assert!(rows.iter().any(|row| row.starts_with("\"GET\"")), "{rows:?}");
        let troubles = benchmark.stderr().join("\n").to_lowercase();
        assert!(!troubles.contains("error"), "{troubles}");
    }
}

#[test]
fn a_redis_transaction_keeps_to_its_connection() {
    let redis = [Redis::start(), Redis::start()];
    let servers = redis.iter().map(|redis| format!("127.0.0.1:{}", redis.port()));
    let lb = Ringway::to(servers).with(["--peek", "none"]).start();
    let talk = |client: &mut Peer, say: &str, hear: &str| {
        client.send(format!("{say}\r\n"));
        client.expect(format!("{hear}\r\n"));
    };
    let mut one = lb.client();
    talk(&mut one, "MULTI", "+OK");
    talk(&mut one, "INCR counter", "+QUEUED");
    let mut other = lb.client();
    talk(&mut other, "INCR counter", ":1");
    talk(&mut one, "EXEC", "*1\r\n:1");
    talk(&mut one, "GET counter", "$1\r\n1");
}
