//! What the documents say is what the program does: commands, configurations, tables and links.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command as Process;

use clap::{CommandFactory, Parser};
use ringway::cli::{Cli, Command};
use ringway::config::{self, Config, ServerAddress};
use ringway::peek::http_head::{HeadScanner, Peeked};
use ringway::pool::{How, Pool, ServerSpec, Tried};
use ringway::session::CloseReason;
use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const DOCUMENTS: [&str; 4] = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"];

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Fenced blocks in order: the word behind the fence, and what is within.
fn blocks(document: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut parts = document.split("\n```");
    parts.next();
    while let (Some(block), Some(_)) = (parts.next(), parts.next()) {
        let (tag, text) = block.split_once('\n').expect("a fence has a line of its own");
        blocks.push((tag.to_owned(), text.to_owned()));
    }
    blocks
}

/// What stands behind `$ ` in console blocks, each command in one line.
fn commands(document: &str) -> Vec<String> {
    let consoles = blocks(document).into_iter().filter(|(tag, _)| tag == "console");
    let joined: Vec<_> = consoles.map(|(_, text)| text.replace("\\\n", " ")).collect();
    let lines = joined.iter().flat_map(|text| text.lines());
    lines.filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect()
}

/// Rows of the table whose head begins with this cell, without head and rule.
fn table(document: &str, first_cell: &str) -> Vec<Vec<String>> {
    let head = format!("| {first_cell} |");
    let lines = document.lines().skip_while(|line| !line.starts_with(&head));
    let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
    let cells = |row: &str| -> Vec<String> {
        let row = row.trim_matches('|').replace("\\|", "\0");
        row.split('|').map(|cell| cell.trim().replace('\0', "|")).collect()
    };
    let rows: Vec<_> = rows.map(cells).collect();
    assert!(!rows.is_empty(), "no table begins with {head}");
    rows
}

fn code(cell: &str) -> &str {
    cell.trim_matches('`')
}

#[test]
fn every_configuration_is_right_and_needs_no_warning() {
    let blocks = blocks(&read("README.md"));
    let files: Vec<_> = blocks.iter().filter(|(tag, _)| tag == "json").collect();
    assert!(files.len() >= 6);
    for (_, text) in files {
        let checked = config::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(checked.warnings, [], "{text}");
    }
}

#[test]
fn every_command_is_understood() {
    let mut runs = 0;
    for line in commands(&read("README.md")).iter().filter(|line| line.starts_with("ringway ")) {
        let cli = Cli::try_parse_from(line.split_whitespace());
        let cli = cli.unwrap_or_else(|error| panic!("{line}: {error}"));
        if let Command::Run(run) = cli.command {
            let checked = run.checked().unwrap_or_else(|problems| panic!("{line}: {problems}"));
            // An inserted cookie needs its secret from a file.
            let expected = usize::from(line.contains("insert:"));
            assert_eq!(checked.warnings.len(), expected, "{line}: {:?}", checked.warnings);
            runs += 1;
        }
    }
    assert!(runs >= 5, "{runs} commands were run");
    for row in table(&read("README.md"), "Command") {
        let line = code(&row[0]);
        let cli = Cli::try_parse_from(line.split_whitespace());
        cli.unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn every_flag_of_run_is_in_its_table() {
    let rows = table(&read("README.md"), "Flag of `run`");
    let written = rows.iter().filter_map(|row| code(&row[0]).split(' ').next().map(str::to_owned));
    let cli = Cli::command();
    let run = cli.find_subcommand("run").expect("there is `run`");
    let flags = run.get_arguments().chain(cli.get_arguments()).filter_map(|flag| flag.get_long());
    let flags: BTreeSet<_> = flags.filter(|flag| !["help", "version"].contains(flag)).collect();
    let flags = flags.into_iter().map(|flag| format!("--{flag}"));
    assert_eq!(written.collect::<BTreeSet<_>>(), flags.collect());
}

#[test]
fn every_make_target_that_is_named_is_there() {
    let makefile = read("Makefile");
    for document in DOCUMENTS {
        for line in commands(&read(document)) {
            let Some(target) = line.strip_prefix("make ") else { continue };
            let target = target.split_whitespace().next().expect("a target");
            let there = makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
            assert!(there, "{document}: make {target}");
        }
    }
}

/// What a key of the configuration is by the schema.
#[derive(Debug, Default, PartialEq)]
struct Key {
    /// JSON, `required`, or `–` for none.
    defaults: BTreeSet<String>,
    /// `1 to 256`.
    range: Option<String>,
}

/// Every key below `node`, by its path: `listeners[].bind`, `pools.NAME.servers`.
fn walk(node: &Value, path: &str, definitions: &Value, keys: &mut BTreeMap<String, Key>) {
    if let Some(name) = node["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")) {
        walk(&definitions[name], path, definitions, keys);
    }
    for variants in ["anyOf", "oneOf"] {
        for variant in node[variants].as_array().into_iter().flatten() {
            walk(variant, path, definitions, keys);
        }
    }
    walk_if(&node["items"], &format!("{path}[]"), definitions, keys);
    walk_if(&node["additionalProperties"], &format!("{path}.NAME"), definitions, keys);
    let required = node["required"].as_array();
    for (name, property) in node["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let is_required = required.is_some_and(|all| all.iter().any(|one| one == name));
        let default = match property.get("default") {
            Some(default) => default.to_string(),
            None if is_required => "required".to_owned(),
            None => "–".to_owned(),
        };
        let key = keys.entry(path.clone()).or_default();
        key.defaults.insert(default);
        if let (Some(least), Some(most)) = (property.get("minimum"), property.get("maximum")) {
            key.range = Some(format!("{least} to {most}"));
        }
        walk(property, &path, definitions, keys);
    }
}

fn walk_if(node: &Value, path: &str, definitions: &Value, keys: &mut BTreeMap<String, Key>) {
    if node.is_object() {
        walk(node, path, definitions, keys);
    }
}

/// One spelling for JSON however it is spaced; other words as they are.
fn plain(default: &str) -> String {
    let json = serde_json::from_str::<Value>(code(default));
    json.map_or_else(|_| code(default).to_owned(), |value| value.to_string())
}

#[test]
fn the_table_of_keys_is_the_schema() {
    let schema: Value = serde_json::from_str(&config::schema()).unwrap();
    let mut expected = BTreeMap::new();
    walk(&schema, "", &schema["$defs"], &mut expected);
    let rows = table(&read("README.md"), "Key");
    let mut written = BTreeMap::new();
    for row in &rows {
        let [key, defaults, values, _] = &row[..] else { panic!("{row:?} has four cells") };
        // A default that is an object has commas of its own.
        let defaults: Vec<_> = match defaults.contains('{') {
            true => vec![defaults.as_str()],
            false => defaults.split(", ").collect(),
        };
        let defaults = defaults.into_iter().map(plain).collect();
        let range = expected.get(code(key)).and_then(|key| key.range.clone());
        let range = range.filter(|range| range == values);
        written.insert(code(key).to_owned(), Key { defaults, range });
    }
    assert_eq!(rows.len(), written.len(), "a key stands there twice");
    for (key, expected) in &expected {
        assert_eq!(written.get(key), Some(expected), "{key}");
    }
    let unknown: Vec<_> = written.keys().filter(|key| !expected.contains_key(*key)).collect();
    assert_eq!(unknown, Vec::<&String>::new());
}

#[test]
fn the_table_of_close_reasons_is_whole_and_in_order() {
    let rows = table(&read("README.md"), "Reason");
    let written: Vec<_> = rows.iter().map(|row| code(&row[0])).collect();
    assert_eq!(written, CloseReason::ALL.map(CloseReason::as_str));
}

#[test]
fn the_fields_of_a_log_line_are_those_of_the_example() {
    let readme = read("README.md");
    let example = readme.lines().find(|line| line.contains("INFO session")).expect("an example");
    let example = example.split_whitespace().filter_map(|word| word.split_once('='));
    let example: BTreeSet<_> = example.map(|(field, _)| field).collect();
    let rows = table(&readme, "Field");
    let written: BTreeSet<_> = rows.iter().flat_map(|row| row[0].split(", ")).map(code).collect();
    assert_eq!(written, example);
    let source = read("src/log.rs");
    for field in written {
        assert!(source.contains(field), "src/log.rs writes no {field}");
    }
}

/// The anchor a heading gets: lower case, spaces to hyphens, punctuation left out.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|&c| c.is_alphanumeric() || " -_".contains(c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_link_leads_somewhere() {
    for document in DOCUMENTS {
        let text = read(document);
        let headings = text.lines().filter(|line| line.starts_with('#'));
        let anchors: BTreeSet<_> =
            headings.map(|line| anchor(line.trim_start_matches('#').trim_start())).collect();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            match link.strip_prefix('#') {
                Some(to) => assert!(anchors.contains(to), "{document}: #{to} of {anchors:?}"),
                None if link.starts_with("https://") => {}
                None => assert!(Path::new(ROOT).join(link).exists(), "{document}: {link}"),
            }
        }
    }
}

#[test]
fn every_file_that_is_named_is_there() {
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = read(document);
        for name in text.split('`').skip(1).step_by(2) {
            let is_path = ["src/", "tests/", "benches/", "configs/"].iter().any(|folder| {
                name.starts_with(folder) && !name.contains(|c: char| c == '*' || c.is_whitespace())
            });
            assert!(!is_path || Path::new(ROOT).join(name).exists(), "{document}: {name}");
        }
    }
}

/// The first pool of a configuration, without looking anything up.
fn pool(config: &Config) -> Pool {
    let spec = &config.pools[0];
    let servers = spec.servers.iter().map(|server| {
        let ServerAddress::Address(address) = &server.address else { panic!("no addresses") };
        let (id, weight, backup) = (server.id.clone(), server.weight, server.backup);
        let max_connections = server.max_connections;
        ServerSpec { address: address.clone(), id, weight, backup, max_connections }
    });
    Pool::new(spec, servers.collect())
}

/// What the server of the snippet makes as a sid; its packages are those of the tests.
fn sid_of(snippet: &str, id: &str) -> String {
    let script = format!("{snippet}\nconsole.log(io.engine.generateId());\nprocess.exit(0);");
    let output = Process::new("node")
        .args(["-e", &script])
        .current_dir(Path::new(ROOT).join("tests/node"))
        .env("SERVER_ID", id)
        .env("PORT", "0")
        .output()
        .expect("node is installed: run tests/setup.sh, or make test");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{snippet}\n{error}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn sids_made_as_shown_lead_to_their_server() {
    let blocks = blocks(&read("README.md"));
    let pairs = blocks.windows(2).filter(|pair| pair[0].0 == "js" && pair[1].0 == "json");
    let pairs: Vec<_> = pairs.map(|pair| (&pair[0].1, &pair[1].1)).collect();
    assert_eq!(pairs.len(), 2, "by id, and by token");
    for (snippet, file) in pairs {
        let pool = pool(&config::parse(file).unwrap().config);
        for id in ["s1", "s2"] {
            let sid = sid_of(snippet, id);
            let request = format!("GET /socket.io/?EIO=4&sid={sid} HTTP/1.1\r\nHost: a\r\n\r\n");
            let Peeked::Head(head) = HeadScanner::default().scan(request.as_bytes(), 1024) else {
                panic!("{request} is a whole head");
            };
            let key = pool.key(Some(&head), None);
            let pick = pool.pick(&key, None, &Tried::default(), 0, 0).unwrap();
            let server = &pool.servers()[usize::from(pick.server.0)];
            assert_eq!((&*server.id, pick.how), (id, How::Kept), "{sid}");
        }
    }
}
