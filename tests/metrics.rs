//! What docs/metrics.md says of metrics is what ringway writes, and nothing is missing in either.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use ringway::config::{self, ServerAddress};
use ringway::edition::Edition;
use ringway::metrics::{LIVES_US, Moment, WAITS_US, text};
use ringway::pool::{Peers, ServerSpec};
use ringway::worker::Shared;

/// With everything that only some configurations have a number for.
const CONFIG: &str = r#"{
    "max_connections": 9,
    "listeners": [{ "name": "front", "bind": "127.0.0.1:1", "max_connections": 5 }],
    "pools": { "web": { "servers": ["10.0.0.1:80"], "max_connections_per_server": 3 } },
}"#;

/// What is said of a metric.
#[derive(Debug, PartialEq, Eq)]
struct Metric {
    kind: String,
    labels: BTreeSet<String>,
    unit: String,
}

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Rows of every table of metrics, by name.
fn written() -> BTreeMap<String, Metric> {
    let document = document();
    let rows = document.lines().filter(|line| line.starts_with("| `ringway_"));
    let metric = |row: &str| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, unit, meaning] = cells[..] else { panic!("five cells: {row}") };
        assert!(meaning.len() > 5, "{row}");
        let labels = labels.split(", ").filter(|label| *label != "–");
        let labels = labels.map(|label| label.trim_matches('`').to_owned()).collect();
        let unit = if unit == "–" { "" } else { unit };
        let metric = Metric { kind: kind.to_owned(), labels, unit: unit.to_owned() };
        (name.trim_matches('`').to_owned(), metric)
    };
    let metrics: Vec<_> = rows.map(metric).collect();
    let by_name: BTreeMap<_, _> = metrics.into_iter().collect();
    assert_eq!(by_name.len(), document.matches("\n| `ringway_").count(), "a name comes twice");
    by_name
}

fn output() -> String {
    let config = config::parse(CONFIG).expect("it is right").config;
    let server = |server: &config::Server| {
        let ServerAddress::Address(address) = &server.address else { panic!("addresses only") };
        ServerSpec::new(server, address.clone())
    };
    let servers = config.pools.iter().map(|pool| pool.servers.iter().map(server).collect());
    let servers = servers.collect();
    let edition = Edition::succeeding(None, config, servers, &mut Peers::default(), 1, 2);
    let shared = Arc::new(Shared::new(Arc::new(edition), 2));
    shared.counters[1].accept();
    text(&shared, Moment { started_ms: 1_500, draining: true, ports_max: 28_232 })
}

/// The names of a sample's labels.
fn labels(sample: &str) -> BTreeSet<String> {
    let Some((_, rest)) = sample.split_once('{') else { return BTreeSet::new() };
    let names = rest.split("=\"").filter_map(|part| part.rsplit(['{', ',']).next());
    let count = rest.matches("=\"").count();
    names.take(count).map(str::to_owned).filter(|name| name != "le").collect()
}

/// Every metric in the output, as a table would have it.
fn told(output: &str) -> BTreeMap<String, (Metric, usize)> {
    let mut metrics = BTreeMap::new();
    for block in output.split("# HELP ").skip(1) {
        let lines: Vec<_> = block.lines().collect();
        let about = |what: &str| {
            let line = lines.iter().find_map(|line| line.strip_prefix(what));
            line.and_then(|line| line.rsplit(' ').next()).unwrap_or("").to_owned()
        };
        let kind = about("# TYPE ");
        let base = lines[0].split(' ').next().expect("a name");
        let name = match &*kind {
            "counter" => format!("{base}_total"),
            "info" => format!("{base}_info"),
            _ => base.to_owned(),
        };
        let samples: Vec<_> = lines[1..].iter().filter(|line| !line.starts_with('#')).collect();
        let labels: BTreeSet<_> = samples.iter().flat_map(|sample| labels(sample)).collect();
        for sample in &samples {
            assert!(sample.starts_with(&name), "{sample} is not one of {name}");
        }
        let unit = about("# UNIT ");
        metrics.insert(name, (Metric { kind, labels, unit }, samples.len()));
    }
    metrics
}

#[test]
fn the_tables_list_every_metric_as_it_is_written_and_no_other() {
    let (output, written) = (output(), written());
    let told = told(&output);
    assert!(output.ends_with("# EOF\n"));
    for (name, (metric, samples)) in &told {
        let Some(row) = written.get(name) else { panic!("{name} is in no table") };
        assert_eq!((&row.kind, &row.unit), (&metric.kind, &metric.unit), "{name}");
        // Nothing is bound to a source here.
        assert!(*samples > 0 || name == "ringway_ports", "{name} has no sample");
        if *samples > 0 {
            assert_eq!(row.labels, metric.labels, "{name}");
        }
    }
    let unknown: Vec<_> = written.keys().filter(|name| !told.contains_key(*name)).collect();
    assert!(unknown.is_empty(), "{unknown:?} are not written");
}

#[test]
fn numbers_are_those_that_were_counted() {
    let output = output();
    for line in [
        "ringway_start_time_seconds 1.5",
        "ringway_draining 1",
        "ringway_sessions_max 9",
        "ringway_ports_max 28232",
        "ringway_worker_accepted_total{worker=\"0\"} 0",
        "ringway_worker_accepted_total{worker=\"1\"} 1",
        "ringway_worker_sessions{worker=\"1\"} 1",
        "ringway_listener_sessions_max{listener=\"front\"} 5",
        "ringway_server_sessions_max{pool=\"web\",server=\"10.0.0.1:80\"} 3",
        "ringway_server_state{pool=\"web\",server=\"10.0.0.1:80\",state=\"up\"} 1",
        "ringway_pool_connect_seconds_bucket{le=\"+Inf\",pool=\"web\"} 0",
    ] {
        assert!(output.lines().any(|told| told == line), "no {line} in {output}");
    }
}

#[test]
fn the_classes_of_histograms_are_as_written() {
    let document = document();
    for bounds_us in [&WAITS_US[..], &LIVES_US] {
        let seconds = bounds_us.iter().map(|&bound_us| (bound_us as f64 / 1e6).to_string());
        let line = seconds.collect::<Vec<_>>().join(", ");
        assert!(document.contains(&line), "docs/metrics.md does not list {line}");
    }
}
