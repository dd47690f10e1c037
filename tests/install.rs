//! What `make install` puts where, and the files that are installed beside the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use clap::CommandFactory;
use ringway::cli::Cli;
use ringway::config;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const PROGRAM: &str = env!("CARGO_BIN_EXE_ringway");

/// Runs make with the program under test in the place of the one it would build.
#[track_caller]
fn make(target: &str, root: &Path, more: &[&str]) {
    let output = Command::new("make")
        .args(["--no-print-directory", "-C", ROOT, "-o", PROGRAM, target])
        .arg(format!("PROGRAM={PROGRAM}"))
        .arg(format!("MANUAL={}/manual", root.display()))
        .arg(format!("DESTDIR={}/root", root.display()))
        .args(more)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "make {target} {more:?}: {said}");
}

/// Every file below a folder, by its path there.
fn files(folder: &Path) -> BTreeSet<String> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let path = path.strip_prefix(folder).unwrap();
                found.insert(format!("/{}", path.display()));
            }
        }
    }
    found
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn everything_is_installed_under_its_prefix_and_taken_away_again() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("root");
    make("install", scratch.path(), &["PREFIX=/opt/lb", "SYSCONFDIR=/opt/lb/etc"]);
    let share = "/opt/lb/share";
    let mut expected: BTreeSet<String> = [
        "/opt/lb/bin/ringway",
        "/opt/lb/etc/logrotate.d/ringway",
        "/opt/lb/etc/ringway/ringway.json",
        "/opt/lb/lib/systemd/system/ringway.service",
        "/opt/lb/lib/systemd/system/ringway.socket",
        "/opt/lb/lib/sysusers.d/ringway.conf",
        "/opt/lb/share/bash-completion/completions/ringway",
        "/opt/lb/share/fish/vendor_completions.d/ringway.fish",
        "/opt/lb/share/man/man1/ringway.1",
        "/opt/lb/share/man/man5/ringway.json.5",
        "/opt/lb/share/zsh/site-functions/_ringway",
        "/opt/lb/share/doc/ringway/examples/sysctl.conf",
    ]
    .map(str::to_owned)
    .into();
    for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        expected.insert(format!("{share}/man/man1/ringway-{}.1", command.get_name()));
    }
    for document in ["README.md", "CHANGELOG.md", "LICENSE"] {
        expected.insert(format!("{share}/doc/ringway/{document}"));
    }
    for page in fs::read_dir(Path::new(ROOT).join("docs")).unwrap() {
        let name = page.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            expected.insert(format!("{share}/doc/ringway/docs/{name}"));
        }
    }
    for example in fs::read_dir(Path::new(ROOT).join("configs")).unwrap() {
        let name = example.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".json") || name.ends_with(".yml") {
            expected.insert(format!("{share}/doc/ringway/examples/{name}"));
        }
    }
    let installed = files(&root);
    let missing: Vec<_> = expected.difference(&installed).collect();
    assert_eq!(missing, Vec::<&String>::new());
    // Commands below commands have pages too.
    let more: Vec<_> = installed.difference(&expected).collect();
    assert!(more.iter().all(|path| path.contains("/man1/ringway-")), "{more:?}");

    let version = Command::new(root.join("opt/lb/bin/ringway")).arg("--version").output().unwrap();
    assert!(version.status.success());
    let unit = read(root.join("opt/lb/lib/systemd/system/ringway.service"));
    let run = "\nExecStart=/opt/lb/bin/ringway run /opt/lb/etc/ringway/ringway.json\n";
    assert!(unit.contains(run), "{unit}");
    assert!(!unit.contains("/usr/bin/ringway") && !unit.contains(" /etc/ringway"), "{unit}");

    // A configuration of one's own survives both.
    let own = root.join("opt/lb/etc/ringway/ringway.json");
    fs::write(&own, "{}").unwrap();
    make("install", scratch.path(), &["PREFIX=/opt/lb", "SYSCONFDIR=/opt/lb/etc"]);
    make("uninstall", scratch.path(), &["PREFIX=/opt/lb", "SYSCONFDIR=/opt/lb/etc"]);
    assert_eq!(files(&root), BTreeSet::from(["/opt/lb/etc/ringway/ringway.json".to_owned()]));
    fs::remove_file(own).unwrap();
    make("install", scratch.path(), &["PREFIX=/opt/lb", "SYSCONFDIR=/opt/lb/etc"]);
    make("uninstall", scratch.path(), &["PREFIX=/opt/lb", "SYSCONFDIR=/opt/lb/etc"]);
    assert_eq!(files(&root), BTreeSet::new());
    assert!(!root.join("opt/lb/etc/ringway").exists(), "the folder goes with what was in it");
}

#[test]
fn the_units_are_what_systemd_understands_and_confine_the_service() {
    let scratch = tempfile::tempdir().unwrap();
    let units: Vec<_> = ["ringway.service", "ringway.socket"]
        .iter()
        .map(|name| {
            let text = read(Path::new(ROOT).join("packaging").join(name));
            let path = scratch.path().join(name);
            // The program must be there to be started.
            fs::write(&path, text.replace("/usr/bin/ringway", PROGRAM)).unwrap();
            path
        })
        .collect();
    let systemd = |arguments: &[&str], units: &[std::path::PathBuf]| {
        let mut command = Command::new("systemd-analyze");
        let output = command.args(arguments).args(units).output().expect("systemd is installed");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (is_right, said) = systemd(&["verify", "--man=no"], &units);
    assert!(is_right && said.is_empty(), "{said}");
    // Exposure of 2.0 of 10 at most (systemd-analyze(1)); what is left, a balancer needs.
    let (is_safe, said) =
        systemd(&["security", "--no-pager", "--offline=true", "--threshold=20"], &units[..1]);
    assert!(is_safe, "{said}");
}

#[test]
fn the_configuration_that_is_installed_is_right_and_in_nobodys_way() {
    let text = read(Path::new(ROOT).join("packaging/ringway.json"));
    let checked = config::parse(&text).unwrap();
    assert_eq!(checked.warnings, []);
    for listener in &checked.config.listeners {
        for bind in &listener.bind {
            assert!(bind.to_string().starts_with("unix:/run/ringway/"), "{bind}");
        }
    }
}

#[test]
fn the_package_has_the_version_of_the_program() {
    let changelog = read(Path::new(ROOT).join("packaging/debian/changelog"));
    let expected = concat!("ringway (", env!("CARGO_PKG_VERSION"), "-1) ");
    assert!(changelog.starts_with(expected), "{changelog}");
}

#[test]
fn every_setting_of_the_sample_is_one_of_this_kernel_and_has_its_reason() {
    let text = read(Path::new(ROOT).join("packaging/ringway.sysctl"));
    let mut settings = 0;
    for part in text.split("\n\n") {
        let (reasons, set): (Vec<_>, Vec<_>) = part.lines().partition(|line| line.starts_with('#'));
        assert!(!reasons.is_empty() && set.len() <= 1, "{part}");
        let Some(line) = set.first() else { continue };
        let (name, value) = line.split_once(" = ").unwrap_or_else(|| panic!("{line}"));
        let words = value.split(' ').all(|word| word.parse::<u32>().is_ok());
        assert!(words, "{line}");
        // What a kernel may lack is marked so (sysctl.d(5)).
        let path = format!("/proc/sys/{}", name.trim_start_matches('-').replace('.', "/"));
        assert!(name.starts_with('-') || Path::new(&path).exists(), "{line}: no {path}");
        settings += 1;
    }
    assert!(settings >= 5);
}
