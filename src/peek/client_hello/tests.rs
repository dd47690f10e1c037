use proptest::prelude::*;

use super::super::splits::{every_split, one_at_a_time};
use super::*;

const MAX: usize = 16 * 1024;

/// Of OpenSSL 3: `s_client -servername Chat.Example.com -alpn h2,http/1.1 -groups X25519 -tls1_3`.
const OPENSSL: &str = "\
    16030100f5010000f103037949e0d6746c6aa065ee14cc7fa404094333f5c99aeb84b1c6c6c26d20815ff320\
    55a8b472697faf118768b905f3b398e2bed73b8c2732059e9b58e8e129a5ef13000813021303130100ff0100\
    00a0000000150013000010436861742e4578616d706c652e636f6d000b000403000102000a00040002001d00\
    2300000010000e000c02683208687474702f312e310016000000170000000d001e001c040305030603080708\
    080809080a080b080408050806040105010601002b0003020304002d00020101003300260024001d002053c7\
    99250c5901b054bb79e73ff7775622ac489952a019771540c1f3b134ac56";

fn openssl() -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&OPENSSL[at..at + 2], 16).expect("hexadecimal");
    (0..OPENSSL.len()).step_by(2).map(digit).collect()
}

fn fed(bytes: &[u8], lengths: &[usize], max: usize) -> HelloPeeked {
    let mut scanner = HelloScanner::default();
    lengths
        .iter()
        .map(|&length| scanner.scan(&bytes[..length], max))
        .find(|peeked| *peeked != HelloPeeked::Incomplete)
        .unwrap_or(HelloPeeked::Incomplete)
}

fn scan(bytes: &[u8]) -> HelloPeeked {
    let whole = fed(bytes, &[bytes.len()], MAX);
    one_at_a_time(bytes, |lengths| fed(bytes, lengths, MAX), &whole);
    whole
}

/// `message` in records of at most `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |part: &[u8]| {
        let length = u16::try_from(part.len()).expect("short").to_be_bytes();
        [&[22, 3, 1][..], &length, part].concat()
    };
    message.chunks(size).flat_map(record).collect()
}

fn vector(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).expect("short").to_be_bytes()[..], bytes].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector(data)].concat()
}

/// A ClientHello with these bytes behind its compression methods.
fn hello_with(rest: &[u8]) -> Vec<u8> {
    let body = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 1], &[1, 0], rest].concat();
    let length = u32::try_from(body.len()).expect("short").to_be_bytes();
    [&[CLIENT_HELLO][..], &length[1..], &body].concat()
}

fn with_extensions(extensions: &[Vec<u8>]) -> Vec<u8> {
    records(&hello_with(&vector(&extensions.concat())), 4000)
}

fn host_name(name: &[u8]) -> Vec<u8> {
    [&[0][..], &vector(name)].concat()
}

fn expected(end: usize) -> HelloPeeked {
    let alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    HelloPeeked::Hello(ClientHello { sni: Some("chat.example.com".to_owned()), alpn, end })
}

#[test]
fn every_split_of_a_real_hello_gives_the_same_answer() {
    let bytes = [&openssl()[..], b"\x14\x03\x03"].concat();
    let peeked = every_split(&bytes, |lengths| fed(&bytes, lengths, MAX));
    assert_eq!(peeked, expected(250));
}

#[test]
fn every_split_of_a_hello_over_many_records_gives_the_same_answer() {
    for size in [1, 3, 100, 244] {
        let bytes = records(&openssl()[5..], size);
        let whole = expected(bytes.len());
        if size > 3 {
            assert_eq!(every_split(&bytes, |lengths| fed(&bytes, lengths, MAX)), whole);
        }
        assert_eq!(scan(&bytes), whole);
    }
}

#[test]
fn what_is_not_tls_is_foreign_at_its_first_bytes() {
    for (bytes, decided) in [
        (&b"GET / HTTP/1.1\r\n"[..], 1),
        (b"\x80\x2e\x01\x03\x01\x00\x15", 1),
        (b"\x15\x03\x01\x00\x02", 1),
        (b"\x16\x02\x00", 2),
        (b"\x16\xfe\xff", 2),
        (b"\x00", 1),
    ] {
        assert_eq!(fed(bytes, &[decided], MAX), HelloPeeked::Foreign, "{bytes:?}");
        assert_eq!(fed(bytes, &[decided - 1], MAX), HelloPeeked::Incomplete, "{bytes:?}");
        assert_eq!(scan(bytes), HelloPeeked::Foreign, "{bytes:?}");
    }
}

#[test]
fn names_and_protocols_are_found_among_other_extensions() {
    let grease = extension(0x0a0a, &[0]);
    let ech = extension(0xfe0d, &[0; 60]);
    let sni = |names: &[u8]| extension(SERVER_NAME, &vector(names));
    let name = |text: &str| Some(text.to_owned());
    for (rest, sni, alpn) in [
        (vec![], None, vec![]),
        (vector(&[]), None, vec![]),
        (vector(&grease), None, vec![]),
        (vector(&[grease, ech, sni(&host_name(b"A_b.C."))].concat()), name("a_b.c"), vec![]),
        (vector(&sni(&host_name(b"::1"))), name("::1"), vec![]),
        (vector(&sni(&[&[9, 0, 1, 0][..], &host_name(b"a")].concat())), name("a"), vec![]),
        (vector(&extension(ALPN, &vector(b"\x02\x0a\x0a\x02h2"))), None, vec!["\n\n", "h2"]),
    ] {
        let alpn = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let bytes = records(&hello_with(&rest), 4000);
        let end = bytes.len();
        assert_eq!(scan(&bytes), HelloPeeked::Hello(ClientHello { sni, alpn, end }), "{rest:?}");
    }
}

#[test]
fn lengths_that_lie_and_names_that_are_none_are_malformed() {
    let sni = |data: &[u8]| with_extensions(&[extension(SERVER_NAME, data)]);
    let names = |names: &[u8]| sni(&vector(names));
    let one = extension(SERVER_NAME, &vector(&host_name(b"a")));
    let alpn = |data: &[u8]| with_extensions(&[extension(ALPN, data)]);
    for bytes in [
        b"\x16\x03\x01\x00\x00".to_vec(),
        b"\x16\x03\x01\x40\x01".to_vec(),
        b"\x16\x03\x01\x00\x01\x02".to_vec(),
        [&records(&openssl()[5..], 100)[..105], b"\x15\x03\x01\x00\x02\x01\x00"].concat(),
        [&records(&openssl()[5..], 100)[..105], b"\x16\x02"].concat(),
        records(&[CLIENT_HELLO, 0, 0, 0], 4),
        records(&[CLIENT_HELLO, 0, 0, 3, 3, 3, 0], 7),
        records(&hello_with(&[0]), 4000),
        records(&hello_with(&[0, 1]), 4000),
        records(&hello_with(&[0, 0, 0]), 4000),
        records(&hello_with(&vector(&[0, 0, 0])), 4000),
        records(&hello_with(&vector(&[0, 0, 0, 1])), 4000),
        sni(&[]),
        sni(&[0, 1]),
        sni(&[0, 0, 0]),
        names(&[0]),
        names(&[0, 0]),
        names(&[0, 0, 2, b'a']),
        names(&host_name(b"")),
        names(&host_name(b".")),
        names(&host_name(b"a..")),
        names(&host_name(b"a b")),
        names(&host_name(b"a\0")),
        names(&host_name(b"\xc3\xbc")),
        names(&[host_name(b"a"), host_name(b"b")].concat()),
        with_extensions(&[one.clone(), one]),
        alpn(&[]),
        alpn(&vector(&[0])),
        alpn(&vector(&[3, b'h', b'2'])),
    ] {
        assert!(matches!(scan(&bytes), HelloPeeked::Malformed(_)), "{bytes:?}: {:?}", scan(&bytes));
    }
}

#[test]
fn the_limit_is_exact_and_a_length_above_it_is_believed() {
    let bytes = openssl();
    assert!(matches!(fed(&bytes, &[250], 250), HelloPeeked::Hello(_)));
    assert_eq!(fed(&bytes, &[250], 249), HelloPeeked::TooLarge);
    assert_eq!(fed(&bytes, &[249], 250), HelloPeeked::Incomplete);
    assert_eq!(fed(&bytes, &[9], 200), HelloPeeked::TooLarge);
    let long = [0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
    assert_eq!(scan(&long), HelloPeeked::TooLarge);
    every_split(&bytes, |lengths| fed(&bytes, lengths, 247));
}

proptest! {
    #[test]
    fn a_mutated_hello_gives_one_answer_however_split(
        edits in prop::collection::vec((0usize..250, any::<u8>()), 0..4),
        size in 1usize..300,
        again in prop::collection::vec((0usize..300, any::<u8>()), 0..2),
    ) {
        let mut bytes = openssl();
        edits.iter().for_each(|&(at, byte)| bytes[at] = byte);
        let mut bytes = records(&bytes[5..], size);
        for &(at, byte) in &again {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let whole = fed(&bytes, &[bytes.len()], 400);
        one_at_a_time(&bytes, |lengths| fed(&bytes, lengths, 400), &whole);
    }

    #[test]
    fn any_bytes_behind_a_record_header_are_survived(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        scan(&records(&bytes, 50));
        scan(&records(&hello_with(&bytes), 1000));
        scan(&with_extensions(&[extension(SERVER_NAME, &bytes), extension(ALPN, &bytes)]));
    }
}
