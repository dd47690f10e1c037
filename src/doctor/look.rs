//! Asks the kernel: /proc, /sys, limits of this process, and a socket for each place of the
//! configuration, bound and closed again.
//!
//! Becomes the configuration's user on the way, as ringway does: rights are of who serves.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use caps::{CapSet, Capability};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::unistd::{AccessFlags, access};

use super::facts::{Facts, Found, Holder, Place, ServerPorts, Wanted, Workers};
use crate::config::{self, Address, Bind, Config, EngineChoice, LoopbackCongestion, ServerAddress};
use crate::sys::choice::EngineKind;
use crate::sys::{affinity, cgroup, confine, privileges, seccomp, socket, sources};

pub(super) fn look(config: Option<&Config>) -> Facts {
    let allowed = affinity::allowed_cores().unwrap_or_default();
    let wanted = config.map(|config| wanted(config, &allowed));
    let limit = |resource| getrlimit(resource).unwrap_or((0, 0));
    let (_, descriptors_hard) = limit(Resource::RLIMIT_NOFILE);
    let (_, memlock) = limit(Resource::RLIMIT_MEMLOCK);
    let holds = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let (_, ring_refused) = EngineKind::choose(EngineChoice::Auto);
    Facts {
        kernel: text("kernel/osrelease").unwrap_or_else(|| "of unknown version".to_owned()),
        cores: allowed.len().max(1),
        cores_online: cores_online().max(allowed.len()),
        cgroup: cgroup::limits(),
        memory_bytes: field(&memory, "MemTotal:").unwrap_or(0) * 1024,
        memory_available_bytes: field(&memory, "MemAvailable:").unwrap_or(0) * 1024,
        page_bytes: page_bytes(),
        descriptors_hard,
        memlock_bytes: (memlock != RLIM_INFINITY).then_some(memlock),
        file_max: number("fs/file-max"),
        nr_open: number("fs/nr_open"),
        ring_refused: ring_refused.map(|why| why.to_string()),
        ring_disabled: number("kernel/io_uring_disabled"),
        is_filtered: field(&status, "Seccomp:").is_some_and(|mode| mode > 0),
        seccomp: seccomp::is_available(),
        landlock: confine::landlock_version(),
        has_sys_admin: holds(Capability::CAP_SYS_ADMIN),
        has_sys_resource: holds(Capability::CAP_SYS_RESOURCE),
        pipe_pages_soft: number("fs/pipe-user-pages-soft"),
        somaxconn: number("net/core/somaxconn"),
        syn_backlog: number("net/ipv4/tcp_max_syn_backlog"),
        syncookies: number("net/ipv4/tcp_syncookies"),
        ports: text("net/ipv4/ip_local_port_range").and_then(|text| pair(&text)),
        unprivileged_from: number("net/ipv4/ip_unprivileged_port_start").unwrap_or(1024),
        conntrack: number("net/netfilter/nf_conntrack_max")
            .zip(number("net/netfilter/nf_conntrack_count")),
        migrate_req: number("net/ipv4/tcp_migrate_req"),
        tcp_mem_pages: text("net/ipv4/tcp_mem")
            .and_then(|text| text.split_ascii_whitespace().nth(2)?.parse().ok()),
        congestion: text("net/ipv4/tcp_congestion_control"),
        wanted,
    }
}

fn text(sysctl: &str) -> Option<String> {
    let text = fs::read_to_string(Path::new("/proc/sys").join(sysctl)).ok()?;
    Some(text.trim().to_owned())
}

fn number(sysctl: &str) -> Option<u64> {
    text(sysctl)?.parse().ok()
}

fn pair(text: &str) -> Option<(u64, u64)> {
    let mut ends = text.split_ascii_whitespace().map(str::parse);
    Some((ends.next()?.ok()?, ends.next()?.ok()?))
}

/// `MemTotal:  32 kB`, `Seccomp:  2`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Lines `cpu0`, `cpu1` of /proc/stat: all that are there, whoever may use them.
fn cores_online() -> usize {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let is_core = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    stat.lines().filter(is_core).count()
}

/// As auxv(5) would have it; smaps has it in words.
fn page_bytes() -> u64 {
    let maps = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    field(&maps, "KernelPageSize:").map_or(4096, |kib| kib * 1024)
}

fn wanted(config: &Config, allowed: &[u16]) -> Wanted {
    let workers = match &config.workers {
        config::Workers::Auto => Workers::Auto,
        config::Workers::Count(count) => Workers::Count((*count).into()),
        config::Workers::Cores(cores) => match cores.iter().find(|core| !allowed.contains(core)) {
            Some(&core) => Workers::NoCore(core),
            None => Workers::Count(cores.len()),
        },
    };
    let probe = |pool: &config::Pool| {
        let strangers = pool.source_addresses.iter().filter(|&&ip| sources::probe(ip).is_err());
        strangers.map(|&ip| (pool.name.clone(), ip)).collect::<Vec<_>>()
    };
    // Before: root sees whose sockets are in the way, its user does not.
    let mut places = places(config);
    let user_refused = become_user(config);
    for place in &mut places {
        if let Address::Unix(path) = &place.address
            && place.found == Found::Free
            && path.parent().is_none_or(|folder| access(folder, AccessFlags::W_OK).is_err())
        {
            place.found = Found::NoFolder;
        }
    }
    Wanted {
        workers,
        engine: config.engine,
        user_refused,
        max_connections: config.max_connections,
        system_congestion: config.loopback_congestion == LoopbackCongestion::System,
        places,
        servers: servers(config),
        strangers: config.pools.iter().flat_map(probe).collect(),
    }
}

fn become_user(config: &Config) -> Option<String> {
    let user = config.user.as_ref()?;
    let refused = privileges::assume(Some(user), config.group.as_ref()).err()?;
    Some(format!("{}: {}", refused.key, refused.why))
}

fn places(config: &Config) -> Vec<Place> {
    let mut places = Vec::new();
    let mut look_at = |listener: &str, address: &Address| {
        let (listener, address, found) = (listener.to_owned(), address.clone(), find(address));
        places.push(Place { listener, address, found });
    };
    for listener in &config.listeners {
        for bind in &listener.bind {
            if let Bind::At(address) = bind {
                look_at(&listener.name, address);
            }
        }
    }
    if let Some(admin) = &config.admin {
        look_at("admin", &admin.bind);
    }
    places
}

fn servers(config: &Config) -> Vec<ServerPorts> {
    let mut servers: Vec<ServerPorts> = Vec::new();
    for pool in &config.pools {
        for server in &pool.servers {
            let ip = match &server.address {
                ServerAddress::Address(Address::Unix(_)) => continue,
                ServerAddress::Address(Address::Tcp(tcp)) => Some(tcp.ip()),
                ServerAddress::Name { .. } => None,
            };
            let (server, sources) = (server.address.to_string(), pool.source_addresses.len());
            if servers.iter().any(|known| known.server == server) {
                continue;
            }
            let is_loopback = sources == 0 && ip.is_some_and(|ip| ip.is_ipv4() && ip.is_loopback());
            servers.push(ServerPorts { pool: pool.name.clone(), server, sources, is_loopback });
        }
    }
    servers
}

fn find(address: &Address) -> Found {
    match address {
        Address::Tcp(tcp) => find_tcp(*tcp),
        Address::Unix(path) => find_unix(path),
    }
}

fn find_tcp(address: SocketAddr) -> Found {
    match socket::probe_bind(address) {
        Ok(_) => Found::Free,
        Err(why) => match why.kind() {
            io::ErrorKind::AddrInUse => Found::Taken(inode_in_the_way(address).and_then(holder)),
            io::ErrorKind::AddrNotAvailable => Found::Stranger,
            io::ErrorKind::PermissionDenied => Found::Privileged,
            _ => Found::Other(why.to_string()),
        },
    }
}

fn find_unix(path: &Path) -> Found {
    // Nobody who listens is disturbed.
    if let Some(inode) = inode_at(path) {
        return Found::Taken(holder(inode));
    }
    if path.symlink_metadata().is_err() {
        return Found::Free;
    }
    match socket::is_left_behind(path) {
        // It is replaced.
        Ok(true) => Found::Free,
        Ok(false) => Found::Taken(None),
        Err(why) => Found::Other(why.to_string()),
    }
}

/// Of the socket that listens there, or on that port of all addresses (proc(5), /proc/net/tcp: the
/// state is 0A).
fn inode_in_the_way(address: SocketAddr) -> Option<u64> {
    ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().find_map(|table| {
        let table = fs::read_to_string(table).ok()?;
        table.lines().find_map(|line| {
            let fields: Vec<_> = line.split_ascii_whitespace().collect();
            let (ip, port) = local(fields.get(1)?)?;
            let is_one = ip == address.ip() || ip.is_unspecified() || address.ip().is_unspecified();
            let is_in_the_way = port == address.port() && is_one && *fields.get(3)? == "0A";
            if is_in_the_way { fields.get(9)?.parse().ok() } else { None }
        })
    })
}

/// `0100007F:1F90`: words of four bytes as they are in memory, and the port as a number.
fn local(written: &str) -> Option<(IpAddr, u16)> {
    let (ip, port) = written.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok();
    let bytes = |at: usize| word(at).map(u32::to_ne_bytes);
    let ip = match ip.len() {
        8 => IpAddr::from(bytes(0)?),
        _ => {
            let words = [bytes(0)?, bytes(1)?, bytes(2)?, bytes(3)?];
            let all: [u8; 16] = words.concat().try_into().ok()?;
            IpAddr::from(all)
        }
    };
    Some((ip.to_canonical(), u16::from_str_radix(port, 16).ok()?))
}

/// Of the socket that listens at this path (proc(5), /proc/net/unix: its flag is 00010000).
fn inode_at(path: &Path) -> Option<u64> {
    let path = path.to_str()?;
    let table = fs::read_to_string("/proc/net/unix").ok()?;
    table.lines().find_map(|line| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let listens = *fields.get(3)? == "00010000" && *fields.get(7)? == path;
        if listens { fields.get(6)?.parse().ok() } else { None }
    })
}

/// Who has a socket, as far as this process may see.
fn holder(inode: u64) -> Option<Holder> {
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).find_map(|pid| {
        let folder = Path::new("/proc").join(pid.to_string());
        let mut open = fs::read_dir(folder.join("fd")).ok()?.flatten();
        let has = |fd: fs::DirEntry| {
            fs::read_link(fd.path()).is_ok_and(|target| target.to_str() == Some(&wanted))
        };
        open.any(has).then(|| {
            let name = fs::read_to_string(folder.join("comm")).unwrap_or_default();
            Holder { name: name.trim().to_owned(), pid }
        })
    })
}
