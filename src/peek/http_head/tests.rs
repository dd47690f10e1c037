use proptest::prelude::*;

use super::super::splits::{every_split, one_at_a_time};
use super::*;

const MAX: usize = 32 * 1024;

fn fed<'b>(bytes: &'b [u8], lengths: &[usize], max: usize) -> Peeked<'b> {
    let mut scanner = HeadScanner::default();
    lengths
        .iter()
        .map(|&length| scanner.scan(&bytes[..length], max))
        .find(|peeked| *peeked != Peeked::Incomplete)
        .unwrap_or(Peeked::Incomplete)
}

fn scan(bytes: &[u8]) -> Peeked<'_> {
    let whole = fed(bytes, &[bytes.len()], MAX);
    one_at_a_time(bytes, |lengths| fed(bytes, lengths, MAX), &whole);
    whole
}

fn head(bytes: &[u8]) -> RequestHead<'_> {
    match scan(bytes) {
        Peeked::Head(head) => head,
        other => panic!("{other:?} of {:?}", String::from_utf8_lossy(bytes)),
    }
}

fn is_malformed(bytes: &[u8]) -> bool {
    matches!(scan(bytes), Peeked::Refused(Refusal::Malformed(_)))
}

const UPGRADE: &[u8] = b"\r\nGET /socket.io/?EIO=4&transport=websocket&sid=a_B-1 HTTP/1.1\r\n\
    Host: Chat.Example.com.:8080\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
    Cookie: a=1; io=\"x y\"\r\nX-Empty:\r\n\r\n\x81\x85abcd";

#[test]
fn a_head_is_read_with_its_target_fields_and_following_bytes() {
    let head = head(UPGRADE);
    assert_eq!((head.method, head.minor_version, head.start), ("GET", 1, 2));
    assert_eq!(head.path(), "/socket.io/");
    assert_eq!(head.query("sid"), Some("a_B-1"));
    assert_eq!(head.query("id"), None);
    assert_eq!(head.host.as_deref(), Some("chat.example.com"));
    assert_eq!(head.cookie("io"), Some(&b"x y"[..]));
    assert_eq!(head.header("x-empty"), Some(&b""[..]));
    assert!(head.websocket);
    assert_eq!(head.body, Body::None);
    assert_eq!(&UPGRADE[head.end..], b"\x81\x85abcd");
}

#[test]
fn every_split_of_a_head_gives_the_same_answer() {
    for bytes in [
        UPGRADE,
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\n\r\n",
        b"GET http://B.ex/x?y HTTP/1.1\r\nHost: b.ex\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/3\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"*1\r\n$4\r\nPING\r\n",
        b"\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a",
    ] {
        every_split(bytes, |lengths| fed(bytes, lengths, MAX));
        every_split(bytes, |lengths| fed(bytes, lengths, 20));
    }
}

#[test]
fn what_can_never_become_http_is_decided_at_its_first_byte_that_tells() {
    for (bytes, decided, foreign) in [
        (&b"\x16\x03\x01"[..], 1, Foreign::Tls),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 16, Foreign::Http2),
        (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", 1, Foreign::Other),
        (b"\x10\x1aMQTT", 1, Foreign::Other),
        (b" GET / HTTP/1.1\r\n", 1, Foreign::Other),
        (b"\r\n\x16\x03\x01", 3, Foreign::Other),
        (b"AMQP\x00\x00\x09\x01", 5, Foreign::Other),
        (b"{\"id\":1}", 1, Foreign::Other),
        (b"abc{\"id\":1}", 4, Foreign::Other),
        (b"*1\r\n$4\r\nPING\r\n", 4, Foreign::Other),
        (b"PING\r\n", 6, Foreign::Other),
        (b"PING\nPING\n", 5, Foreign::Other),
        (b"SSH-2.0-OpenSSH_9.6 Ubuntu\r\n", 28, Foreign::Other),
        (b"OPTIONS sip:a@b SIP/2.0\r\n", 25, Foreign::Other),
        (b"get /key\r\n", 10, Foreign::Other),
        (b"EHLO a\r\n", 8, Foreign::Other),
        (b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGH / HTTP/1.1\r\n", 33, Foreign::Other),
    ] {
        let lengths: Vec<usize> = (0..decided).collect();
        assert_eq!(fed(bytes, &lengths, MAX), Peeked::Incomplete, "{bytes:?}");
        assert_eq!(fed(bytes, &[decided], MAX), Peeked::Foreign(foreign), "{bytes:?}");
        assert_eq!(scan(bytes), Peeked::Foreign(foreign), "{bytes:?}");
    }
}

#[test]
fn a_head_that_two_readers_may_read_differently_is_refused() {
    for bytes in [
        &b"GET / HTTP/1.1\nHost: a\n\n"[..],
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n: no name\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\xffx: y\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET\r/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n\r\n\n\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
        b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET / HTTP/3\r\n\r\n",
        b"GET /\r\n",
        b"GET /\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1\r\n",
        b"GET *\n",
        b"GET\t/\r\n",
        b"GET http://a/ RTSP/1.0\r\n",
        b"SOURCE / ICE/1.0\r\n",
        b"GET / http/1.1\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\n",
        b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://u@b/x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://b/x HTTP/1.1\r\n\r\n",
        b"GET http://b/x HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://b/x HTTP/1.1\r\nHost:\r\n\r\n",
        b"CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a, b/\r\n\r\n",
        b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    ] {
        assert!(is_malformed(bytes), "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn the_host_is_that_of_the_target_or_of_the_host_field() {
    for (bytes, host, path) in [
        (&b"GET / HTTP/1.1\r\nhOST: A.b:80\r\n\r\n"[..], Some("a.b"), "/"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", Some("a"), "/"),
        (b"GET /x HTTP/1.1\r\nHost:\r\n\r\n", None, "/x"),
        (b"GET /x HTTP/1.0\r\n\r\n", None, "/x"),
        (b"GET /x HTTP/1.0\r\nHost: a\r\n\r\n", Some("a"), "/x"),
        (b"GET http://B:81/x?q HTTP/1.1\r\nHost: b.:81\r\n\r\n", Some("b"), "/x"),
        (b"GET http://B HTTP/1.1\r\nHost: b\r\n\r\n", Some("b"), "/"),
        (b"GET http://B?q HTTP/1.0\r\n\r\n", Some("b"), "/"),
        (b"GET WS://[::1]:1/ HTTP/1.1\r\nHost: [::1]\r\n\r\n", Some("[::1]"), "/"),
        (b"GET /?u=http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", Some("a"), "/"),
        (b"GET //b/x HTTP/1.1\r\nHost: a\r\n\r\n", Some("a"), "//b/x"),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Some("a"), "*"),
        (b"CONNECT c:443 HTTP/1.1\r\nHost: c:443\r\n\r\n", Some("c"), "c:443"),
    ] {
        let head = head(bytes);
        assert_eq!(head.host.as_deref(), host, "{:?}", String::from_utf8_lossy(bytes));
        assert_eq!(head.path(), path, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn a_websocket_is_known_by_its_lists_and_only_in_a_plain_get() {
    for (request, fields, websocket) in [
        ("GET / HTTP/1.1", "Upgrade: websocket\r\nConnection: Upgrade\r\n", true),
        ("GET / HTTP/1.1", "upgrade: h2c, WEBSOCKET\r\nconnection: a,b , UPGRADE\r\n", true),
        ("GET / HTTP/1.1", "Upgrade: websocket\r\nConnection: a\r\nConnection: upgrade\r\n", true),
        ("GET / HTTP/1.1", "Upgrade: websocket\r\n", false),
        ("GET / HTTP/1.1", "Upgrade: websocket\r\nConnection: keep-alive\r\n", false),
        ("GET / HTTP/1.1", "Upgrade: h2c\r\nConnection: Upgrade\r\n", false),
        ("GET / HTTP/1.0", "Upgrade: websocket\r\nConnection: Upgrade\r\n", false),
        ("POST / HTTP/1.1", "Upgrade: websocket\r\nConnection: Upgrade\r\n", false),
        (
            "GET / HTTP/1.1",
            "Content-Length: 9\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
            false,
        ),
    ] {
        let bytes = format!("{request}\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(head(bytes.as_bytes()).websocket, websocket, "{bytes}");
    }
}

#[test]
fn cookies_and_queries_are_found_by_their_whole_name() {
    let bytes = b"GET /?aio=1&io&sid=x%20=y&sid=2#io=3 HTTP/1.1\r\nHost: a\r\n\
        Cookie: xio=1;io = \"v\" ; q=\"; e=\r\nCookie: io=2; last=z\r\n\r\n";
    let head = head(bytes);
    assert_eq!(head.query("io"), Some(""));
    assert_eq!(head.query("sid"), Some("x%20=y"));
    assert_eq!(head.cookie("io"), Some(&b"v"[..]));
    assert_eq!(head.cookie("q"), Some(&b"\""[..]));
    assert_eq!(head.cookie("e"), Some(&b""[..]));
    assert_eq!(head.cookie("last"), Some(&b"z"[..]));
    assert_eq!(head.cookie("o"), None);
}

#[test]
fn the_limits_are_exact() {
    let head = |fields: usize, padding: usize| {
        let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
        (1..fields).for_each(|_| bytes.extend_from_slice(b"x:y\r\n"));
        bytes.extend_from_slice(format!("z: {}\r\n\r\n", "p".repeat(padding)).as_bytes());
        bytes
    };
    let too_large = Peeked::Refused(Refusal::TooLarge);
    assert!(matches!(scan(&head(255, 1)), Peeked::Head(_)));
    assert_eq!(scan(&head(256, 1)), too_large);
    let bytes = head(1, 100);
    let length = bytes.len();
    assert!(matches!(fed(&bytes, &[length], length), Peeked::Head(_)));
    assert_eq!(fed(&bytes, &[length], length - 1), too_large);
    assert_eq!(fed(&bytes, &[length - 1], length - 1), too_large);
    assert_eq!(fed(&bytes, &[length - 1], length), Peeked::Incomplete);
    assert_eq!(fed(&bytes, &[0], 0), too_large);
}

/// With a search that began anew for each byte this would read 512 MiB and 32768 times 256 fields.
#[test]
fn a_head_of_the_largest_size_may_come_one_byte_at_a_time() {
    let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
    (0..200).for_each(|at| bytes.extend_from_slice(format!("x-{at}: y\r\n").as_bytes()));
    let padding = MAX - bytes.len() - b"Cookie: \r\n\r\n".len();
    bytes.extend_from_slice(format!("Cookie: {}\r\n\r\n", "c".repeat(padding)).as_bytes());
    assert!(matches!(scan(&bytes), Peeked::Head(head) if head.end == MAX));
}

proptest! {
    #[test]
    fn any_bytes_give_one_answer_however_split(
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        cut in 0usize..80,
    ) {
        let cut = cut.min(bytes.len());
        let whole = fed(&bytes, &[bytes.len()], 60);
        prop_assert_eq!(fed(&bytes, &[cut, bytes.len()], 60), whole);
    }

    #[test]
    fn a_mutated_head_gives_one_answer_however_split(
        edits in prop::collection::vec((0..UPGRADE.len(), any::<u8>()), 1..4),
        likely in prop::collection::vec((0..UPGRADE.len(), "[\r\n :,;/.\0a]"), 0..4),
    ) {
        let mut bytes = UPGRADE.to_vec();
        edits.iter().for_each(|&(at, byte)| bytes[at] = byte);
        likely.iter().for_each(|(at, text)| bytes[*at] = text.as_bytes()[0]);
        let whole = fed(&bytes, &[bytes.len()], MAX);
        one_at_a_time(&bytes, |lengths| fed(&bytes, lengths, MAX), &whole);
    }
}
