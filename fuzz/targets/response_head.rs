//! A response head, split and edited, and the sid in what follows it.

use ringway::peek::edit::{self, ResponseEdit};
use ringway::peek::response_head::{ResponsePeeked, ResponseScanner};
use ringway::peek::sid::{self, SidSearch};

const MAX: usize = 4096;

/// The first byte says where the rest is split.
pub(crate) fn run(data: &[u8]) {
    let Some((&step, bytes)) = data.split_first() else { return };
    let whole = ResponseScanner::default().scan(bytes, MAX);
    let mut scanner = ResponseScanner::default();
    let mut split = ResponsePeeked::Incomplete;
    let mut length = 0;
    while length < bytes.len() && split == ResponsePeeked::Incomplete {
        length = (length + 1 + usize::from(step) % 64).min(bytes.len());
        split = scanner.scan(&bytes[..length], MAX);
    }
    if bytes.is_empty() {
        return;
    }
    assert_eq!(split, whole, "the same however it is split");
    find(bytes);
    let ResponsePeeked::Head(head) = whole else { return };
    let body = &bytes[head.end..];
    find(body);
    let _ = head.set_cookie("a");
    let mut out = Vec::new();
    let change = ResponseEdit { close: true, set_cookie: Some("srv=token; Path=/") };
    edit::response(bytes, &head, &change, &mut out);
    assert!(out.ends_with(body), "what is behind the head stays");
    let again = match ResponseScanner::default().scan(&out, usize::MAX) {
        ResponsePeeked::Head(again) => again,
        // A field more than a head may have.
        other => return assert!(head.fields.len() >= 254, "{other:?}"),
    };
    assert_eq!((again.status, out.len() - again.end), (head.status, body.len()));
    if head.interim() {
        assert_eq!(out, bytes, "an interim head passes as it is");
        return;
    }
    let added = again.headers("set-cookie").filter(|value| *value == b"srv=token; Path=/").count();
    let before = head.headers("set-cookie").filter(|value| *value == b"srv=token; Path=/").count();
    assert_eq!(added, before + 1);
}

/// A sid that is found stays found, and what is absent stays absent, when more comes.
fn find(body: &[u8]) {
    let last = sid::find(body);
    for length in 0..body.len().min(200) {
        match sid::find(&body[..length]) {
            SidSearch::NotYet => {}
            decided => return assert_eq!(decided, last, "at {length}"),
        }
    }
}
