//! What the control group of this process allows: processor time, memory, threads (cgroups(7)).
//!
//! A limit holds for everything below it, so the least on the way up is what counts. Reads files,
//! changes nothing.

use std::path::{Path, PathBuf};

/// Limits of a control group and of those above it; `None`: there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Processor time.
    pub cpu: Option<Quota>,
    /// Bytes of memory, the kernel's for its sockets among them.
    pub memory_max: Option<u64>,
    /// Bytes of them that are not in use.
    pub memory_free: Option<u64>,
    /// Threads.
    pub pids_max: Option<u64>,
}

/// Microseconds of processor time in each period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Used up, everything stops until the next period.
    pub quota_us: u64,
    /// Of real time.
    pub period_us: u64,
}

impl Quota {
    /// Cores that it keeps busy, a part of one as a whole one.
    pub fn cores(self) -> usize {
        usize::try_from(self.quota_us.div_ceil(self.period_us.max(1))).unwrap_or(usize::MAX).max(1)
    }
}

impl std::fmt::Display for Quota {
    /// In cores: `1.5`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1}", self.quota_us as f64 / self.period_us.max(1) as f64)
    }
}

/// Those of this process.
pub fn limits() -> Limits {
    let membership = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    limits_of(Path::new("/sys/fs/cgroup"), &membership)
}

/// Lines of /proc/PID/cgroup: `0::/path` in version 2, `4:cpu,cpuacct:/path` in version 1.
fn limits_of(root: &Path, membership: &str) -> Limits {
    let mut limits = Limits::default();
    for line in membership.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        for folder in upwards(&root.join(controllers), path) {
            limits.tighten(&folder);
        }
    }
    limits
}

/// The group's folder and each above it. Seen from within a container, the path may be one that is
/// not there; its root is.
fn upwards(root: &Path, path: &str) -> Vec<PathBuf> {
    let path = Path::new(path.trim_start_matches('/'));
    path.ancestors().map(|above| root.join(above)).collect()
}

impl Limits {
    fn tighten(&mut self, folder: &Path) {
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
        let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
        let version_2 = || {
            let text = read("cpu.max")?;
            let (quota, period) = text.trim().split_once(' ')?;
            Some((quota.parse().ok()?, period.parse().ok()?))
        };
        let version_1 = || Some((number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?));
        if let Some((quota_us, period_us)) = version_2().or_else(version_1) {
            let quota = Quota { quota_us, period_us };
            let is_less = |known: Quota| {
                u128::from(quota_us) * u128::from(known.period_us)
                    < u128::from(known.quota_us) * u128::from(period_us)
            };
            if self.cpu.is_none_or(is_less) {
                self.cpu = Some(quota);
            }
        }
        let (max, used) = match number("memory.max") {
            Some(max) => (Some(max), number("memory.current")),
            None => (number("memory.limit_in_bytes"), number("memory.usage_in_bytes")),
        };
        // Version 1 says "no limit" with a number beyond any memory.
        if let Some(max) = max.filter(|&max| max < 1 << 60) {
            let free = max.saturating_sub(used.unwrap_or(0));
            self.memory_max = Some(self.memory_max.map_or(max, |known| known.min(max)));
            self.memory_free = Some(self.memory_free.map_or(free, |known| known.min(free)));
        }
        if let Some(max) = number("pids.max") {
            self.pids_max = Some(self.pids_max.map_or(max, |known| known.min(max)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn the_least_on_the_way_up_counts() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[
                ("a/cpu.max", "150000 100000\n"),
                ("a/b/cpu.max", "max 100000\n"),
                ("a/memory.max", "4000\n"),
                ("a/memory.current", "1500\n"),
                ("a/b/memory.max", "max\n"),
                ("a/b/pids.max", "100\n"),
                ("a/pids.max", "50\n"),
                ("other/cpu.max", "1000 100000\n"),
            ],
        );
        let limits = limits_of(root.path(), "0::/a/b\n");
        let cpu = Some(Quota { quota_us: 150_000, period_us: 100_000 });
        let expected =
            Limits { cpu, memory_max: Some(4000), memory_free: Some(2500), pids_max: Some(50) };
        assert_eq!(limits, expected);
        assert_eq!(limits_of(root.path(), "0::/nowhere/at/all\n"), Limits::default());
        assert_eq!(limits_of(root.path(), "nonsense\n\n0:\n"), Limits::default());
    }

    #[test]
    fn version_1_has_a_folder_for_each_controller() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[
                ("cpu,cpuacct/c/cpu.cfs_quota_us", "-1\n"),
                ("cpu,cpuacct/c/cpu.cfs_period_us", "100000\n"),
                ("cpu,cpuacct/cpu.cfs_quota_us", "50000\n"),
                ("cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
                ("memory/c/memory.limit_in_bytes", "9223372036854771712\n"),
            ],
        );
        let limits = limits_of(root.path(), "4:cpu,cpuacct:/c\n2:memory:/c\n");
        let cpu = Some(Quota { quota_us: 50_000, period_us: 100_000 });
        assert_eq!(limits, Limits { cpu, ..Limits::default() });
    }

    #[test]
    fn a_part_of_a_core_is_one() {
        for (quota_us, cores) in [(1, 1), (100_000, 1), (100_001, 2), (350_000, 4), (0, 1)] {
            assert_eq!(Quota { quota_us, period_us: 100_000 }.cores(), cores, "{quota_us}");
        }
    }
}
