//! The flags of `ringway run` as the text of a configuration file, and the way back: the place of
//! a problem as the flag it came by.

use clap::ValueEnum;
use serde_json::{Map, Value, json};

use super::Run;
use crate::config::{self, Checked, Problem, Problems};

/// Name of the one pool that flags make.
const POOL: &str = "default";

/// Where the file has what a flag says.
const PLACES: [(&str, &str); 6] = [
    ("listeners[0].bind", "--listen"),
    ("listeners[0].peek", "--peek"),
    ("pools.default.servers", "--to"),
    ("pools.default.balance", "--balance"),
    ("pools.default.sticky", "--sticky"),
    ("workers", "--workers"),
];

/// What `--sticky` takes without a name, and with one.
const STICKY: [&str; 3] = ["none", "source", "socketio"];
const STICKY_NAMED: [&str; 4] = ["cookie", "insert", "header", "query"];

pub(super) fn checked(run: &Run) -> Result<Checked, Problems> {
    let mut problems = Vec::new();
    let file = file(run, &mut problems);
    let checked = match config::parse(&file.to_string()) {
        Ok(checked) if problems.is_empty() => checked,
        Ok(_) => return Err(Problems(problems)),
        Err(Problems(found)) => {
            problems.extend(found.into_iter().map(at_flag));
            return Err(Problems(problems));
        }
    };
    let warnings = checked.warnings.into_iter().map(at_flag).collect();
    Ok(Checked { warnings, ..checked })
}

fn file(run: &Run, problems: &mut Vec<Problem>) -> Value {
    let servers = run.to.iter().enumerate();
    let servers: Vec<_> = servers.map(|(i, to)| server(to, i, problems)).collect();
    let mut pool = json!({ "servers": servers });
    if let Some(balance) = run.balance {
        pool["balance"] = word(balance);
    }
    if let Some(sticky) = &run.sticky {
        match sticky.split_once(':') {
            Some((by, name)) if STICKY_NAMED.contains(&by) => {
                pool["sticky"] = json!({ "by": by, "name": name });
            }
            None if STICKY.contains(&sticky.as_str()) => pool["sticky"] = json!(sticky),
            _ => problems.push(unknown_sticky(sticky)),
        }
    }
    let mut listener = json!({ "bind": run.listen });
    if let Some(peek) = run.peek {
        listener["peek"] = word(peek);
    }
    let mut file = json!({ "listeners": [listener], "pools": { POOL: pool } });
    if let Some(workers) = &run.workers {
        file["workers"] = match workers.strip_suffix(',').unwrap_or(workers) {
            // `2,` is core 2, `2` is two workers.
            list if list.len() < workers.len() || list.contains(',') => {
                list.split(',').map(number_or_text).collect()
            }
            one => number_or_text(one),
        };
    }
    file
}

/// `ADDR[,weight=N][,max_connections=N][,backup]`; keys that are unknown are left for the reader
/// to refuse.
fn server(to: &str, index: usize, problems: &mut Vec<Problem>) -> Value {
    let mut parts = to.split(',');
    let address = parts.next().unwrap_or_default();
    let mut server = Map::from_iter([("address".to_owned(), json!(address))]);
    for part in parts {
        let (key, value) = match part.split_once('=') {
            Some((key, value)) => (key, number_or_text(value)),
            None => (part, Value::Bool(true)),
        };
        let value = match value.as_str() {
            Some("true") => Value::Bool(true),
            Some("false") => Value::Bool(false),
            _ => value,
        };
        if server.insert(key.to_owned(), value).is_some() {
            let message = format!("{key} is given twice");
            problems.push(Problem { path: format!("--to[{index}]"), message });
        }
    }
    Value::Object(server)
}

fn unknown_sticky(written: &str) -> Problem {
    let named = STICKY_NAMED.map(|by| format!("{by}:NAME")).join(", ");
    let message = format!("must be one of {}, {named}, is {written:?}", STICKY.join(", "));
    Problem { path: "--sticky".to_owned(), message }
}

fn number_or_text(text: &str) -> Value {
    text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number))
}

fn word(value: impl ValueEnum) -> Value {
    let name = value.to_possible_value().map(|value| value.get_name().to_owned());
    json!(name)
}

/// `pools.default.servers[2].weight: …` is `--to[2]: weight: …`.
fn at_flag(problem: Problem) -> Problem {
    let found = PLACES.iter().find_map(|&(place, flag)| {
        let rest = problem.path.strip_prefix(place)?;
        (rest.is_empty() || rest.starts_with(['.', '['])).then_some((flag, rest))
    });
    let Some((flag, rest)) = found else {
        return problem;
    };
    let (index, key) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
    let message = match key.strip_prefix('.') {
        // The address is the flag itself.
        None | Some("address") => problem.message,
        Some(key) => format!("{key}: {}", problem.message),
    };
    Problem { path: format!("{flag}{index}"), message }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::{Cli, Command};
    use crate::config::{Config, ServerAddress, Sticky, Workers};

    fn run(flags: &str) -> Result<Config, String> {
        let words = ["ringway", "run"].into_iter().chain(flags.split_whitespace());
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        let Command::Run(run) = cli.command else {
            return Err("not run".to_owned());
        };
        run.checked().map(|checked| checked.config).map_err(|problems| problems.to_string())
    }

    #[test]
    fn flags_are_a_configuration() {
        let flags = "--listen 0.0.0.0:80 --listen unix:/run/x --to 10.0.0.1:80,weight=2 \
            --to app:80,max_connections=7,backup --balance least_conn --sticky cookie:sid \
            --workers 0,2";
        let config = run(&flags.replace('\\', "")).unwrap();
        assert_eq!(config.listeners[0].bind.len(), 2);
        assert_eq!(config.workers, Workers::Cores(vec![0, 2]));
        let pool = &config.pools[0];
        assert_eq!(pool.sticky, Sticky::Cookie { name: "sid".to_owned(), learn: None });
        assert_eq!((pool.servers[0].weight, pool.servers[0].backup), (2, false));
        assert!(pool.servers[1].backup);
        assert_eq!(
            pool.servers.iter().map(|s| s.max_connections).collect::<Vec<_>>(),
            [None, Some(7)]
        );
        assert!(
            matches!(&pool.servers[1].address, ServerAddress::Name { host, .. } if host == "app")
        );
    }

    #[test]
    fn a_list_of_cores_is_told_from_a_number_by_its_comma() {
        let rows = [
            ("auto", Workers::Auto),
            ("2", Workers::Count(2)),
            ("2,", Workers::Cores(vec![2])),
            ("0,1", Workers::Cores(vec![0, 1])),
        ];
        for (written, workers) in rows {
            let config = run(&format!("--listen :::80 --to a:1 --workers {written}"));
            assert!(config.is_err());
            let config = run(&format!("--listen [::]:80 --to a:1 --workers {written}"));
            assert_eq!(config.unwrap().workers, workers, "{written}");
        }
    }

    #[test]
    fn every_problem_names_its_flag() {
        let flags = "--listen 80 --to a:1,weight=0 --to b --to c:1,weigth=2 --to a:1,backup=x \
            --workers 0 --peek tls --sticky cookie:a=b";
        let problems = run(&flags.replace('\\', "")).unwrap_err();
        let places: Vec<_> =
            problems.lines().map(|line| line.split(": ").next().unwrap_or("")).collect();
        let expected = [
            "--workers",
            "--to[0]",
            "--to[2]",
            "--to[3]",
            "--sticky",
            "--to[1]",
            "--to[3]",
            "--listen[0]",
            "--peek",
        ];
        assert_eq!(places, expected, "{problems}");
        assert!(problems.contains("--to[0]: weight: must be 1 to 256, is 0"), "{problems}");
        assert!(problems.contains("did you mean \"weight\"?"), "{problems}");
    }

    #[test]
    fn what_is_missing_or_too_much_is_said() {
        let rows = [
            ("", "ringway run CONFIG.json"),
            ("--listen 127.0.0.1:1", "--to: must have at least one server"),
            ("--to a:1", "--listen: must have at least one address"),
            ("x.json --to a:1", "cannot be used with"),
            ("--listen [::]:1 --to a:1 --sticky sid", "--sticky: must be one of none, source"),
            ("--listen [::]:1 --to a:1,weight=1,weight=2", "--to[0]: weight is given twice"),
        ];
        for (flags, part) in rows {
            let problems = run(flags).unwrap_err();
            assert!(problems.contains(part), "{flags}: {problems}");
        }
    }
}
