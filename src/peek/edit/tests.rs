use proptest::prelude::*;

use super::super::http_head::{HeadScanner, Peeked};
use super::super::response_head::{ResponsePeeked, ResponseScanner};
use super::*;

const MAX: usize = 64 * 1024;

fn head(bytes: &[u8]) -> RequestHead<'_> {
    match HeadScanner::default().scan(bytes, MAX) {
        Peeked::Head(head) => head,
        other => panic!("{other:?} of {}", bytes.escape_ascii()),
    }
}

fn edited(fields: &str, edit: &RequestEdit<'_>) -> String {
    let text = format!("\r\nGET / HTTP/1.1\r\nhost:  a \r\n{fields}\r\nrest\n\0");
    let mut out = b"before".to_vec();
    request(text.as_bytes(), &head(text.as_bytes()), edit, &mut out);
    let out = String::from_utf8(out).expect("text");
    let fields = out.strip_prefix("before\r\nGET / HTTP/1.1\r\nhost:  a \r\n").expect("the start");
    fields.strip_suffix("\r\nrest\n\0").expect("the rest").to_owned()
}

fn forwarded(replace: bool) -> Option<ForwardedEdit<'static>> {
    let client = "::ffff:10.0.0.1".parse().expect("an address");
    Some(ForwardedEdit { client, replace, proto: "https" })
}

#[test]
fn replace_takes_out_what_a_server_may_take_for_the_same_field() {
    let fields = "X_Forwarded_For: 1\r\nx-forwarded_for: 2\r\nX_FORWARDED-PROTO: 3\r\n\
        X-Forwarded-For-: 4\r\nX-Forwarded_Fo: 5\r\n";
    let edit = |replace| RequestEdit { close: false, forwarded: forwarded(replace) };
    let kept = "X-Forwarded-For-: 4\r\nX-Forwarded_Fo: 5\r\n";
    let added = "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\n";
    assert_eq!(edited(fields, &edit(true)), format!("{kept}{added}"));
    assert_eq!(edited(fields, &edit(false)), format!("{fields}{added}"));
}

#[test]
fn close_takes_the_place_of_what_keeps_a_connection() {
    let close = RequestEdit { close: true, forwarded: None };
    for (fields, expected) in [
        ("", "Connection: close\r\n"),
        ("X: 1\r\n", "X: 1\r\nConnection: close\r\n"),
        ("connection: Keep-Alive\r\nX: 1\r\n", "connection: close\r\nX: 1\r\n"),
        ("Connection: x-foo, keep-alive\r\n", "Connection: x-foo, close\r\n"),
        ("Connection: ,close ,\r\n", "Connection: close\r\n"),
        ("Connection:\r\n", "Connection: close\r\n"),
        (
            "Connection: keep-alive\r\nA: b\r\nConnection: TE, close\r\nConnection: CLOSE\r\n",
            "Connection: close\r\nA: b\r\nConnection: TE\r\n",
        ),
        ("Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n", "Connection: close\r\n"),
        (
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n",
            "Connection: HTTP2-Settings, close\r\nHTTP2-Settings: x\r\n",
        ),
        ("Upgrade: websocket\r\n", "Connection: close\r\n"),
        ("X-Forwarded-For: 1\r\n", "X-Forwarded-For: 1\r\nConnection: close\r\n"),
    ] {
        assert_eq!(edited(fields, &close), expected, "{fields}");
        let again = edited(expected, &close);
        assert_eq!(again, expected, "twice is once");
    }
    let websocket = "Upgrade: websocket\r\nConnection: keep-alive,Upgrade\r\nKeep-Alive: 1\r\n";
    assert_eq!(edited(websocket, &close), websocket);
}

#[test]
fn the_client_address_is_added_to_or_put_in_place_of_what_came() {
    const NEW: &str = "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\n";
    for (fields, appended, replaced) in [
        ("A: b\r\n", format!("A: b\r\n{NEW}"), format!("A: b\r\n{NEW}")),
        (
            "x-forwarded-for: 1.1.1.1\r\nA: b\r\nX-FORWARDED-FOR: 2.2.2.2,3.3.3.3\r\n",
            "x-forwarded-for: 1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.1\r\nA: b\r\n\
             X-Forwarded-Proto: https\r\n"
                .to_owned(),
            "x-forwarded-for: 10.0.0.1\r\nA: b\r\nX-Forwarded-Proto: https\r\n".to_owned(),
        ),
        (
            "X-Forwarded-Proto: http\r\nX-Forwarded-For:\r\n",
            "X-Forwarded-Proto: http\r\nX-Forwarded-For: 10.0.0.1\r\n".to_owned(),
            NEW.to_owned(),
        ),
        (
            "Connection: keep-alive, X-Forwarded-For\r\nConnection: x-forwarded-proto\r\n",
            format!("Connection: keep-alive\r\n{NEW}"),
            format!("Connection: keep-alive\r\n{NEW}"),
        ),
    ] {
        let edit = |replace| RequestEdit { close: false, forwarded: forwarded(replace) };
        assert_eq!(edited(fields, &edit(false)), appended, "{fields}");
        assert_eq!(edited(fields, &edit(true)), replaced, "{fields}");
    }
}

#[test]
fn a_websocket_gets_the_client_address_but_no_close() {
    let edit = RequestEdit { close: true, forwarded: forwarded(true) };
    let websocket = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    let expected = format!("{websocket}X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\n");
    assert_eq!(edited(websocket, &edit), expected);
}

#[test]
fn a_response_is_closed_and_gets_its_cookie_unless_it_is_interim() {
    let run = |text: &str, close, set_cookie| {
        let ResponsePeeked::Head(head) = ResponseScanner::default().scan(text.as_bytes(), MAX)
        else {
            panic!("{text}")
        };
        let mut out = Vec::new();
        response(text.as_bytes(), &head, &ResponseEdit { close, set_cookie }, &mut out);
        String::from_utf8(out).expect("text")
    };
    for (text, expected) in [
        (
            "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nA:b\r\n\r\n0{",
            "HTTP/1.1 200 OK\r\nConnection: close\r\nA:b\r\nSet-Cookie: s=1; Path=/\r\n\r\n0{",
        ),
        (
            "HTTP/1.0 200 OK\r\n\r\n",
            "HTTP/1.0 200 OK\r\nConnection: close\r\nSet-Cookie: s=1; Path=/\r\n\r\n",
        ),
        (
            "HTTP/1.1 426 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSet-Cookie: a\r\n\r\n",
            "HTTP/1.1 426 X\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\
             Set-Cookie: a\r\nSet-Cookie: s=1; Path=/\r\n\r\n",
        ),
        (
            "HTTP/1.1 101 X\r\nConnection: Upgrade\r\n\r\n\x01",
            "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nSet-Cookie: s=1; Path=/\r\n\r\n\x01",
        ),
        (
            "HTTP/1.1 103 X\r\nLink: a\r\n\r\nHTTP/1.1 ",
            "HTTP/1.1 103 X\r\nLink: a\r\n\r\nHTTP/1.1 ",
        ),
    ] {
        assert_eq!(run(text, true, Some("s=1; Path=/")), expected);
        assert_eq!(run(text, false, None), text);
    }
}

/// Names an edit changes, and some it does not.
fn fields() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop::sample::select(vec![
        "Connection",
        "connection",
        "KEEP-ALIVE",
        "Proxy-connection",
        "upgrade",
        "X-Forwarded-For",
        "x-forwarded-for",
        "x-forwarded-Proto",
        "X-Other",
        "Cookie",
    ]);
    let name = name.prop_map(str::to_owned);
    let value = prop_oneof![
        "(close|Keep-Alive|UPGRADE|te|x-forwarded-for)( ?, ?(CLOSE|keep-alive|upgrade|x)){0,3}",
        "WebSocket|h2c",
        "[!-~]{0,20}( [!-~]{1,9}){0,2}",
    ];
    prop::collection::vec((name, value), 0..12)
}

proptest! {
    #[test]
    fn an_edited_head_keeps_everything_else(
        fields in fields(),
        framing in prop::sample::select(vec![
            "", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n",
        ]),
        close: bool,
        replace in prop::option::of(any::<bool>()),
    ) {
        let line = |(name, value): &(String, String)| format!("{name}: {value}\r\n");
        let fields: String = fields.iter().map(line).collect();
        let text = format!("GET /a?b HTTP/1.1\r\nHost: h\r\n{framing}{fields}\r\nhello");
        let before = head(text.as_bytes());
        let edit = RequestEdit { close, forwarded: replace.and_then(forwarded) };
        let mut out = Vec::new();
        request(text.as_bytes(), &before, &edit, &mut out);
        let after = head(&out);
        let others = |head: &RequestHead<'_>| -> Vec<(String, Vec<u8>)> {
            let known = |name: &str| matches!(Known::of(name), Known::Other);
            let others = head.fields.iter().filter(|field| known(field.name));
            others.map(|field| (field.name.to_owned(), field.value.to_vec())).collect()
        };
        prop_assert_eq!(others(&before), others(&after));
        prop_assert_eq!((before.method, before.target, &before.host, before.body),
            (after.method, after.target, &after.host, after.body));
        prop_assert_eq!(before.websocket, after.websocket);
        prop_assert_eq!(&out[after.end..], b"hello");
        let tokens = |head: &RequestHead<'_>, word: &str| {
            head.headers("connection").flat_map(list).filter(|token| is_any(token, &[word])).count()
        };
        if close && !before.websocket {
            prop_assert_eq!(tokens(&after, "close"), 1);
            prop_assert_eq!(tokens(&after, "keep-alive") + tokens(&after, "upgrade"), 0);
            prop_assert!(after.header("keep-alive").or(after.header("upgrade")).is_none());
        }
        if let Some(forwarded) = edit.forwarded {
            prop_assert_eq!(after.headers("x-forwarded-for").count(), 1);
            let value = after.header("x-forwarded-for").unwrap_or_default();
            prop_assert!(value.ends_with(b"10.0.0.1"));
            prop_assert!(after.header("x-forwarded-proto").is_some());
            prop_assert!(!forwarded.replace || value == b"10.0.0.1");
        }
        if !close && edit.forwarded.is_none() {
            prop_assert_eq!(&out, text.as_bytes());
        }
        let mut twice = Vec::new();
        request(&out, &after, &RequestEdit { close, forwarded: None }, &mut twice);
        prop_assert_eq!(twice, out);
    }
}
