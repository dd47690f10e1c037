//! Heads as ringway and Node read them: what ringway takes, Node must refuse or read in the same
//! way, or a request could be routed by one Host and served under another, or hide a second one.

use ringway::peek::body::RequestEnd;
use ringway::peek::edit::{self, ForwardedEdit, RequestEdit};
use ringway::peek::http_head::{Body, HeadScanner, Peeked, RequestHead};
use ringway::peek::sid::{self, Requested};
use ringway::random::Random;
use serde_json::Value;

use crate::harness::node_script;

mod heads;

const MAX: usize = 65_536;

/// Heads made from the seed; some thousands take Node a second.
const GENERATED: usize = 6_000;

/// `HEADS_SEED` tries others.
fn seed() -> u64 {
    std::env::var("HEADS_SEED").map_or(1, |seed| seed.parse().expect("a number"))
}

/// What a server of Node sees in each.
fn node(heads: &[Vec<u8>]) -> Vec<Value> {
    let files = tempfile::tempdir().unwrap();
    let input = files.path().join("heads");
    let hex =
        |bytes: &Vec<u8>| bytes.iter().fold(String::new(), |hex, b| hex + &format!("{b:02x}"));
    std::fs::write(&input, heads.iter().map(hex).collect::<Vec<_>>().join("\n")).unwrap();
    let mut process = node_script("heads.js", &[&format!("--input={}", input.display())]);
    process.succeed();
    let seen: Vec<_> =
        process.stdout().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(seen.len(), heads.len());
    seen
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().expect("hex");
    let digits = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16));
    digits.collect::<Result<_, _>>().expect("hex")
}

/// A host as routes look it up, written a second time.
fn plain(host: &str) -> String {
    let name_end = host.rfind(']').map_or(0, |close| close + 1);
    let port = host[name_end..].find(':').map_or(host.len(), |colon| name_end + colon);
    let name = host[..port].to_ascii_lowercase();
    name.strip_suffix('.').map_or(name.clone(), str::to_owned)
}

/// Node refuses the head, or sees in it what ringway has routed by. A reason why not.
fn difference(head: &RequestHead<'_>, node: &Value) -> Option<String> {
    if !node["error"].is_null() {
        return None;
    }
    let checks = [
        ("requests", node["requests"] == 1),
        ("method", node["method"] == head.method),
        ("target", bytes(&node["target"]) == head.target.as_bytes()),
        ("fields", fields_of(node) == fields(head)),
        ("host", same_host(head, node)),
        ("sid", same_sid(head, node)),
        ("body", same_body(head, node)),
        ("websocket", !head.websocket || node["tunnel"] == "upgrade"),
    ];
    checks.into_iter().find(|(_, same)| !same).map(|(what, _)| what.to_owned())
}

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn fields(head: &RequestHead<'_>) -> Fields {
    head.fields.iter().map(|field| (field.name.into(), field.value.to_vec())).collect()
}

fn fields_of(node: &Value) -> Fields {
    let words: Vec<_> = node["fields"].as_array().expect("fields").iter().map(bytes).collect();
    let trimmed = |value: &[u8]| value.trim_ascii().to_vec();
    words.chunks(2).map(|pair| (pair[0].clone(), trimmed(&pair[1]))).collect()
}

fn same_host(head: &RequestHead<'_>, node: &Value) -> bool {
    match (head.host.as_deref(), node["host"].as_str()) {
        (Some(host), Some(seen)) => plain(seen) == host,
        (None, seen) => seen.is_none_or(str::is_empty),
        // Only the target names one, which Node leaves to its application.
        (Some(_), None) => head.header("host").is_none(),
    }
}

fn same_sid(head: &RequestHead<'_>, node: &Value) -> bool {
    let seen = node["sid"].as_str().unwrap_or_default();
    match sid::requested(head) {
        Requested::Sid(sid) => String::from_utf8_lossy(&sid) == seen,
        // Engine.IO looks at the path as it stands, ringway at the same.
        Requested::Nothing => seen.is_empty() || !head.target.starts_with("/socket.io/"),
        Requested::Several => true,
    }
}

fn same_body(head: &RequestHead<'_>, node: &Value) -> bool {
    let body = &node["body"];
    match head.body {
        // Node leaves HTTP behind this head. Where ringway counts bytes, it has taken the upgrade
        // out of the head, unless it is a WebSocket's, which has no body.
        _ if node["tunnel"] == "upgrade" => true,
        Body::None | Body::Length(0) => body == "none",
        Body::Length(length @ 1..=64) => *body == length,
        Body::Length(_) => body == "long",
        Body::Chunked => body == "chunked",
    }
}

/// With `forwarded: replace` and `one_request`, for a client at 203.0.113.7.
fn edited(bytes: &[u8], head: &RequestHead<'_>) -> Vec<u8> {
    let client = "203.0.113.7".parse().expect("an address");
    let forwarded = Some(ForwardedEdit { client, replace: true, proto: "https" });
    let mut out = Vec::new();
    edit::request(&bytes[..head.end], head, &RequestEdit { close: true, forwarded }, &mut out);
    out
}

/// Node sees ringway's word and no client's.
fn forged(head: &RequestHead<'_>, node: &Value) -> Option<String> {
    if !node["error"].is_null() {
        return None;
    }
    let names: Vec<_> = fields_of(node).into_iter().map(|(name, _)| name).collect();
    let named = |word: &str| {
        let names = names.iter().map(|name| String::from_utf8_lossy(name).replace('_', "-"));
        names.filter(|name| name.eq_ignore_ascii_case(word)).count()
    };
    let checks = [
        ("one request", node["requests"] == 1),
        ("its target", bytes(&node["target"]) == head.target.as_bytes()),
        ("its host", same_host(head, node)),
        ("its body", same_body(head, node)),
        ("the client's address", node["forwarded_for"] == "203.0.113.7"),
        ("its protocol", node["forwarded_proto"] == "https"),
        ("one address", named("x-forwarded-for") == 1 && named("x-forwarded-proto") == 1),
        ("a tunnel only where one is", node["tunnel"].is_null() || tunnels(head)),
    ];
    checks.into_iter().find(|(_, holds)| !holds).map(|(what, _)| format!("not {what}"))
}

fn tunnels(head: &RequestHead<'_>) -> bool {
    head.websocket || head.method == "CONNECT"
}

/// Reads each in both ways. Returns how many ringway takes.
fn compare(heads: &[Vec<u8>]) -> usize {
    let read = |head| HeadScanner::default().scan(head, MAX);
    let taken: Vec<_> = heads
        .iter()
        .filter_map(|bytes| match read(bytes) {
            Peeked::Head(head) => Some((bytes, head)),
            _ => None,
        })
        .collect();
    let foreign = heads.iter().filter(|head| matches!(read(head), Peeked::Foreign(_)));
    let foreign: Vec<_> = foreign.cloned().collect();
    let alone: Vec<_> = taken.iter().map(|(bytes, head)| bytes[..head.end].to_vec()).collect();
    let edits: Vec<_> = taken.iter().map(|(bytes, head)| edited(bytes, head)).collect();
    let seen = node(&[alone.clone(), edits.clone(), foreign.clone()].concat());
    let (seen, rest) = seen.split_at(taken.len());
    let (seen_edits, seen_foreign) = rest.split_at(taken.len());
    let mut wrong = Vec::new();
    for (at, (_, head)) in taken.iter().enumerate() {
        if let Some(what) = difference(head, &seen[at]) {
            wrong.push((what, &alone[at], &seen[at]));
        }
        if let Some(what) = forged(head, &seen_edits[at]) {
            wrong.push((what, &edits[at], &seen_edits[at]));
        }
    }
    // What ringway passes unread must not be a request to Node either.
    for (bytes, seen) in foreign.iter().zip(seen_foreign).filter(|(_, s)| s["error"].is_null()) {
        wrong.push(("passes unread".to_owned(), bytes, seen));
    }
    let lines = wrong
        .iter()
        .take(20)
        .map(|(what, bytes, seen)| format!("{what}: {}\n  Node: {seen}", bytes.escape_ascii()));
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), lines.collect::<Vec<_>>().join("\n"));
    taken.len()
}

#[test]
fn node_reads_the_heads_of_the_corpus_as_ringway_does() {
    let corpus = heads::corpus();
    let taken = compare(&corpus);
    assert!(taken >= 25 && taken < corpus.len() / 2, "{taken} of {} are taken", corpus.len());
}

#[test]
fn node_reads_generated_heads_as_ringway_does() {
    let mut random = Random::new(seed());
    let generated: Vec<_> = (0..GENERATED).map(|_| heads::generated(&mut random)).collect();
    let taken = compare(&generated);
    assert!(taken >= GENERATED / 8, "only {taken} of {GENERATED} are taken");
    assert!(taken <= GENERATED / 2, "{taken} of {GENERATED} are taken");
}

#[test]
fn node_finds_the_end_of_a_chunked_request_where_ringway_does() {
    let mut random = Random::new(seed());
    let head = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let hidden = b"GET /hidden HTTP/1.1\r\nHost: b\r\n\r\n";
    let mut forwarded = Vec::new();
    let mut ends = Vec::new();
    for _ in 0..GENERATED / 2 {
        let body = [heads::chunks(&mut random), hidden.to_vec()].concat();
        let mut end = RequestEnd::new(Body::Chunked);
        let belonging = end.feed(&body);
        forwarded.push([head, &body[..belonging]].concat());
        ends.push(end.ended());
    }
    let whole = ends.iter().filter(|ended| **ended).count();
    assert!(whole >= 100 && whole < forwarded.len(), "{whole} bodies are whole");
    for ((bytes, ended), seen) in forwarded.iter().zip(ends).zip(node(&forwarded)) {
        let told = format!("{}\n  ended: {ended}, Node: {seen}", bytes.escape_ascii());
        assert!(seen["requests"].is_null() || seen["requests"] == 1, "a second request: {told}");
        // Where Node is done and ringway is not, ringway would pass on a second request.
        let is_done = seen["error"].is_null() && seen["complete"] == true;
        assert!(!is_done || ended, "an earlier end: {told}");
    }
}
