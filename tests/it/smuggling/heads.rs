//! Heads that readers are known to disagree about, and more of the kind from a seed.

use ringway::random::Random;

/// Known ways to be read in two ways, and plain ones beside them.
pub(super) fn corpus() -> Vec<Vec<u8>> {
    let mut heads: Vec<Vec<u8>> = WHOLE.iter().map(|head| head.to_vec()).collect();
    heads.extend(FIELDS.iter().map(|fields| {
        [b"POST /socket.io/?EIO=4 HTTP/1.1\r\nHost: a\r\n", *fields, b"\r\n"].concat()
    }));
    heads.extend(
        TARGETS.iter().map(|target| [b"GET ", *target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat()),
    );
    heads
}

const WHOLE: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nhOST: A\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n Host: b\r\n\r\n",
    b"GET / HTTP/1.1\r\n Host: b\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost\t: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost:a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost:\ta \t\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a:80\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: A.\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a#b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHo\x00st: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    b"GET / HTTP/1.1\r\rHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n",
    b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET\x0b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1 X\r\nHost: a\r\n\r\n",
    b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    b"GET / HTTP/0.9\r\nHost: a\r\n\r\n",
    b"GET / http/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.10\r\nHost: a\r\n\r\n",
    b"GET / HTTP/01.1\r\nHost: a\r\n\r\n",
    b"GET / RTSP/1.0\r\nHost: a\r\n\r\n",
    b"GET / ICE/1.0\r\nHost: a\r\n\r\n",
    b"GET /\r\n\r\n",
    b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GeT / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"M-SEARCH * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"SOURCE / ICE/1.0\r\nHost: a\r\n\r\n",
    b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"PRI * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
    b"CONNECT a:443 HTTP/1.1\r\nHost: b\r\n\r\n",
    b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
    b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n",
    b"GET http://a/ HTTP/1.0\r\n\r\n",
    b"GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n",
    b"\x16\x03\x01\x00\x05GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"*1\r\n$4\r\nPING\r\n",
    b"\0GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"X: y\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
];

/// Behind a Host.
const FIELDS: &[&[u8]] = &[
    b"Content-Length: 5\r\n",
    b"Content-Length: 5\r\nContent-Length: 5\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Content-Length: 5\r\nContent-Length: 6\r\n",
    b"Content-Length: 05\r\n",
    b"Content-Length: +5\r\n",
    b"Content-Length: -5\r\n",
    b"Content-Length: 0x5\r\n",
    b"Content-Length: 5 \r\n",
    b"Content-Length: 5 6\r\n",
    b"Content-Length: 5;a\r\n",
    b"Content-Length: \r\n",
    b"Content-Length:\r\n 5\r\n",
    b"Content-Length: 5\x0b\r\n",
    b"Content-Length: 18446744073709551615\r\n",
    b"Content-Length: 18446744073709551616\r\n",
    b"Content-Length : 5\r\n",
    b"Content_Length: 5\r\n",
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"transfer-encoding: CHUNKED\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: chunked, gzip\r\n",
    b"Transfer-Encoding: chunked, chunked\r\n",
    b"Transfer-Encoding: chunked,\r\n",
    b"Transfer-Encoding: ,chunked\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding: chunkedx\r\n",
    b"Transfer-Encoding: \"chunked\"\r\n",
    b"Transfer-Encoding: chunked;q=1\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding: identity, chunked\r\n",
    b"Transfer-Encoding:\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n",
    b"Transfer-Encoding: \x0cchunked\r\n",
    b"Transfer-Encoding:\r\n chunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Transfer-Encoding\t: chunked\r\n",
    b"Transfer_Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n",
    b"X: Transfer-Encoding: chunked\r\n",
    b"X: a\r\n\tTransfer-Encoding: chunked\r\n",
    b": chunked\r\n",
    b"no colon\r\n",
    b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\n",
    b"X_Forwarded_For: 192.0.2.1\r\nx-forwarded_proto: http\r\n",
    b"x-forwarded-for:192.0.2.1\r\nX-FORWARDED-PROTO:\thttp\r\n",
    b"X-Forwarded-For : 192.0.2.1\r\n",
    b"X-Forwarded-For:\r\n 192.0.2.1\r\n",
    b"Connection: X-Forwarded-For, close\r\n",
    b"Connection: keep-alive\r\nProxy-Connection: keep-alive\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n",
    b"Expect: 100-continue\r\nContent-Length: 5\r\n",
    b"Expect: nothing\r\n",
    b"Trailer: Host\r\nTransfer-Encoding: chunked\r\n",
];

/// In a GET.
const TARGETS: &[&[u8]] = &[
    b"/socket.io/?EIO=4&sid=abc",
    b"/socket.io/?sid=abc&sid=def",
    b"/socket.io/?sid=abc&sid=abc",
    b"/socket.io/?sid=abc&%73id=def",
    b"/socket.io/?s%69d=abc",
    b"/socket.io/?sid=a+b",
    b"/socket.io/?sid=a%2Bb%20c",
    b"/socket.io/?sid=%zz%4",
    b"/socket.io/?sid=%ff",
    b"/socket.io/?sid=a;sid=b",
    b"/socket.io/?sid=a%26sid=b",
    b"/socket.io/?sid=a#&sid=b",
    b"/socket.io/#?sid=b",
    b"/socket.io/?sid",
    b"/socket.io/?=a&sid=",
    b"/socket.io/??sid=a",
    b"/socket.io/?\\sid=a",
    b"//b/?sid=a",
    b"/../?sid=a",
    b"/?u=http://b/&sid=a",
    b"/\xc3\xa4?sid=\xc3\xa4",
    b"/\xff",
    b"/a\tb",
    b"/a\"<>^`{|}",
    b"a",
    b"a/b",
    b"?sid=a",
    b"*",
    b"http://a",
    b"HTTP://A:80?sid=a",
    b"http:///a",
    b"ftp://a/",
    b"a:80",
];

/// Mostly right, with one thing or another that is not.
pub(super) fn generated(random: &mut Random) -> Vec<u8> {
    let mut head = Vec::new();
    for part in [
        often(random, b"", &[b"\r\n", b"\n", b"\r", b" ", b"\0"]),
        often(random, b"GET", METHODS),
        often(random, b" ", SPACES),
        one_of(random, TARGETS_TOO),
        often(random, b" ", SPACES),
        often(random, b"HTTP/1.1", VERSIONS),
        often(random, b"\r\n", LINE_ENDS),
    ] {
        head.extend_from_slice(part);
    }
    if below(random, 16) > 0 {
        head.extend_from_slice(b"Host: ");
        head.extend_from_slice(one_of(random, HOSTS));
        head.extend_from_slice(often(random, b"\r\n", LINE_ENDS));
    }
    for _ in 0..random.next() % 4 {
        let (name, values) = NAMES[below(random, NAMES.len())];
        for part in [
            name,
            often(random, b": ", COLONS),
            one_of(random, values),
            often(random, b"\r\n", LINE_ENDS),
        ] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(often(random, b"\r\n", LINE_ENDS));
    if below(random, 8) == 0 {
        let at = below(random, head.len());
        match random.next() % 3 {
            0 => head[at] = random.next() as u8,
            1 => head.insert(at, random.next() as u8),
            _ => drop(head.remove(at)),
        }
    }
    head
}

/// A chunked body, mostly right.
pub(super) fn chunks(random: &mut Random) -> Vec<u8> {
    let mut body = Vec::new();
    for _ in 0..random.next() % 3 {
        let length = 1 + below(random, 20);
        let size = match random.next() % 8 {
            0 => format!("{length:X}"),
            1 => format!("00{length:x}"),
            2 => format!("{length:x};name=value"),
            3 => format!("{length:x};n=\"\n\""),
            4 => format!("{:x}", length + 1),
            _ => format!("{length:x}"),
        };
        body.extend_from_slice(often(random, b"", CHUNK_STARTS));
        body.extend_from_slice(size.as_bytes());
        body.extend_from_slice(often(random, b"\r\n", CHUNK_ENDS));
        body.extend(std::iter::repeat_n(b'x', length));
        body.extend_from_slice(often(random, b"\r\n", CHUNK_ENDS));
    }
    body.extend_from_slice(often(random, b"0\r\n", &[b"0;a\r\n", b"000\r\n", b"0\n", b"00\r\r\n"]));
    let trailers: &[&[u8]] =
        &[b"X: y\r\n", b"Host: b\r\n", b"X : y\r\n", b" x\r\n", b"X: y\n", b"x\r\n"];
    body.extend_from_slice(often(random, b"", trailers));
    body.extend_from_slice(often(random, b"\r\n", &[b"\n", b"\r\r\n", b"\r"]));
    body
}

fn below(random: &mut Random, count: usize) -> usize {
    // The upper bits are the better ones.
    (random.next() >> 33) as usize % count
}

fn one_of<'w>(random: &mut Random, words: &[&'w [u8]]) -> &'w [u8] {
    words[below(random, words.len())]
}

/// One time in 50 it is another one.
fn often<'w>(random: &mut Random, usual: &'w [u8], others: &[&'w [u8]]) -> &'w [u8] {
    if below(random, 50) > 0 { usual } else { one_of(random, others) }
}

const METHODS: &[&[u8]] =
    &[b"POST", b"OPTIONS", b"HEAD", b"CONNECT", b"get", b"PRI", b"SOURCE", b"X", b"", b"G\tT"];
const SPACES: &[&[u8]] = &[b"  ", b"\t", b"\x0b", b"\x0c", b"\r", b"\n", b"", b"\xa0"];
const VERSIONS: &[&[u8]] = &[
    b"HTTP/1.0",
    b"HTTP/1.1 ",
    b"HTTP/1.2",
    b"HTTP/2.0",
    b"http/1.1",
    b"HTTP/1.",
    b"RTSP/1.0",
    b"",
];
const LINE_ENDS: &[&[u8]] =
    &[b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\r\n", b"\r\n ", b"\r\n\t", b""];
const COLONS: &[&[u8]] = &[b":", b":\t", b":  ", b" : ", b"\t:", b": \r\n ", b"", b":\x0b", b"::"];
const CHUNK_STARTS: &[&[u8]] = &[b" ", b"+", b"0x", b"\r\n", b"-"];
const CHUNK_ENDS: &[&[u8]] = &[b"\n", b"\r", b" \r\n", b"\r\r\n", b"\t\r\n", b"", b"\r\n\r\n"];
const HOSTS: &[&[u8]] =
    &[b"a", b"a", b"A.", b"a:80", b"b.example", b"[::1]", b"", b"a b", b"a,b", b"a@b", b"\xe4"];
const TARGETS_TOO: &[&[u8]] = &[
    b"/",
    b"/",
    b"/socket.io/?EIO=4&transport=polling",
    b"/socket.io/?EIO=4&sid=abc",
    b"/socket.io/?sid=a&sid=b",
    b"/socket.io/?%73id=a+b",
    b"/socket.io/?a=%26sid=1;sid=2&sid=%41",
    b"/a#b?sid=c",
    b"//b/c",
    b"http://a/",
    b"http://A:80/socket.io/?sid=1",
    b"http://b.example?x",
    b"https://a@b/",
    b"*",
    b"a:80",
    b"/\xc3\xbc",
    b"/\xfc",
    b"x",
];
type Named = (&'static [u8], &'static [&'static [u8]]);
const NAMES: &[Named] = &[
    (b"Host", HOSTS),
    (b"host", HOSTS),
    (b"Content-Length", LENGTHS),
    (b"content-length", LENGTHS),
    (b"Transfer-Encoding", CODINGS),
    (b"Connection", &[b"close", b"keep-alive", b"upgrade", b"x-forwarded-for", b"a,Upgrade , b"]),
    (b"Upgrade", &[b"websocket", b"h2c", b"WebSocket, x", b""]),
    (b"X-Forwarded-For", ADDRESSES),
    (b"x_forwarded_for", ADDRESSES),
    (b"X-FORWARDED-proto", &[b"http", b"https", b""]),
    (b"X_Forwarded-Proto", &[b"http", b"https", b""]),
    (b"Expect", &[b"100-continue", b"x"]),
    (b"X", &[b"y", b"", b"\xff", b"\x01", b"a\0b", b"\x7f", b"a\tb"]),
    (b"X Y", &[b"z"]),
    (b"", &[b"z"]),
    (b"\xc3\xa4", &[b"z"]),
];
const LENGTHS: &[&[u8]] =
    &[b"0", b"5", b"5", b"05", b"5,5", b"5, 6", b"+5", b" 5 ", b"", b"64", b"65", b"1e1", b"5\x0b"];
const CODINGS: &[&[u8]] = &[
    b"chunked",
    b"chunked",
    b"Chunked",
    b"gzip, chunked",
    b"chunked, gzip",
    b"identity",
    b"",
    b"chunked,",
    b"\x0bchunked",
    b"chunked;a=b",
    b"gzip,chunked , ",
];
const ADDRESSES: &[&[u8]] = &[b"192.0.2.1", b"192.0.2.1, 192.0.2.2", b"", b"203.0.113.7"];
