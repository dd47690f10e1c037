//! What the documents tell people to run, run as it stands there: in a network of its own, since it
//! names ports and addresses of its own.

use std::fs;
use std::path::Path;

use crate::harness::{Process, Ringway, alone, eventually, program};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What a test cannot give: sockets of a service manager, folders, cores of some number.
const NOT_HERE: [&str; 4] = ["systemd:", "unix:/", "/var/log/", "\"workers\": ["];

/// The README and every page, by name.
fn pages() -> Vec<(String, String)> {
    let pages = fs::read_dir(Path::new(ROOT).join("docs")).expect("docs/ is there");
    let pages = pages.map(|page| page.expect("an entry").path());
    let pages = pages.chain([Path::new(ROOT).join("README.md")]);
    let pages = pages.filter(|page| page.extension().is_some_and(|kind| kind == "md"));
    let read = |page: std::path::PathBuf| {
        (page.display().to_string(), fs::read_to_string(&page).expect("a page"))
    };
    pages.map(read).collect()
}

/// What is within every fence with this word behind it.
fn blocks(page: &str, tag: &str) -> Vec<String> {
    let fenced = page.split("\n```").skip(1).step_by(2);
    let parts = fenced.filter_map(|block| block.split_once('\n'));
    parts.filter(|(word, _)| *word == tag).map(|(_, text)| format!("{text}\n")).collect()
}

#[test]
fn every_configuration_runs() {
    alone(&[], || {
        let mut runs = 0;
        for (page, text) in pages() {
            for file in blocks(&text, "json") {
                let is_file = file.contains("\"listeners\": [");
                if !is_file || NOT_HERE.iter().any(|word| file.contains(word)) {
                    continue;
                }
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("ringway.json");
                fs::write(&path, &file).unwrap();
                eprintln!("{page}:\n{file}");
                drop(Ringway::run(&path).start());
                runs += 1;
            }
        }
        assert!(runs >= 20, "{runs} files were run");
    });
}

#[test]
fn every_run_with_flags_runs() {
    alone(&[], || {
        let mut runs = 0;
        for (page, text) in pages() {
            for console in blocks(&text, "console") {
                let console = console.replace("\\\n", " ");
                let lines = console.lines().filter_map(|line| line.strip_prefix("$ ringway run "));
                for line in lines.filter(|line| line.contains("--to ")) {
                    eprintln!("{page}: {line}");
                    let arguments: Vec<_> = line.split_whitespace().collect();
                    drop(Ringway::with_flags(&arguments).start());
                    runs += 1;
                }
            }
        }
        assert!(runs >= 5, "{runs} commands were run");
    });
}

/// The first command that asks the demo, and what the page shows as the answer.
#[test]
fn the_demo_answers_what_the_readme_shows() {
    alone(&[], || {
        let _demo = Process::start("ringway demo", &program(), &["demo"]);
        let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
        let asked = blocks(&readme, "console").into_iter();
        let asked = asked.filter_map(|block| Some(block.strip_prefix("$ curl ")?.to_owned()));
        let (url, shown) = asked
            .filter_map(|block| {
                let (url, shown) = block.split_once('\n')?;
                Some((url.to_owned(), shown.to_owned()))
            })
            .next()
            .expect("a command");
        eventually("the demo listens", || std::net::TcpStream::connect(("127.0.0.1", 8080)).ok());
        // Four take turns, and the look above may have been one.
        let mut said = Vec::new();
        for _ in 0..4 {
            let mut curl = Process::start("curl", "curl", &["--silent", "--noproxy", "*", &url]);
            curl.succeed();
            said.push(curl.stdout().join("\n"));
        }
        assert!(said.iter().any(|said| said.trim() == shown.trim()), "{shown:?} in {said:?}");
        said.sort();
        assert_eq!(said, ["demo-1", "demo-2", "demo-3", "demo-4"]);
    });
}
