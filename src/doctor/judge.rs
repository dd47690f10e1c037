//! From facts to findings. Pure: the same facts give the same words.
//!
//! Kernel versions are shown and never judged by: what is there was tried.

use super::facts::{Facts, Found, Holder, Place, ServerPorts, Workers};
use super::report::{Finding, Report, Section, State, bytes, rough};
use crate::config::{Address, EngineChoice};
use crate::ctl::units;
use crate::supervisor::sessions_max;
use crate::sys::cgroup::Quota;
use crate::sys::pipes::{PIPE_SIZE, PIPES_MAX};
use crate::sys::socket::BACKLOG;

/// Bytes of the kernel's memory for the two sockets of an idle session (`make scale`: 18 KB for the
/// four that there are with all its ends on one host).
const KERNEL_BYTES: u64 = 9_000;
/// Bytes of ringway's own among 100,000 idle sessions (`make scale`).
const USER_BYTES: u64 = 357;

/// Descriptors that the unit for systemd asks for.
const DESCRIPTORS_GOOD: u64 = 1 << 20;
/// Below this, descriptors are what runs out first on any machine of today.
const DESCRIPTORS_FEW: u64 = 1 << 16;

/// Threads beside the workers: control, and those that look names up or write.
const THREADS_BESIDE: u64 = 8;

/// Connections on their way in that may wait for the client's answer: a burst of this size is
/// nothing unusual after a restart.
const SYN_BACKLOG_GOOD: u64 = 1_024;

/// Below this, a few hundred slow readers use up what all TCP sockets may have.
const TCP_MEMORY_FEW_BYTES: u64 = 64 << 20;

/// Servers that are named one by one.
const SERVERS_NAMED: usize = 4;

pub(super) fn judge(facts: &Facts) -> Report {
    let fits = Fits::of(facts);
    let mut sections = vec![
        Section { title: "What fits", findings: what_fits(facts, fits) },
        Section { title: "What the kernel offers", findings: kernel(facts, fits) },
        Section { title: "The network", findings: network(facts, fits) },
    ];
    if let Some(wanted) = &facts.wanted {
        let user = wanted.user_refused.as_ref().map(|why| Finding::broken("user", why));
        let mut findings: Vec<_> = user.into_iter().collect();
        findings.extend(wanted.places.iter().map(|at| place(at, facts)));
        findings.extend(wanted.strangers.iter().map(|(pool, ip)| {
            let says = format!("pool {pool}: this host does not have {ip} to connect from");
            Finding::broken("source", says).change(format!("sudo ip address add {ip} dev eth0"))
        }));
        sections.push(Section { title: "The configuration", findings });
    }
    let ss = "`ss -p` names ringway for listening sockets only: each worker has its sessions' \
        sockets in a table of its own, where nobody else looks";
    sections.push(Section { title: "Worth knowing", findings: vec![Finding::ok("ss", ss)] });
    let cores = match facts.cores_online {
        1 => "1 core".to_owned(),
        many => format!("{many} cores"),
    };
    let host = format!("Linux {}, {cores}, {}", facts.kernel, bytes(facts.memory_bytes));
    Report { host, sections }
}

/// How many there are or can be.
#[derive(Clone, Copy)]
struct Fits {
    workers: usize,
    sessions_each: u64,
    sessions: u64,
    ports: u64,
}

impl Fits {
    fn of(facts: &Facts) -> Self {
        let auto = facts.cores.min(facts.cgroup.cpu.map_or(usize::MAX, Quota::cores));
        let workers = match facts.wanted.as_ref().map(|wanted| wanted.workers) {
            Some(Workers::Count(count)) => count,
            _ => auto,
        };
        let sessions_each = sessions_max(facts.descriptors_hard) as u64;
        let sessions = sessions_each * workers as u64;
        let ports = facts.ports.map_or(0, |(first, last)| (last + 1).saturating_sub(first));
        Self { workers, sessions_each, sessions, ports }
    }
}

fn what_fits(facts: &Facts, fits: Fits) -> Vec<Finding> {
    let mut findings = vec![workers(facts, fits), descriptors(facts, fits)];
    findings.push(memory(facts));
    findings.extend(ports(facts, fits));
    if let Some(max) = facts.cgroup.pids_max.filter(|_| fits.workers > 0) {
        let need = fits.workers as u64 + THREADS_BESIDE;
        let says = format!("{} threads at most (pids.max), {need} are needed", units::count(max));
        let state = if max < need { State::Broken } else { State::Ok };
        findings.push(Finding::new("threads", state, says).figure("pids_max", max));
    }
    findings
}

fn workers(facts: &Facts, fits: Fits) -> Finding {
    let count = match fits.workers {
        1 => "1 worker".to_owned(),
        many => format!("{many} workers"),
    };
    let wanted = facts.wanted.as_ref().map(|wanted| wanted.workers);
    if let Some(Workers::NoCore(core)) = wanted {
        let says = format!("\"workers\" names core {core}, on which this process may not run");
        return Finding::broken("workers", says).change("taskset -cp $$");
    }
    let finding = match (facts.cgroup.cpu, wanted) {
        (Some(quota), Some(Workers::Count(count_wanted))) if count_wanted > quota.cores() => {
            let says = format!(
                "{count}, but a CPU quota of {quota} cores (cpu.max): once it is used up, all \
                 of them stand still; \"workers\": {} would do",
                quota.cores()
            );
            Finding::advice("workers", says)
        }
        (Some(quota), None | Some(Workers::Auto)) if quota.cores() < facts.cores => {
            let says = format!(
                "{count}, since a CPU quota allows {quota} of {} cores (cpu.max)",
                facts.cores
            );
            Finding::ok("workers", says)
        }
        (_, Some(Workers::Count(_))) => Finding::ok("workers", format!("{count}, as configured")),
        _ if facts.cores < facts.cores_online => {
            let (may, of) = (facts.cores, facts.cores_online);
            let says = format!("{count}: this process may run on {may} of {of} cores");
            Finding::ok("workers", says)
        }
        _ => Finding::ok("workers", format!("{count}, one on each core")),
    };
    finding.figure("workers", fits.workers)
}

fn descriptors(facts: &Facts, fits: Fits) -> Finding {
    let (hard, each, all) = (facts.descriptors_hard, fits.sessions_each, fits.sessions);
    let mut says = format!(
        "{} for each worker: {} sessions each, {} in all",
        units::count(hard),
        units::count(each),
        units::count(all)
    );
    let mut state = if hard < DESCRIPTORS_FEW { State::Advice } else { State::Ok };
    let most = facts.wanted.as_ref().and_then(|wanted| wanted.max_connections);
    if let Some(most) = most.filter(|&most| u64::from(most) > all) {
        says += &format!("; less than the {} of \"max_connections\"", units::count(most.into()));
        state = State::Advice;
    }
    let file_max = facts.file_max.filter(|&max| !facts.has_sys_admin && max < 2 * all);
    if let Some(max) = file_max {
        says += &format!("; the whole machine may open {} (fs.file-max)", units::count(max));
        state = State::Advice;
    }
    let mut finding = Finding::new("descriptors", state, says)
        .figure("hard", hard)
        .figure("sessions_per_worker", each)
        .figure("sessions", all);
    if state == State::Advice && hard < DESCRIPTORS_GOOD {
        finding.says += ". A unit of systemd raises it with LimitNOFILE";
        if facts.nr_open.is_some_and(|most| most < DESCRIPTORS_GOOD) {
            finding = finding.change(format!("sudo sysctl -w fs.nr_open={DESCRIPTORS_GOOD}"));
        }
        let limit = format!("--nofile={DESCRIPTORS_GOOD}:{DESCRIPTORS_GOOD}");
        finding = finding.change(format!("sudo prlimit --pid $$ {limit}"));
    }
    if file_max.is_some() {
        finding = finding.change(format!("sudo sysctl -w fs.file-max={}", 4 * all));
    }
    finding
}

fn memory(facts: &Facts) -> Finding {
    let group = facts.cgroup.memory_free.filter(|&free| free < facts.memory_available_bytes);
    let free = group.unwrap_or(facts.memory_available_bytes);
    let sessions = free / (KERNEL_BYTES + USER_BYTES);
    let whose = if group.is_some() { "its control group may still use" } else { "are free" };
    let says = format!(
        "{} idle sessions in the {} that {whose}, at 9.4 KB each: 9 KB are the kernel's, for two \
         sockets, and 0.4 KB ringway's (`make scale` measures it)",
        rough(sessions),
        bytes(free)
    );
    Finding::ok("memory", says)
        .figure("free_bytes", free)
        .figure("bytes_per_session", KERNEL_BYTES + USER_BYTES)
        .figure("idle_sessions", sessions)
}

fn ports(facts: &Facts, fits: Fits) -> Vec<Finding> {
    let Some((first, last)) = facts.ports else { return Vec::new() };
    let one = fits.ports;
    let servers = facts.wanted.as_ref().map_or(&[][..], |wanted| &wanted.servers);
    if servers.is_empty() {
        let says = format!(
            "{} connections to each server from one source address ({first} to {last})",
            units::count(one)
        );
        return vec![Finding::ok("ports", says).figure("per_source_and_server", one)];
    }
    let mut findings: Vec<_> = servers.iter().take(SERVERS_NAMED).map(|at| to(at, one)).collect();
    if let Some(more @ 1..) = servers.len().checked_sub(SERVERS_NAMED) {
        let says = format!("and as many to each of {more} more servers, for each source address");
        findings.push(Finding::ok("ports", says));
    }
    let reachable: u64 = servers.iter().map(|server| one * server.sources.max(1) as u64).sum();
    let is_less = reachable < fits.sessions && !servers.iter().any(|server| server.is_loopback);
    if let Some(finding) = findings.last_mut().filter(|_| is_less) {
        finding.state = State::Advice;
        finding.says += &format!(
            ": {} in all, where descriptors would do for {}. \"source_addresses\" adds as many for \
             each address of this host",
            units::count(reachable),
            units::count(fits.sessions)
        );
        if first > 10_240 {
            let range = "net.ipv4.ip_local_port_range='10240 65535'";
            finding.change.push(format!("sudo sysctl -w {range}"));
        }
    }
    findings
}

fn to(server: &ServerPorts, one: u64) -> Finding {
    let ServerPorts { pool, server, sources, is_loopback } = server;
    let (count, from) = match sources {
        0 | 1 => (one, "one source address".to_owned()),
        many => (one * *many as u64, format!("{many} source addresses")),
    };
    let more = if *is_loopback { ", and as many from 127.0.0.2 and each behind it" } else { "" };
    let says = format!("{} connections to {server} from {from}{more}", units::count(count));
    Finding::ok("ports", says).figure("pool", pool.as_str()).figure("connections", count)
}

fn kernel(facts: &Facts, fits: Fits) -> Vec<Finding> {
    let memlock = match facts.memlock_bytes {
        Some(limit) => format!("{} (`ulimit -l`); ringway locks none that counts", bytes(limit)),
        None => "no limit".to_owned(),
    };
    vec![ring(facts), Finding::ok("memlock", memlock), sandbox(facts), pipes(facts, fits)]
}

fn ring(facts: &Facts) -> Finding {
    let engine = facts.wanted.as_ref().map(|wanted| wanted.engine);
    let Some(why) = &facts.ring_refused else {
        let says = match engine {
            Some(EngineChoice::Epoll) => "allowed; \"engine\" chooses epoll all the same",
            _ => "allowed, with all that ringway uses of it",
        };
        return Finding::ok("io_uring", says);
    };
    let finding = match engine {
        Some(EngineChoice::IoUring) => {
            Finding::broken("io_uring", format!("{why}; \"engine\" wants nothing else"))
        }
        _ => {
            let more = "ringway serves with epoll: more CPU for the same traffic, else no loss";
            Finding::advice("io_uring", format!("{why}; {more}"))
        }
    };
    match facts.ring_disabled {
        Some(1..) => finding.change("sudo sysctl -w kernel.io_uring_disabled=0"),
        _ if facts.is_filtered => {
            finding.change("docker run --security-opt seccomp=PROFILE.json …")
        }
        _ => finding,
    }
}

fn sandbox(facts: &Facts) -> Finding {
    match (facts.landlock, facts.seccomp) {
        (Some(version), true) => {
            Finding::ok("sandbox", format!("Landlock (version {version}) and seccomp"))
        }
        (Some(_), false) => {
            let says = "Landlock, but no seccomp filters: system calls stay as they are";
            Finding::advice("sandbox", says)
        }
        (None, seccomp) => {
            let and = if seccomp { "; seccomp is there" } else { ", nor has it seccomp filters" };
            let says = format!("this kernel has no Landlock, so files stay in reach{and}");
            Finding::advice("sandbox", says).change("cat /sys/kernel/security/lsm")
        }
    }
}

fn pipes(facts: &Facts, fits: Fits) -> Finding {
    // As the kernel has it (pipe_is_unprivileged_user, fs/pipe.c).
    let is_free = facts.has_sys_resource || facts.has_sys_admin;
    let each = PIPES_MAX as u64 * u64::from(PIPE_SIZE) / facts.page_bytes.max(1);
    let need = each * fits.workers as u64;
    match facts.pipe_pages_soft {
        Some(soft) if soft > 0 && soft < need && !is_free => {
            let says = format!(
                "{} pages for all pipes of a user (fs.pipe-user-pages-soft), {} could be used: \
                 with hundreds of bulk streams at once, splice moves less at a time",
                units::count(soft),
                units::count(need)
            );
            let change = format!("sudo sysctl -w fs.pipe-user-pages-soft={need}");
            Finding::advice("pipes", says).change(change).figure("pages", soft).figure("need", need)
        }
        Some(_) if is_free => {
            Finding::ok("pipes", "no limit for who has CAP_SYS_RESOURCE or CAP_SYS_ADMIN")
        }
        Some(0) | None => Finding::ok("pipes", "no limit"),
        Some(soft) => {
            Finding::ok("pipes", format!("{} pages, which is enough", units::count(soft)))
        }
    }
}

fn network(facts: &Facts, fits: Fits) -> Vec<Finding> {
    let mut findings = vec![backlog(facts)];
    if let Some(migrate) = facts.migrate_req {
        let says = format!(
            "{migrate} (net.ipv4.tcp_migrate_req); either will do: a listener that goes has its \
             queue run dry first"
        );
        findings.push(Finding::ok("migration", says));
    }
    findings.push(conntrack(facts, fits));
    if let Some(pages) = facts.tcp_mem_pages {
        let most = pages * facts.page_bytes;
        let says = format!("{} for bytes on their way in all TCP sockets (tcp_mem)", bytes(most));
        let few = most < TCP_MEMORY_FEW_BYTES;
        let state = if few { State::Advice } else { State::Ok };
        let mut finding = Finding::new("tcp_memory", state, says).figure("bytes", most);
        if few {
            let most = facts.memory_bytes / facts.page_bytes / 11;
            let triple = format!("{} {} {most}", most / 2, most / 4 * 3);
            finding = finding.change(format!("sudo sysctl -w net.ipv4.tcp_mem='{triple}'"));
        }
        findings.push(finding);
    }
    if let Some(congestion) = &facts.congestion {
        let is_system = facts.wanted.as_ref().is_some_and(|wanted| wanted.system_congestion);
        findings.push(match (congestion.as_str(), is_system) {
            ("bbr", true) => {
                let says = "bbr, on loopback too (\"loopback_congestion\"): its timers take half \
                    of the CPU of a bulk transfer there";
                Finding::advice("congestion", says)
            }
            (name, true) => Finding::ok("congestion", format!("{name}, on loopback too")),
            (name, false) => Finding::ok("congestion", format!("{name}; reno on loopback")),
        });
    }
    findings
}

fn backlog(facts: &Facts) -> Finding {
    let want = u64::from(BACKLOG);
    let (accept, syn) = (facts.somaxconn.unwrap_or(want), facts.syn_backlog);
    let says = format!(
        "{} clients may wait to be accepted, for each worker and address",
        units::count(accept.min(want))
    );
    let mut finding = Finding::ok("backlog", says).figure("somaxconn", accept);
    if accept < want {
        finding.state = State::Advice;
        finding.says += &format!("; ringway asks for {}", units::count(want));
        finding = finding.change(format!("sudo sysctl -w net.core.somaxconn={want}"));
    }
    // With cookies nobody is turned away, however many there are.
    if let Some(syn) = syn.filter(|&syn| syn < SYN_BACKLOG_GOOD && facts.syncookies == Some(0)) {
        finding.state = State::Advice;
        finding.says += &format!("; {syn} may be half open, and there are no SYN cookies");
        finding = finding.change("sudo sysctl -w net.ipv4.tcp_syncookies=1");
    }
    finding
}

fn conntrack(facts: &Facts, fits: Fits) -> Finding {
    let Some((max, used)) = facts.conntrack else {
        return Finding::ok("conntrack", "connections are not tracked");
    };
    let need = 2 * fits.sessions;
    let state = if max < need { State::Advice } else { State::Ok };
    let mut says = format!(
        "{} connections are tracked at most (nf_conntrack_max), {} are; a session takes two",
        units::count(max),
        units::count(used)
    );
    if state == State::Advice {
        says += &format!(", so {} of {} fit", units::count(max / 2), units::count(fits.sessions));
    }
    let finding = Finding::new("conntrack", state, says).figure("max", max).figure("used", used);
    match state {
        State::Ok => finding,
        _ => finding.change(format!("sudo sysctl -w net.netfilter.nf_conntrack_max={need}")),
    }
}

fn place(place: &Place, facts: &Facts) -> Finding {
    let at = format!("{}: {}", place.listener, place.address);
    match &place.found {
        Found::Free => Finding::ok("listener", format!("{at} is free")),
        Found::Taken(Some(Holder { name, pid })) if name == "ringway" => {
            Finding::ok("listener", format!("{at} is ringway's already (process {pid})"))
        }
        Found::Taken(Some(Holder { name, pid })) => {
            Finding::broken("listener", format!("{at}: {name} (process {pid}) listens there"))
        }
        Found::Taken(None) => {
            let finding = Finding::broken("listener", format!("{at}: somebody listens there"));
            match &place.address {
                Address::Tcp(tcp) => {
                    finding.change(format!("sudo ss -ltnp 'sport = :{}'", tcp.port()))
                }
                Address::Unix(path) => {
                    finding.change(format!("sudo ss -lxp src {}", path.display()))
                }
            }
        }
        Found::Privileged => {
            let from = facts.unprivileged_from;
            let says = format!("{at}: ports below {from} need root or CAP_NET_BIND_SERVICE");
            let change = "sudo setcap cap_net_bind_service=+ep \"$(command -v ringway)\"";
            Finding::broken("listener", says).change(change)
        }
        Found::Stranger => {
            Finding::broken("listener", format!("{at}: this host does not have that address"))
                .change("ip address")
        }
        Found::NoFolder => {
            let says = format!("{at}: its folder is not there, or not to be written to");
            let folder = match &place.address {
                Address::Unix(path) => path.parent().unwrap_or(path).display().to_string(),
                Address::Tcp(_) => String::new(),
            };
            Finding::broken("listener", says).change(format!("ls -ld {folder}"))
        }
        Found::Other(why) => Finding::broken("listener", format!("{at}: {why}")),
    }
}
