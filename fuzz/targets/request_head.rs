//! A request head, split and edited: one verdict however it is split, and an edit that is read
//! again says what it was meant to say and nothing else.

use ringway::peek::body::RequestEnd;
use ringway::peek::edit::{self, ForwardedEdit, RequestEdit};
use ringway::peek::http_head::{HeadScanner, Peeked, RequestHead};
use ringway::peek::sid;

const MAX: usize = 4096;

/// The first byte says where the rest is split.
pub(crate) fn run(data: &[u8]) {
    let Some((&step, bytes)) = data.split_first() else { return };
    let whole = HeadScanner::default().scan(bytes, MAX);
    let mut scanner = HeadScanner::default();
    let mut split = Peeked::Incomplete;
    let mut length = 0;
    while length < bytes.len() && split == Peeked::Incomplete {
        length = (length + 1 + usize::from(step) % 64).min(bytes.len());
        split = scanner.scan(&bytes[..length], MAX);
    }
    if bytes.is_empty() {
        return;
    }
    assert_eq!(split, whole, "the same however it is split");
    let Peeked::Head(head) = whole else { return };
    assert!(head.start < head.end && head.end <= bytes.len());
    assert!(bytes[..head.end].ends_with(b"\r\n\r\n"));
    let _ = (head.path(), head.cookie("a"), sid::requested(&head));
    edited(bytes, &head, false);
    edited(bytes, &head, true);

    let following = &bytes[head.end..];
    let mut end = RequestEnd::new(head.body);
    let belonging = end.feed(following);
    assert!(belonging <= following.len());
    assert_eq!(end.feed(&following[belonging..]), 0, "nothing belongs behind the end");
    let mut slow = RequestEnd::new(head.body);
    let one_by_one = following.chunks(1).map(|byte| slow.feed(byte)).sum::<usize>();
    assert_eq!((one_by_one, slow.ended()), (belonging, end.ended()));
}

fn edited(bytes: &[u8], head: &RequestHead<'_>, replace: bool) {
    let client = "203.0.113.7".parse().expect("an address");
    let forwarded = Some(ForwardedEdit { client, replace, proto: "https" });
    let mut out = Vec::new();
    edit::request(bytes, head, &RequestEdit { close: true, forwarded }, &mut out);
    assert!(out.ends_with(&bytes[head.end..]), "what is behind the head stays");
    let again = match HeadScanner::default().scan(&out, usize::MAX) {
        Peeked::Head(again) => again,
        // A field more than a head may have.
        other => return assert!(head.fields.len() >= 253, "{other:?}"),
    };
    assert_eq!((again.method, again.target), (head.method, head.target));
    assert_eq!((&again.host, again.body), (&head.host, head.body));
    assert_eq!(again.websocket, head.websocket);
    assert_eq!(out.len() - again.end, bytes.len() - head.end);
    let addresses: Vec<_> = again.headers("x-forwarded-for").collect();
    assert_eq!(addresses.len(), 1);
    assert!(addresses[0].ends_with(b"203.0.113.7"));
    if replace {
        assert_eq!(addresses[0], b"203.0.113.7");
        assert_eq!(again.headers("x-forwarded-proto").collect::<Vec<_>>(), [b"https"]);
    }
    if !head.websocket {
        assert_eq!(again.header("upgrade"), None);
        let tokens = again.headers("connection").flat_map(|value| value.split(|&b| b == b','));
        let closes = tokens.filter(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"));
        assert_eq!(closes.count(), 1, "it says close, once");
    }
}
