//! What /proc says about memory, and about the limits a machine has.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;

/// Bytes of a page, which slabinfo and tcp_mem count in.
const PAGE: u64 = 4096;

/// A file of /proc that cannot be read, or does not say what it should.
#[derive(Debug)]
pub(crate) struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

/// A moment's memory.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) available_kib: u64,
    /// Kernel objects.
    pub(crate) slab_kib: u64,
    /// Bytes by slab cache; empty where /proc/slabinfo needs root.
    pub(crate) caches: BTreeMap<String, u64>,
    /// Pages of TCP buffers.
    pub(crate) tcp_pages: u64,
    /// TCP sockets.
    pub(crate) tcp_sockets: u64,
    /// Connections turned away by full backlogs, to be tried again a second later.
    pub(crate) overflows: u64,
    /// Private memory of ringway.
    pub(crate) ringway_kib: u64,
    /// Private memory of this program.
    pub(crate) tool_kib: u64,
}

impl Memory {
    pub(crate) fn now(ringway: u32) -> Result<Self, Unreadable> {
        let sockstat = read("/proc/net/sockstat")?;
        let tcp = sockstat.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
        Ok(Self {
            available_kib: available_kib()?,
            slab_kib: kib(&read("/proc/meminfo")?, "Slab:")?,
            caches: fs::read_to_string("/proc/slabinfo").map(|t| caches(&t)).unwrap_or_default(),
            tcp_pages: word_after(tcp, "mem").unwrap_or(0),
            tcp_sockets: word_after(tcp, "alloc").unwrap_or(0),
            overflows: overflows(&read("/proc/net/netstat")?),
            ringway_kib: private_kib(&ringway.to_string())?,
            tool_kib: private_kib("self")?,
        })
    }
}

/// A line of names, then a line of numbers.
fn overflows(netstat: &str) -> u64 {
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, numbers) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut pairs = names.split(' ').zip(numbers.split(' '));
    let found = pairs.find(|(name, _)| *name == "ListenOverflows");
    found.and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
}

/// Memory that programs could have without swapping.
pub(crate) fn available_kib() -> Result<u64, Unreadable> {
    kib(&read("/proc/meminfo")?, "MemAvailable:")
}

/// Open files of all processes.
pub(crate) fn files() -> Result<u64, Unreadable> {
    Ok(numbers("/proc/sys/fs/file-nr")?.first().copied().unwrap_or(0))
}

fn private_kib(process: &str) -> Result<u64, Unreadable> {
    let text = read(&format!("/proc/{process}/smaps_rollup"))?;
    Ok(kib(&text, "Private_Clean:")? + kib(&text, "Private_Dirty:")?)
}

/// Name, active_objs, num_objs, objsize, objperslab, pagesperslab, …, num_slabs, sharedavail
/// (slabinfo(5)).
fn caches(slabinfo: &str) -> BTreeMap<String, u64> {
    let bytes = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let pages: u64 = words.get(5)?.parse().ok()?;
        let slabs: u64 = words.get(14)?.parse().ok()?;
        Some((words[0].to_owned(), pages * slabs * PAGE))
    };
    slabinfo.lines().filter_map(bytes).collect()
}

const FILE_MAX: &str = "/proc/sys/fs/file-max";

/// The machine's fs.file-max, raised until this is dropped.
pub(crate) struct FileMax(u64);

impl FileMax {
    /// To `wanted`, unless it is higher already.
    pub(crate) fn raise(wanted: u64) -> Result<Self, Unreadable> {
        let before = numbers(FILE_MAX)?.first().copied().unwrap_or(0);
        if wanted > before {
            let unwritable = |why| Unreadable(format!("{FILE_MAX} cannot be raised: {why}"));
            fs::write(FILE_MAX, wanted.to_string()).map_err(unwritable)?;
        }
        Ok(Self(before))
    }
}

impl Drop for FileMax {
    fn drop(&mut self) {
        if let Err(why) = fs::write(FILE_MAX, self.0.to_string()) {
            eprintln!("fs.file-max was {} and cannot be put back: {why}", self.0);
        }
    }
}

/// What bounds the number of sessions besides memory.
#[derive(Debug)]
pub(crate) struct Limits {
    /// tcp_mem: pages above which buffers are refused.
    pub(crate) tcp_pages: u64,
    /// Open files of all processes, for all but root.
    pub(crate) files: u64,
    /// Ports of one source address to one destination.
    pub(crate) ports: u64,
    /// A line about the kernel and the processor.
    pub(crate) machine: String,
}

impl Limits {
    pub(crate) fn now() -> Result<Self, Unreadable> {
        let ports = numbers("/proc/sys/net/ipv4/ip_local_port_range")?;
        let &[first, last] = &ports[..] else {
            return Err(Unreadable("ip_local_port_range: not two numbers".to_owned()));
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let memory_gib = kib(&read("/proc/meminfo")?, "MemTotal:")? as f64 / f64::from(1 << 20);
        let kernel = read("/proc/sys/kernel/osrelease")?;
        let kernel = kernel.trim();
        Ok(Self {
            tcp_pages: numbers("/proc/sys/net/ipv4/tcp_mem")?.last().copied().unwrap_or(0),
            files: numbers(FILE_MAX)?.first().copied().unwrap_or(0),
            ports: last + 1 - first,
            machine: format!("Linux {kernel}, {cores} cores, {memory_gib:.1} GiB"),
        })
    }
}

fn numbers(path: &str) -> Result<Vec<u64>, Unreadable> {
    Ok(read(path)?.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect())
}

fn read(path: &str) -> Result<String, Unreadable> {
    fs::read_to_string(path).map_err(|why: io::Error| Unreadable(format!("{path}: {why}")))
}

fn kib(text: &str, name: &str) -> Result<u64, Unreadable> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.split_ascii_whitespace().next()?.parse().ok())
        .ok_or_else(|| Unreadable(format!("no {name}")))
}

fn word_after(line: &str, name: &str) -> Option<u64> {
    let mut words = line.split_ascii_whitespace();
    words.find(|word| *word == name)?;
    words.next()?.parse().ok()
}
