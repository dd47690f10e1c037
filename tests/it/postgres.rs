//! A real PostgreSQL behind ringway: a stateful protocol it knows nothing about.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;
use nix::unistd::User;
use tempfile::TempDir;

use crate::harness::{Process, Ringway, both_cores, eventually, free_port};

/// A cluster of the test's own, with durability off.
struct Postgres {
    process: Process,
    port: u16,
    _files: TempDir,
}

/// initdb and postgres refuse to run as root.
const AS_POSTGRES: [&str; 5] = ["--reuid", "postgres", "--regid", "postgres", "--clear-groups"];

fn as_user() -> &'static [&'static str] {
    if nix::unistd::geteuid().is_root() { &AS_POSTGRES } else { &[] }
}

fn newest(program: &str) -> String {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL: run tests/setup.sh");
    let paths = versions.map(|version| version.unwrap().path().join("bin").join(program));
    let newest = paths.filter(|path| path.exists()).max().expect("a version with its programs");
    newest.to_str().unwrap().to_owned()
}

impl Postgres {
    fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let data = files.path().join("data");
        fs::set_permissions(files.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(&data).unwrap();
        if nix::unistd::geteuid().is_root() {
            let user = User::from_name("postgres").unwrap().expect("the user postgres");
            nix::unistd::chown(&data, Some(user.uid), Some(user.gid)).unwrap();
        }
        let data = data.to_str().unwrap();
        Process::start_under(
            "initdb",
            as_user(),
            &newest("initdb"),
            &[
                "-D",
                data,
                "-U",
                "postgres",
                "--auth=trust",
                "--no-sync",
                "--locale=C",
                "-E",
                "UTF8",
            ],
        )
        .succeed();
        let port = free_port();
        let settings = [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "fsync=off".to_owned(),
            "shared_buffers=16MB".to_owned(),
        ];
        let mut arguments = vec!["-D", data];
        for setting in &settings {
            arguments.extend(["-c", setting]);
        }
        let process = Process::start_under("postgres", as_user(), &newest("postgres"), &arguments);
        eventually("PostgreSQL taking connections", || {
            let told = process.stderr();
            told.iter().any(|l| l.contains("ready to accept connections")).then_some(())
        });
        Self { process, port, _files: files }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if !self.process.has_ended() {
            self.process.signal(Signal::SIGQUIT);
            self.process.wait();
        }
    }
}

fn psql(lb: &Ringway, more: &[&str]) -> Vec<String> {
    let port = lb.address().port().to_string();
    let target = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-X", "-q", "-A", "-t"];
    let mut psql =
        Process::start("psql", "psql", &[&target[..], &["-v", "ON_ERROR_STOP=1"], more].concat());
    psql.succeed();
    psql.stdout()
}

#[test]
fn postgresql_transactions_and_bulk_copies_pass_untouched() {
    let _turn = both_cores();
    let postgres = Postgres::start();
    let server = format!("127.0.0.1:{}", postgres.port);
    let lb = Ringway::to([server]).with(["--peek", "none"]).start();

    let transaction = "begin; create table t (n int primary key, s text); \
        insert into t select n, md5(n::text) from generate_series(1, 100000) n; commit;";
    psql(&lb, &["-c", transaction]);
    let undone = "begin; delete from t; rollback; select count(*) from t;";
    assert_eq!(psql(&lb, &["-c", undone]), ["100000"]);

    let rows = tempfile::NamedTempFile::new().unwrap();
    let path = rows.path().to_str().unwrap();
    psql(&lb, &["-c", &format!("\\copy (select * from t order by n) to '{path}'")]);
    psql(&lb, &["-c", "create table u (like t)", "-c", &format!("\\copy u from '{path}'")]);
    let same = "select count(*) from t join u using (n, s)";
    assert_eq!(psql(&lb, &["-c", same]), ["100000"]);
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(text.lines().count(), 100_000);
    assert_eq!(text.lines().next_back(), Some("100000\t14ee22eaba297944c96afdbe5b16c65b"));
}
