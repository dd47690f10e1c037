//! Hosts of all kinds, and what is said of them.

use std::net::IpAddr;

use super::facts::{Facts, Found, Holder, Place, ServerPorts, Wanted, Workers};
use super::judge::judge;
use super::report::{bytes, rough};
use super::*;
use crate::config::EngineChoice;
use crate::sys::cgroup::{Limits, Quota};
use State::{Advice, Broken, Ok};

/// A host that leaves nothing to be wished for.
fn good() -> Facts {
    Facts {
        kernel: "6.18.44".to_owned(),
        cores: 4,
        cores_online: 4,
        cgroup: Limits::default(),
        memory_bytes: 32 << 30,
        memory_available_bytes: 27_135_300_000,
        page_bytes: 4096,
        descriptors_hard: 1 << 20,
        memlock_bytes: Some(8 << 20),
        file_max: Some(u64::MAX >> 1),
        nr_open: Some(1 << 20),
        ring_refused: None,
        ring_disabled: Some(0),
        is_filtered: false,
        seccomp: true,
        landlock: Some(7),
        has_sys_admin: false,
        has_sys_resource: false,
        pipe_pages_soft: Some(163_840),
        somaxconn: Some(4096),
        syn_backlog: Some(2048),
        syncookies: Some(1),
        ports: Some((32_768, 60_999)),
        unprivileged_from: 1024,
        conntrack: None,
        migrate_req: Some(0),
        tcp_mem_pages: Some(786_432),
        congestion: Some("cubic".to_owned()),
        wanted: None,
    }
}

fn wanted() -> Wanted {
    Wanted {
        workers: Workers::Auto,
        engine: EngineChoice::Auto,
        user_refused: None,
        max_connections: None,
        system_congestion: false,
        places: Vec::new(),
        servers: Vec::new(),
        strangers: Vec::new(),
    }
}

fn server(address: &str, sources: usize) -> ServerPorts {
    let is_loopback = address.starts_with("127.");
    ServerPorts { pool: "site".to_owned(), server: address.to_owned(), sources, is_loopback }
}

fn place(address: &str, found: Found) -> Place {
    Place { listener: "web".to_owned(), address: address.parse().unwrap(), found }
}

/// A host with something else about it.
fn with(change: impl FnOnce(&mut Facts)) -> Report {
    let mut facts = good();
    change(&mut facts);
    judge(&facts)
}

/// The same with a configuration.
fn asked(change: impl FnOnce(&mut Facts, &mut Wanted)) -> Report {
    let (mut facts, mut wanted) = (good(), wanted());
    change(&mut facts, &mut wanted);
    facts.wanted = Some(wanted);
    judge(&facts)
}

#[test]
fn a_good_host_has_nothing_to_change() {
    let report = with(|_| ());
    assert_eq!(report.state(), State::Ok, "{report}");
    let all = report.sections.iter().flat_map(|section| &section.findings);
    assert!(all.clone().all(|finding| finding.change.is_empty()), "{report}");
    assert!(all.count() >= 12, "{report}");
}

/// A report, and what has to stand in it: of what, how it is, words of it and of its commands.
type Row = (Report, &'static str, State, &'static str, &'static str);

fn check(rows: impl IntoIterator<Item = Row>) {
    for (report, id, state, says, change) in rows {
        let all = report.sections.iter().flat_map(|section| &section.findings);
        let finding = all.into_iter().find(|finding| finding.id == id).expect(id);
        assert_eq!(finding.state, state, "{id}: {finding:?}");
        assert!(finding.says.contains(says), "{says}: {finding:?}");
        let changes = finding.change.join("\n");
        assert!(changes.contains(change), "{change}: {finding:?}");
        assert_eq!(report.state(), state, "nothing else is wrong: {report}");
    }
}

const QUOTA: Option<Quota> = Some(Quota { quota_us: 150_000, period_us: 100_000 });

fn refused() -> Option<String> {
    Some("io_uring is refused here".to_owned())
}

fn taken(name: &str) -> Found {
    Found::Taken(Some(Holder { name: name.to_owned(), pid: 7 }))
}

#[test]
fn what_fits_is_said_with_what_would_make_it_more() {
    check([
        (
            with(|f| f.descriptors_hard = 4096),
            "descriptors",
            Advice,
            "1,792 sessions each",
            "--nofile=1048576",
        ),
        (
            with(|f| (f.descriptors_hard, f.nr_open) = (4096, Some(65_536))),
            "descriptors",
            Advice,
            "7,168 in all",
            "fs.nr_open=1048576",
        ),
        (
            with(|f| f.file_max = Some(100_000)),
            "descriptors",
            Advice,
            "may open 100,000 (fs.file-max)",
            "fs.file-max=8384512",
        ),
        (
            with(|f| (f.file_max, f.has_sys_admin) = (Some(100_000), true)),
            "descriptors",
            Ok,
            "2,096,128 in all",
            "",
        ),
        (
            asked(|_, w| w.max_connections = Some(9_000_000)),
            "descriptors",
            Advice,
            "less than the 9,000,000 of",
            "",
        ),
        (
            with(|f| f.cgroup.memory_free = Some(1 << 30)),
            "memory",
            Ok,
            "114,000 idle sessions in the 1.0 GiB that its control group",
            "",
        ),
    ]);
}

#[test]
fn workers_and_threads_are_as_many_as_this_host_allows() {
    check([
        (
            with(|f| f.cgroup.cpu = QUOTA),
            "workers",
            Ok,
            "2 workers, since a CPU quota allows 1.5 of 4",
            "",
        ),
        (
            asked(|f, w| (f.cgroup.cpu, w.workers) = (QUOTA, Workers::Count(4))),
            "workers",
            Advice,
            "\"workers\": 2 would do",
            "",
        ),
        (asked(|_, w| w.workers = Workers::NoCore(9)), "workers", Broken, "core 9", "taskset"),
        (with(|f| f.cores = 1), "workers", Ok, "1 worker: this process may run on 1 of 4", ""),
        (with(|f| f.cgroup.pids_max = Some(8)), "threads", Broken, "12 are needed", ""),
    ]);
}

#[test]
fn what_the_kernel_refuses_is_said_with_who_refuses() {
    check([
        (
            with(|f| (f.ring_refused, f.ring_disabled) = (refused(), Some(2))),
            "io_uring",
            Advice,
            "serves with epoll",
            "io_uring_disabled=0",
        ),
        (
            with(|f| (f.ring_refused, f.is_filtered) = (refused(), true)),
            "io_uring",
            Advice,
            "io_uring is refused here",
            "docker run",
        ),
        (
            asked(|f, w| {
                (f.ring_refused, w.engine) = (refused(), EngineChoice::IoUring);
            }),
            "io_uring",
            Broken,
            "wants nothing else",
            "",
        ),
        (with(|f| f.landlock = None), "sandbox", Advice, "no Landlock", "lsm"),
        (
            with(|f| f.pipe_pages_soft = Some(16_384)),
            "pipes",
            Advice,
            "40,960 could be used",
            "pipe-user-pages-soft=40960",
        ),
        (
            with(|f| (f.pipe_pages_soft, f.has_sys_resource) = (Some(16_384), true)),
            "pipes",
            Ok,
            "CAP_SYS_RESOURCE",
            "",
        ),
        (
            with(|f| (f.pipe_pages_soft, f.has_sys_admin) = (Some(16_384), true)),
            "pipes",
            Ok,
            "CAP_SYS_ADMIN",
            "",
        ),
    ]);
}

#[test]
fn what_the_network_loses_is_said_before_it_does() {
    check([
        (
            with(|f| f.somaxconn = Some(128)),
            "backlog",
            Advice,
            "128 clients may wait",
            "net.core.somaxconn=4096",
        ),
        (
            with(|f| (f.syn_backlog, f.syncookies) = (Some(128), Some(0))),
            "backlog",
            Advice,
            "no SYN cookies",
            "tcp_syncookies=1",
        ),
        (
            with(|f| f.conntrack = Some((262_144, 10))),
            "conntrack",
            Advice,
            "131,072 of 2,096,128 fit",
            "nf_conntrack_max=4192256",
        ),
        (with(|f| f.conntrack = Some((1 << 23, 10))), "conntrack", Ok, "10 are", ""),
        (
            with(|f| f.tcp_mem_pages = Some(4096)),
            "tcp_memory",
            Advice,
            "16.0 MiB",
            "net.ipv4.tcp_mem=",
        ),
        (
            asked(|f, w| (f.congestion, w.system_congestion) = (Some("bbr".to_owned()), true)),
            "congestion",
            Advice,
            "bbr, on loopback too",
            "",
        ),
    ]);
}

#[test]
fn each_address_of_the_configuration_is_looked_at() {
    let ip: IpAddr = "192.0.2.1".parse().unwrap();
    check([
        (
            asked(|_, w| w.places = vec![place("0.0.0.0:80", Found::Free)]),
            "listener",
            Ok,
            "web: 0.0.0.0:80 is free",
            "",
        ),
        (
            asked(|_, w| w.places = vec![place("0.0.0.0:80", taken("ringway"))]),
            "listener",
            Ok,
            "ringway's already (process 7)",
            "",
        ),
        (
            asked(|_, w| w.places = vec![place("0.0.0.0:80", taken("nginx"))]),
            "listener",
            Broken,
            "nginx (process 7) listens there",
            "",
        ),
        (
            asked(|_, w| w.places = vec![place("0.0.0.0:80", Found::Taken(None))]),
            "listener",
            Broken,
            "somebody",
            "sport = :80",
        ),
        (
            asked(|_, w| w.places = vec![place("0.0.0.0:80", Found::Privileged)]),
            "listener",
            Broken,
            "below 1024",
            "setcap",
        ),
        (
            asked(|_, w| w.places = vec![place("192.0.2.1:80", Found::Stranger)]),
            "listener",
            Broken,
            "does not have that address",
            "ip address",
        ),
        (
            asked(|_, w| w.places = vec![place("unix:/run/x/a.sock", Found::NoFolder)]),
            "listener",
            Broken,
            "its folder",
            "ls -ld /run/x",
        ),
        (
            asked(|_, w| w.user_refused = Some("user: only root can become \"web\"".to_owned())),
            "user",
            Broken,
            "only root can become \"web\"",
            "",
        ),
        (
            asked(|_, w| w.strangers = vec![("site".to_owned(), ip)]),
            "source",
            Broken,
            "does not have 192.0.2.1",
            "ip address add",
        ),
    ]);
}

#[test]
fn ports_are_counted_for_each_server() {
    check([
        (
            asked(|_, w| w.servers = vec![server("10.0.0.5:80", 0)]),
            "ports",
            Advice,
            "28,232 connections to 10.0.0.5:80 from one source address",
            "ip_local_port_range",
        ),
        (
            asked(|_, w| w.servers = vec![server("127.0.0.1:80", 0)]),
            "ports",
            Ok,
            "and as many from 127.0.0.2",
            "",
        ),
        (
            asked(|f, w| {
                (f.descriptors_hard, w.servers) = (65_536, vec![server("10.0.0.5:80", 5)]);
            }),
            "ports",
            Ok,
            "141,160 connections to 10.0.0.5:80 from 5 source",
            "",
        ),
    ]);
}

/// A host with something of everything to say.
fn wanting() -> Report {
    asked(|facts, wanted| {
        facts.descriptors_hard = 20_000;
        facts.somaxconn = Some(128);
        facts.memory_available_bytes = 27_135_300_000;
        wanted.places = vec![
            place("0.0.0.0:80", Found::Privileged),
            place("unix:/run/ringway/web.sock", Found::Free),
        ];
        wanted.servers = vec![server("10.0.0.5:80", 0)];
    })
}

#[test]
fn the_layout_is_eighty_columns_wide() {
    let report = wanting();
    let expected = "\
Linux 6.18.44, 4 cores, 32.0 GiB

What fits
  workers           4 workers, one on each core
! descriptors       20,000 for each worker: 9,744 sessions each, 38,976 in all.
                    A unit of systemd raises it with LimitNOFILE
                    $ sudo prlimit --pid $$ --nofile=1048576:1048576
  memory            2.9 million idle sessions in the 25.3 GiB that are free, at
                    9.4 KB each: 9 KB are the kernel's, for two sockets, and 0.4
                    KB ringway's (`make scale` measures it)
! ports             28,232 connections to 10.0.0.5:80 from one source address:
                    28,232 in all, where descriptors would do for 38,976.
                    \"source_addresses\" adds as many for each address of this
                    host
                    $ sudo sysctl -w net.ipv4.ip_local_port_range='10240 65535'

What the kernel offers
  io_uring          allowed, with all that ringway uses of it
  memlock           8.0 MiB (`ulimit -l`); ringway locks none that counts
  sandbox           Landlock (version 7) and seccomp
  pipes             163,840 pages, which is enough

The network
! backlog           128 clients may wait to be accepted, for each worker and
                    address; ringway asks for 4,096
                    $ sudo sysctl -w net.core.somaxconn=4096
  migration         0 (net.ipv4.tcp_migrate_req); either will do: a listener
                    that goes has its queue run dry first
  conntrack         connections are not tracked
  tcp_memory        3.0 GiB for bytes on their way in all TCP sockets (tcp_mem)
  congestion        cubic; reno on loopback

The configuration
X listener          web: 0.0.0.0:80: ports below 1024 need root or
                    CAP_NET_BIND_SERVICE
                    $ sudo setcap cap_net_bind_service=+ep \"$(command -v ringway)\"
  listener          web: unix:/run/ringway/web.sock is free

Worth knowing
  ss                `ss -p` names ringway for listening sockets only: each
                    worker has its sessions' sockets in a table of its own,
                    where nobody else looks

One thing will not work (X); 3 things could be better (!).
`sysctl -w` lasts until the next boot, a file in /etc/sysctl.d for good.
";
    assert_eq!(report.to_string(), expected);
    let json = report.json();
    assert_eq!(json["state"], "broken");
    let findings = json["findings"].as_array().unwrap();
    let ports = findings.iter().find(|finding| finding["id"] == "ports").unwrap();
    assert_eq!(
        (&ports["state"], &ports["figures"]["connections"]),
        (&"advice".into(), &28_232.into())
    );
    assert!(findings.iter().all(|finding| finding["says"].is_string()), "{json:#}");
}

const PAGE: &str = include_str!("../../docs/tuning.md");

/// The first block of `docs/tuning.md` behind this fence that has these words in it.
fn shown(fence: &str, words: &str) -> &'static str {
    let blocks = PAGE.split("\n```").skip(1).step_by(2);
    let blocks = blocks.filter_map(|block| block.strip_prefix(fence));
    blocks.into_iter().find(|block| block.contains(words)).expect("a block of the page")
}

#[test]
fn the_page_shows_what_is_said() {
    let text = wanting().to_string();
    let shown_text = shown("text\n", "What fits");
    assert!(text.starts_with(shown_text), "{text}");
    let json = wanting().json();
    let object: serde_json::Value = serde_json::from_str(shown("json\n", "\"id\"")).unwrap();
    let mut findings = json["findings"].as_array().unwrap().iter();
    assert!(findings.any(|finding| *finding == object), "{json:#}");
    for key in json.as_object().unwrap().keys() {
        assert!(PAGE.contains(&format!("`{key}`")), "{key}");
    }
}

#[test]
fn the_page_has_every_finding_in_order() {
    let (head, rows) = PAGE.split_once("| What | Looked at | More |\n").expect("a table");
    assert!(head.contains("## What doctor says"));
    let rows = rows.lines().skip(1).map_while(|row| row.strip_prefix("| "));
    let cells = rows.filter_map(|row| row.split(" |").next());
    let written: Vec<_> = cells.flat_map(|cell| cell.split(", ")).collect();
    let report = asked(|facts, wanted| {
        facts.cgroup.pids_max = Some(1_000);
        wanted.user_refused = Some("user: nobody".to_owned());
        wanted.places = vec![place("0.0.0.0:80", Found::Free)];
        wanted.strangers = vec![("site".to_owned(), "192.0.2.1".parse().unwrap())];
    });
    let all = report.sections.iter().flat_map(|section| &section.findings);
    let said: Vec<_> = all.map(|finding| format!("`{}`", finding.id)).collect();
    assert_eq!(written, said);
}

#[test]
fn numbers_read_well() {
    assert_eq!([99_999, 123_456, 2_900_000].map(rough), ["99,999", "123,000", "2.9 million"]);
    assert_eq!([2048, 3 << 20, 5 << 29].map(bytes), ["2 KiB", "3.0 MiB", "2.5 GiB"]);
}

#[test]
fn this_host_can_be_looked_at() {
    let config = crate::config::parse(
        r#"{"listeners": [{"bind": ["127.0.0.1:0", "unix:/nonexistent/a.sock"]}],
            "pools": {"a": {"servers": ["10.0.0.5:80", "unix:/run/x", "app:1"]}}}"#,
    );
    let facts = look::look(Some(&config.unwrap().config));
    assert!(facts.memory_bytes > facts.memory_available_bytes, "{facts:?}");
    assert!(facts.cores > 0 && facts.cores_online >= facts.cores, "{facts:?}");
    assert!(facts.descriptors_hard > 0 && facts.ports.is_some(), "{facts:?}");
    let wanted = facts.wanted.unwrap();
    let found: Vec<_> = wanted.places.iter().map(|place| place.found.clone()).collect();
    assert_eq!(found, [Found::Free, Found::NoFolder]);
    let servers: Vec<_> = wanted.servers.iter().map(|server| &*server.server).collect();
    assert_eq!(servers, ["10.0.0.5:80", "app:1"]);
}
