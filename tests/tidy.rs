//! The rules about the source itself.

use std::fs;
use std::path::{Path, PathBuf};

/// Must be a pure function of what it is given: no system call, no socket, no clock.
const PURE: [&str; 6] =
    ["src/session", "src/peek", "src/pool", "src/config", "src/timer.rs", "src/slots.rs"];
const IMPURE_WORDS: [&str; 7] =
    ["libc::", "use libc", "TcpStream", "TcpListener", "UdpSocket", "Instant::now", "SystemTime"];

/// The only place for it.
const UNSAFE: &str = "src/sys";

const LINE_MAX_CHARS: usize = 100;
/// Lines that are neither blank nor comment; beyond it a file has two subjects.
const FILE_MAX_LINES: usize = 600;

/// What nobody else will ever finish.
const LEFTOVERS: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("dbg", "!("),
    concat!("to", "do!("),
];

/// Directories that are not ours.
const FOREIGN: [&str; 4] = ["target", ".git", "node_modules", "__pycache__"];

struct Source {
    /// From the root of the repository.
    path: String,
    text: String,
}

impl Source {
    /// Numbered lines, without what stands behind `//`.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().map(|line| line.split("//").next().unwrap_or(line));
        (1..).zip(lines)
    }

    fn is_in(&self, place: &str) -> bool {
        self.path == place || self.path.starts_with(&format!("{place}/"))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of ours whose name ends so.
fn sources(endings: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut directories = vec![root().to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of ours") {
            let path: PathBuf = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name in UTF-8");
            if path.is_dir() {
                if !FOREIGN.contains(&name) {
                    directories.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let text = fs::read_to_string(&path).expect("text in UTF-8");
                let path = path.strip_prefix(root()).expect("below the root");
                found.push(Source { path: path.display().to_string(), text });
            }
        }
    }
    assert!(!found.is_empty(), "nothing ends with {endings:?}");
    found
}

fn rust() -> Vec<Source> {
    sources(&[".rs"])
}

#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn pure_modules_name_no_system_call_socket_or_clock() {
    let mut found = Vec::new();
    for source in rust().iter().filter(|s| PURE.iter().any(|place| s.is_in(place))) {
        for (number, line) in source.code() {
            if IMPURE_WORDS.iter().any(|word| line.contains(word)) {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    none("time, randomness and bytes come in as arguments", &found);
}

#[test]
fn unsafe_code_stands_only_behind_the_fence() {
    let mut found = Vec::new();
    for source in rust().iter().filter(|source| source.is_in("src") && !source.is_in(UNSAFE)) {
        for (number, line) in source.code() {
            let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            if words.into_iter().any(|word| word == "unsafe" || word == "unsafe_code") {
                let allows_the_fence = source.path == "src/lib.rs";
                if !allows_the_fence {
                    found.push(format!("{}:{number}: {}", source.path, line.trim()));
                }
            }
        }
    }
    none(&format!("unsafe belongs in {UNSAFE}"), &found);
}

#[test]
fn lines_and_files_stay_short() {
    let mut found = Vec::new();
    for source in rust() {
        for (number, line) in (1..).zip(source.text.lines()) {
            if line.chars().count() > LINE_MAX_CHARS {
                found.push(format!("{}:{number}: longer than {LINE_MAX_CHARS}", source.path));
            }
        }
        let lines = source.code().filter(|(_, line)| !line.trim().is_empty()).count();
        if lines > FILE_MAX_LINES {
            found.push(format!("{}: {lines} lines of code", source.path));
        }
    }
    none("too long", &found);
}

#[test]
fn nothing_is_left_over() {
    let mut found = Vec::new();
    for source in sources(&[".rs", ".js", ".py", ".sh", ".md", "Makefile", "run"]) {
        for (number, line) in (1..).zip(source.text.lines()) {
            if LEFTOVERS.iter().any(|word| line.contains(word)) {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    none("left over", &found);
}

#[test]
fn docs_and_comments_name_only_files_that_exist() {
    let mut found = Vec::new();
    for source in sources(&[".rs", ".md", ".sh", "Makefile"]) {
        for (number, line) in (1..).zip(source.text.lines()) {
            let is_comment = source.path.ends_with(".md") || line.trim_start().starts_with("//");
            let is_path = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
            for word in line.split(|c| !is_path(c)).filter(|_| is_comment) {
                let named = word.trim_end_matches(['.', '-']);
                let ours = ["src/", "tests/", "configs/", "benches/", ".ci/"];
                if ours.iter().any(|place| named.starts_with(place)) && !root().join(named).exists()
                {
                    found.push(format!("{}:{number}: {named}", source.path));
                }
            }
        }
    }
    none("named but not there", &found);
}
