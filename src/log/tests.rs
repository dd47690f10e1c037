//! Lines byte by byte, also where a peer has chosen what is in them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::*;
use crate::config::{self, LogFormat, PoolIndex};
use crate::pool::{Duty, How, KeyKind, Peers, ServerIndex, ServerSpec};
use crate::session::Place;

const CONFIG: &str = r#"{
    "listeners": [{ "name": "web", "bind": "127.0.0.1:1" }],
    "pools": { "chat": { "servers": ["127.0.0.1:8881"] } },
}"#;

fn edition() -> Arc<Edition> {
    let config = config::parse(CONFIG).unwrap().config;
    let server = ServerSpec {
        address: "127.0.0.1:8881".parse().unwrap(),
        id: "s1".to_owned(),
        weight: 1,
        backup: false,
        max_connections: None,
        duty: Duty::Ready,
    };
    let servers = vec![vec![server]];
    Arc::new(Edition::succeeding(None, config, servers, &mut Peers::default(), 1, 4))
}

fn about(host: Option<&str>, is_placed: bool) -> About {
    let pool = PoolIndex(0);
    let place = Place { pool, server: ServerIndex(0), how: How::Kept, connected: true };
    About {
        listener: 0,
        client: Some("192.0.2.7:60228".parse().unwrap()),
        client_tls: true,
        host: host.map(Into::into),
        pool: is_placed.then_some(pool),
        place: is_placed.then_some(place),
        key: KeyKind::Sid,
        key_hash: 0,
        in_flight: false,
        learned: None,
        accepted_us: 1_000,
        peek_us: 107,
        connect_us: 50,
        retries: 1,
        received: [214, 146],
    }
}

const ID: SlotId = SlotId { index: 17, generation: 3 };

fn ended(about: About, reason: CloseReason) -> Entry {
    Entry::Ended(Record { id: ID, about, reason, duration_us: 11_500 })
}

fn batch(entry: Entry) -> Batch {
    Batch { worker: 2, edition: edition(), entries: vec![entry] }
}

/// One entry, in one form, at 2026-01-02T03:04:05.678901Z.
fn written(batch: &Batch, write: impl FnOnce(&Line<'_>, SystemTime, &mut Vec<u8>)) -> String {
    let time = UNIX_EPOCH + Duration::from_micros(1_767_323_045_678_901);
    let mut into = Vec::new();
    write(&Line::of(&batch.entries[0], batch), time, &mut into);
    String::from_utf8(into).unwrap()
}

fn text(entry: Entry) -> String {
    written(&batch(entry), |line, time, into| line.write(LogFormat::Text, time, into))
}

fn json(entry: Entry) -> String {
    written(&batch(entry), |line, time, into| line.write(LogFormat::Json, time, into))
}

#[test]
fn an_end_in_both_formats() {
    let entry = || ended(about(Some("chat.example.com"), true), CloseReason::ClientClosed);
    let expected = "2026-01-02T03:04:05.678901Z  INFO session id=2-17-3 client=192.0.2.7:60228 \
        tls=true listener=web pool=chat server=127.0.0.1:8881 host=chat.example.com key=sid \
        how=kept retries=1 bytes_up=214 bytes_down=146 duration_ms=11 peek_us=107 connect_us=50 \
        reason=client_closed";
    assert_eq!(text(entry()), expected);
    let expected = [
        r#"{"timestamp":"2026-01-02T03:04:05.678901Z","level":"INFO","message":"session""#,
        r#""id":"2-17-3","client":"192.0.2.7:60228","tls":true,"listener":"web","pool":"chat""#,
        r#""server":"127.0.0.1:8881","host":"chat.example.com","key":"sid","how":"kept""#,
        r#""retries":1,"bytes_up":214,"bytes_down":146,"duration_ms":11,"peek_us":107"#,
        r#""connect_us":50,"reason":"client_closed"}"#,
    ]
    .join(",");
    assert_eq!(json(entry()), expected);
}

#[test]
fn what_does_not_apply_is_a_dash_or_null() {
    let entry = || {
        let about = About { client: None, ..about(None, false) };
        ended(about, CloseReason::HeadMalformed)
    };
    let line = text(entry());
    for part in [" client=unix ", " pool=- ", " server=- ", " host=- ", " how=- "] {
        assert!(line.contains(part), "{part} in {line}");
    }
    let line: Value = serde_json::from_str(&json(entry())).unwrap();
    assert_eq!(line["client"], "unix");
    for field in ["pool", "server", "host", "how"] {
        assert_eq!(line.get(field), Some(&Value::Null), "{field}");
    }
}

#[test]
fn a_start_says_where_it_went_and_nothing_of_an_end() {
    let entry = Entry::Began(Began { id: ID, about: about(None, true), at_us: 2_000 });
    let expected = "2026-01-02T03:04:05.678901Z  INFO session_start id=2-17-3 \
        client=192.0.2.7:60228 tls=true listener=web pool=chat server=127.0.0.1:8881 host=- \
        key=sid how=kept retries=1 peek_us=107 connect_us=50";
    assert_eq!(text(entry), expected);
}

#[test]
fn no_host_name_ends_a_field_a_line_or_a_string() {
    let hosts = [
        "a b=c",
        "x\" reason=\"forged",
        "back\\slash",
        "two\nlines\r\n",
        "nul\0tab\tdel\u{7f}",
        "\u{2028}\u{202e}ünïcode💥",
        "</script>{}[],:",
    ];
    for host in hosts {
        let entry = || ended(about(Some(host), true), CloseReason::ClientClosed);
        let line = text(entry());
        assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
        let fields: Vec<_> = line.split_whitespace().skip(3).collect();
        assert_eq!(fields.len(), 16, "{line:?}");
        assert!(fields[6].starts_with("host=") && fields[7] == "key=sid", "{line:?}");
        let line = json(entry());
        assert!(!line.contains('\n'), "{line:?}");
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&line["host"], &line["reason"]), (&json!(host), &json!("client_closed")));
        let message = pushed("\"journald\"", entry());
        let fields: Vec<_> = message.lines().map(|line| line.split_once('=').unwrap()).collect();
        assert_eq!(fields.len(), 4 + 16, "{message:?}");
        let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        assert!(fields.iter().all(|(name, _)| is_name(name)), "{message:?}");
    }
}

/// A chunk of one entry, for an edition that logs to this.
fn pushed(to: &str, entry: Entry) -> String {
    let text = CONFIG.replacen('{', &format!("{{\"access_log\": {{\"to\": {to}}},"), 1);
    let config = config::parse(&text).unwrap().config;
    let to = config.access_log.unwrap().to;
    let (mut chunk, clock) = (Chunk::default(), Clock::new());
    chunk.push(&batch(entry), &to, clock);
    assert_eq!(chunk.ends, [chunk.bytes.len()]);
    String::from_utf8(chunk.bytes).unwrap()
}

#[test]
fn daemons_get_what_they_read() {
    let entry = || ended(about(None, true), CloseReason::ClientClosed);
    let (process, fields) = (std::process::id(), "id=2-17-3 client=192.0.2.7:60228 tls=true ");
    // local0 is 16, informational is 6 (RFC 5424 section 6.2.1).
    let message = pushed("\"syslog\"", entry());
    let expected = format!("<134>ringway[{process}]: session {fields}");
    assert!(message.starts_with(&expected), "{message}");
    let options = "\"syslog\", \"syslog_format\": \"rfc5424\", \"syslog_facility\": \"local7\"";
    let message = pushed(options, entry());
    let words: Vec<_> = message.splitn(8, ' ').collect();
    let process = process.to_string();
    assert_eq!((words[0], words[2].contains(' ')), ("<190>1", false), "{message}");
    assert!(words[1].ends_with('Z') && words[1].len() == "2026-01-02T03:04:05.678901Z".len());
    assert_eq!(words[3..7], ["ringway", &process, "session", "-"], "{message}");
    assert!(words[7].starts_with(&format!("session {fields}")), "{message}");
    let message = pushed("\"journald\"", entry());
    let start = format!("MESSAGE=session {fields}");
    assert!(message.starts_with(&start), "{message}");
    let rest =
        "\nPRIORITY=6\nSYSLOG_IDENTIFIER=ringway\nRINGWAY_EVENT=session\nRINGWAY_ID=2-17-3\n";
    assert!(message.contains(rest), "{message}");
    assert!(message.ends_with("\nRINGWAY_REASON=client_closed\n"), "{message}");
}

#[test]
fn one_in_so_many_sessions_is_sampled() {
    let id = |worker, index, generation| SessionId { worker, slot: SlotId { index, generation } };
    for one_in in [1, 2, 10, 1000] {
        // As a worker makes them: places are taken again, generations go on.
        let ids = (0..4).flat_map(|w| (0..25_000_u16).map(move |g| id(w, u32::from(g % 40), g)));
        let sampled = ids.filter(|&id| is_sampled(id, one_in)).count();
        let expected = 100_000 / one_in as usize;
        let off = sampled.abs_diff(expected);
        // Five standard deviations of a fair draw.
        assert!(off * off <= 25 * expected, "{sampled} of {expected}");
    }
}
