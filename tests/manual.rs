//! Man pages and completions: whole, and understood by the programs that read them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::CommandFactory;
use ringway::cli::Cli;
use ringway::config;
use serde_json::Value;
use tempfile::TempDir;

/// What `ringway manual` writes.
fn written() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_ringway"))
        .args(["manual", folder.path().to_str().unwrap()])
        .status()
        .unwrap();
    assert!(status.success());
    folder
}

fn read(folder: &TempDir, name: &str) -> String {
    let path = folder.path().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What a program prints, which must have nothing to complain about.
#[track_caller]
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .env("MANWIDTH", "80")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program} (run tests/setup.sh, or make test): {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {complaint}");
    assert_eq!(complaint, "", "{program} {arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every command that is not hidden by the name of its page, with its long flags that are not.
fn commands() -> BTreeMap<String, Vec<String>> {
    fn add(command: &clap::Command, all: &mut BTreeMap<String, Vec<String>>) {
        let flags = command.get_arguments().filter(|flag| !flag.is_hide_set());
        let flags = flags.filter_map(|flag| flag.get_long()).map(str::to_owned).collect();
        let name = command.get_display_name().unwrap_or_else(|| command.get_name());
        all.insert(name.to_owned(), flags);
        let below = command.get_subcommands().filter(|command| !command.is_hide_set());
        below.for_each(|command| add(command, all));
    }
    let mut cli = Cli::command().disable_help_subcommand(true);
    cli.build();
    let mut all = BTreeMap::new();
    add(&cli, &mut all);
    all
}

#[test]
fn every_command_has_its_page_with_every_flag() {
    let (folder, commands) = (written(), commands());
    assert!(commands.len() >= 5, "{commands:?}");
    for (name, flags) in &commands {
        let page = read(&folder, &format!("man/man1/{name}.1"));
        for flag in flags {
            let written = format!("\\-\\-{}", flag.replace('-', "\\-"));
            assert!(page.contains(&written), "{name}: no --{flag}");
        }
    }
    let pages = fs::read_dir(folder.path().join("man/man1")).unwrap().count();
    assert_eq!(pages, commands.len(), "a page of what is hidden, or of nothing");
}

#[test]
fn every_page_can_be_read() {
    let folder = written();
    for section in ["man/man1", "man/man5"] {
        for page in fs::read_dir(folder.path().join(section)).unwrap() {
            let page = page.unwrap().path();
            let page = page.to_str().unwrap();
            let text = output("man", &["--warnings=w", "--local-file", page]);
            assert!(text.contains("SEE ALSO"), "{page}: {text}");
        }
    }
    let page = folder.path().join("man/man1/ringway-run.1");
    let text = output("man", &["--local-file", page.to_str().unwrap()]);
    // What stands in lines of its own stays there.
    assert!(text.contains("127.0.0.1:80       IPv4\n"), "{text}");
    assert!(text.contains("source       the client's address\n"), "{text}");
}

/// Every key of the schema, by its path.
fn keys(node: &Value, path: &str, definitions: &Value, found: &mut Vec<String>) {
    if let Some(name) = node["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")) {
        keys(&definitions[name], path, definitions, found);
    }
    for variants in ["anyOf", "oneOf"] {
        for variant in node[variants].as_array().into_iter().flatten() {
            keys(variant, path, definitions, found);
        }
    }
    if node["items"].is_object() {
        keys(&node["items"], &format!("{path}[]"), definitions, found);
    }
    if node["additionalProperties"].is_object() {
        keys(&node["additionalProperties"], &format!("{path}.NAME"), definitions, found);
    }
    for (name, property) in node["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        found.push(path.clone());
        keys(property, &path, definitions, found);
    }
}

#[test]
fn every_key_is_in_the_page_of_the_configuration() {
    let schema: Value = serde_json::from_str(&config::schema()).unwrap();
    let mut expected = Vec::new();
    keys(&schema, "", &schema["$defs"], &mut expected);
    expected.sort();
    expected.dedup();
    assert!(expected.len() > 50, "{expected:?}");
    let page = read(&written(), "man/man5/ringway.json.5");
    let entries = page.lines().filter_map(|line| line.strip_prefix("\\fB")?.split_once("\\fR "));
    let mut entries: Vec<_> = entries.map(|(key, _)| key.replace("\\-", "-")).collect();
    entries.retain(|key| expected.contains(key));
    entries.sort();
    // What a sticky key may say stands there for each kind of key.
    entries.dedup();
    assert_eq!(entries, expected);
}

#[test]
fn shells_complete_commands_and_flags() {
    let folder = written();
    let file = |name| folder.path().join(name).to_str().unwrap().to_owned();
    let (bash, zsh, fish) = (file("bash/ringway"), file("zsh/_ringway"), file("fish/ringway.fish"));
    // As bash-completion does: the words of the line, the one that is being written, its function.
    let script = |words: &str, at: usize| {
        format!(
            "source {bash}; COMP_WORDS=({words}); COMP_CWORD={at}; \
             _ringway ringway \"${{COMP_WORDS[$COMP_CWORD]}}\" \"${{COMP_WORDS[$COMP_CWORD-1]}}\"; \
             echo \"${{COMPREPLY[@]}}\""
        )
    };
    for (name, flags) in commands() {
        let words = name.replace('-', " ");
        let count = words.split(' ').count();
        let offered = output("bash", &["-c", &script(&format!("{words} --"), count)]);
        let offered: Vec<_> = offered.split_whitespace().collect();
        for flag in &flags {
            let flag = format!("--{flag}");
            assert!(offered.contains(&flag.as_str()), "bash, {name}: no {flag} in {offered:?}");
        }
        let asked = format!("source {fish}; complete --do-complete '{words} --'");
        let offered = output("fish", &["--no-config", "-c", &asked]);
        for flag in &flags {
            let offers = |line: &str| line.split('\t').next() == Some(&format!("--{flag}"));
            assert!(offered.lines().any(offers), "fish, {name}: no --{flag} in {offered}");
        }
    }
    let first = output("bash", &["-c", &script("ringway ''", 1)]);
    assert!(first.contains(" run ") && !first.contains("manual"), "{first}");
    output("zsh", &["-n", &zsh]);
    let zsh = read(&folder, "zsh/_ringway");
    for flag in commands().values().flatten() {
        assert!(zsh.contains(&format!("--{flag}")), "zsh: no --{flag}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_to_is_said() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let below = file.path().join("manual");
    let output = Command::new(env!("CARGO_BIN_EXE_ringway")).arg("manual").arg(&below).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with(below.to_str().unwrap()), "{said}");
    assert!(Path::new(&below).metadata().is_err());
}
