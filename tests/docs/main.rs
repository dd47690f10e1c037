//! What the documents say is what the program does: commands, configurations, tables and links.

mod reference;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command as Process;

use clap::{CommandFactory, Parser};
use ringway::cli::{Cli, Command};
use ringway::config::{self, Config, ServerAddress};
use ringway::peek::http_head::{HeadScanner, Peeked};
use ringway::pool::{How, Pool, ServerSpec, Tried};
use ringway::session::CloseReason;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Every page, by its path from the root of the repository.
fn documents() -> Vec<String> {
    let top = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"];
    let pages = fs::read_dir(Path::new(ROOT).join("docs")).expect("docs/ is there");
    let pages = pages.map(|page| page.expect("an entry").file_name().into_string().unwrap());
    let pages = pages.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}"));
    let mut all: Vec<_> = top.into_iter().map(str::to_owned).chain(pages).collect();
    all.sort();
    all
}

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
    let mut files = 0;
    for document in documents() {
        for (tag, text) in blocks(&read(&document)) {
            // Other JSON is what ringway answers.
            if tag != "json" || !text.contains("\"listeners\": [") {
                continue;
            }
            let checked = config::parse(&text);
            let checked = checked.unwrap_or_else(|error| panic!("{document}: {error}\n{text}"));
            assert_eq!(checked.warnings, [], "{document}: {text}");
            files += 1;
        }
    }
    assert!(files >= 10, "{files} configurations were checked");
}

/// The words of a command as a shell makes them, up to where another command begins.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote) = (None::<String>, None);
    for c in line.chars() {
        match quote {
            Some(end) if c == end => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    let ends = ["|", "||", "&&", "&", ">", ">>", "<", "#"];
    words.into_iter().take_while(|word| !ends.contains(&word.as_str())).collect()
}

#[test]
fn every_command_is_understood() {
    let mut runs = 0;
    for document in documents() {
        for line in commands(&read(&document)) {
            let line = line.strip_prefix("sudo ").unwrap_or(&line);
            if !line.starts_with("ringway ") {
                continue;
            }
            let cli = Cli::try_parse_from(words(line));
            let cli = cli.unwrap_or_else(|error| panic!("{document}: {line}: {error}"));
            let Command::Run(run) = cli.command else { continue };
            if run.config.is_some() {
                continue;
            }
            let checked = run.checked().unwrap_or_else(|problems| panic!("{line}: {problems}"));
            // An inserted cookie needs its secret from a file.
            let expected = usize::from(line.contains("insert:"));
            assert_eq!(checked.warnings.len(), expected, "{line}: {:?}", checked.warnings);
            runs += 1;
        }
    }
    assert!(runs >= 5, "{runs} commands were run");
    for row in table(&read("docs/command-line.md"), "Command") {
        let cli = Cli::try_parse_from(words(code(&row[0])));
        cli.unwrap_or_else(|error| panic!("{}: {error}", row[0]));
    }
}

#[test]
fn what_check_says_of_mistakes_is_what_is_shown() {
    let page = read("docs/configuration.md");
    let (_, shown) = blocks(&page).into_iter().find(|(_, text)| text.contains("wrokers")).unwrap();
    let wrong = r#"{
        "wrokers": 2,
        "listeners": [{ "bind": "0.0.0.0:80" }],
        "pools": {
            "chat": { "servers": ["10.0.0.1:80", { "address": "10.0.0.2:80", "weight": 0 }] }
        }
    }"#;
    let problems = config::parse(wrong).unwrap_err();
    let said = format!("$ ringway check ringway.json\n{problems}\n{} problems", problems.0.len());
    assert_eq!(said, shown.trim_end());
}

#[test]
fn every_flag_of_run_is_in_its_table() {
    let rows = table(&read("docs/command-line.md"), "Flag of `run`");
    let written = rows.iter().filter_map(|row| code(&row[0]).split(' ').next().map(str::to_owned));
    let cli = Cli::command();
    let run = cli.find_subcommand("run").expect("there is `run`");
    let flags = run.get_arguments().chain(cli.get_arguments()).filter_map(|flag| flag.get_long());
    let flags: BTreeSet<_> = flags.filter(|flag| !["help", "version"].contains(flag)).collect();
    let flags = flags.into_iter().map(|flag| format!("--{flag}"));
    assert_eq!(written.collect::<BTreeSet<_>>(), flags.collect());
}

/// What stands between backticks in the text itself, each in one line.
fn spans(document: &str) -> Vec<String> {
    let text: String = document.split("\n```").step_by(2).collect::<Vec<_>>().join("\n");
    let spans = text.split('`').skip(1).step_by(2);
    spans.map(|span| span.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn every_command_in_the_text_is_understood() {
    let mut whole = 0;
    for document in documents() {
        for span in spans(&read(&document)).iter().filter(|span| span.starts_with("ringway ")) {
            let result = Cli::try_parse_from(words(span));
            whole += usize::from(result.is_ok());
            // The text may name a command without what it is about.
            let is_short = |why: &clap::Error| {
                use clap::error::ErrorKind as Kind;
                let short = [
                    Kind::MissingRequiredArgument,
                    Kind::MissingSubcommand,
                    Kind::DisplayHelpOnMissingArgumentOrSubcommand,
                ];
                short.contains(&why.kind())
            };
            assert!(result.as_ref().err().is_none_or(is_short), "{document}: {span}: {result:?}");
        }
    }
    assert!(whole >= 30, "{whole} commands were understood");
}

#[test]
fn every_command_and_flag_of_ctl_and_top_is_in_its_page() {
    let page = read("docs/ctl.md");
    let cli = Cli::command();
    let ctl = cli.find_subcommand("ctl").expect("there is `ctl`");
    let rows = table(&page, "Command of `ctl`");
    let lines = rows.iter().map(|row| code(&row[0]));
    for line in lines.clone() {
        let parsed = Cli::try_parse_from(["ringway", "ctl"].into_iter().chain(line.split(' ')));
        parsed.unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    let written: Vec<_> = lines.filter_map(|line| line.split(' ').next()).collect();
    let known: Vec<_> = ctl.get_subcommands().map(clap::Command::get_name).collect();
    assert_eq!(written, known);
    let top = cli.find_subcommand("top").expect("there is `top`");
    for command in ctl.get_subcommands().chain([ctl, top]) {
        for flag in command.get_arguments().filter_map(|flag| flag.get_long()) {
            let name = command.get_name();
            assert!(flag == "help" || page.contains(&format!("--{flag}")), "{name} --{flag}");
        }
    }
}

#[test]
fn exit_codes_of_ctl_are_those_of_its_help() {
    let cli = Cli::command();
    let help = cli.find_subcommand("ctl").and_then(|ctl| ctl.get_after_help()).unwrap();
    let help = help.to_string();
    for row in table(&read("docs/ctl.md"), "Exit code of `ctl`") {
        let line = format!("  {}  {}", row[0], row[1].replace('`', ""));
        assert!(help.contains(&line), "{line:?}");
    }
}

#[test]
fn every_make_target_that_is_named_is_there() {
    let makefile = read("Makefile");
    let figures = read("benches/field/figures/mod.rs");
    for document in documents() {
        let text = read(&document);
        for line in commands(&text).into_iter().chain(spans(&text)) {
            let Some(rest) = line.strip_prefix("make ") else { continue };
            let target = rest.split_whitespace().next().expect("a target");
            let there = makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
            assert!(there, "{document}: make {target}");
            let Some((_, only)) = rest.split_once("--only ") else { continue };
            for figure in only.split([' ', '\'']).next().expect("figures").split(',') {
                assert!(figures.contains(&format!("(\"{figure}\", ")), "{document}: {figure}");
            }
        }
    }
}

#[test]
fn the_table_of_close_reasons_is_whole_and_in_order() {
    let rows = table(&read("docs/logs.md"), "Reason");
    let written: Vec<_> = rows.iter().map(|row| code(&row[0])).collect();
    assert_eq!(written, CloseReason::ALL.map(CloseReason::as_str));
}

#[test]
fn the_reasons_that_are_errors_are_listed() {
    let readme = read("docs/logs.md");
    let (_, rest) = readme.split_once("Logged whatever `sample_one_in` says:").expect("a list");
    let (list, _) = rest.split_once('.').expect("its end");
    let list = list.replace('\n', " ");
    let written: Vec<_> = list.split(", ").map(|word| code(word.trim())).collect();
    let errors = CloseReason::ALL.into_iter().filter(|reason| reason.is_error());
    assert_eq!(written, errors.map(CloseReason::as_str).collect::<Vec<_>>());
}

#[test]
fn the_fields_of_a_log_line_are_those_of_the_example() {
    let readme = read("docs/logs.md");
    let example = readme.lines().find(|line| line.contains("INFO session")).expect("an example");
    let example = example.split_whitespace().filter_map(|word| word.split_once('='));
    let example: BTreeSet<_> = example.map(|(field, _)| field).collect();
    let rows = table(&readme, "Field");
    let written: BTreeSet<_> = rows.iter().flat_map(|row| row[0].split(", ")).map(code).collect();
    assert_eq!(written, example);
    let source = read("src/log/line.rs");
    for field in written {
        assert!(source.contains(field), "src/log/line.rs writes no {field}");
    }
}

/// The anchor a heading gets: lower case, spaces to hyphens, punctuation left out.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|&c| c.is_alphanumeric() || " -_".contains(c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// The anchors of a page; a heading that stands there again gets a number.
fn anchors(text: &str) -> BTreeSet<String> {
    let fences: Vec<_> = text.split("\n```").step_by(2).collect();
    let headings = fences.iter().flat_map(|text| text.lines()).filter(|line| line.starts_with('#'));
    let mut anchors = BTreeSet::new();
    for heading in headings {
        let anchor = anchor(heading.trim_start_matches('#').trim_start());
        assert!(anchors.insert(anchor), "a heading stands there twice: {heading}");
    }
    anchors
}

#[test]
fn every_link_leads_somewhere() {
    for document in documents() {
        let text = read(&document);
        let folder = Path::new(&document).parent().expect("below the root");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("https://") || link.starts_with("http://") {
                continue;
            }
            let (page, anchor) = link.split_once('#').unwrap_or((link, ""));
            let page = match page {
                "" => Path::new(ROOT).join(&document),
                page => Path::new(ROOT).join(folder).join(page),
            };
            assert!(page.exists(), "{document}: {link}");
            if !anchor.is_empty() {
                let anchors = anchors(&fs::read_to_string(page).unwrap());
                assert!(anchors.contains(anchor), "{document}: {link} is none of {anchors:?}");
            }
        }
    }
}

#[test]
fn every_page_is_led_to_from_the_readme() {
    let readme = read("README.md");
    for document in documents().iter().filter(|document| document.starts_with("docs/")) {
        assert!(readme.contains(&format!("]({document}")), "README.md has no link to {document}");
    }
}

#[test]
fn every_file_that_is_named_is_there() {
    for document in documents().iter().filter(|document| *document != "CHANGELOG.md") {
        let text = read(document);
        for name in text.split('`').skip(1).step_by(2) {
            let folders = ["src/", "tests/", "benches/", "configs/", "docs/"];
            let is_path = folders.iter().any(|folder| {
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
        ServerSpec::new(server, address.clone())
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
    let blocks = blocks(&read("docs/stickiness.md"));
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
