//! Readers of first bytes, each given all it needs in one piece.

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{Criterion, Throughput};
use ringway::config::ProxyVersion;
use ringway::peek::client_hello::{HelloPeeked, HelloScanner};
use ringway::peek::http_head::{HeadScanner, Peeked};
use ringway::peek::proxy_protocol::{self, ProxyPeeked};
use ringway::peek::response_head::{ResponsePeeked, ResponseScanner};
use ringway::peek::sid::{self, SidSearch};

use crate::HEAD_MAX;

/// What Engine.IO answers to a handshake.
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=UTF-8\r\n\
    Content-Length: 118\r\ncache-control: no-store\r\nAccess-Control-Allow-Origin: *\r\n\
    Date: Fri, 02 Jan 2026 03:04:05 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n";
const HANDSHAKE: &[u8] = b"0{\"sid\":\"lv_VI97HAXpY6yYWAAAC\",\"upgrades\":[\"websocket\"],\
    \"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}";

/// What a browser sends with a Socket.IO poll, about 600 bytes, and a cookie on top.
fn browser_head(cookie: usize) -> Vec<u8> {
    let cookie = "c".repeat(cookie);
    format!(
        "GET /socket.io/?EIO=4&transport=polling&t=PX3m2kA&sid=lv_VI97HAXpY6yYWAAAC HTTP/1.1\r\n\
         Host: chat.example.com\r\nConnection: keep-alive\r\n\
         sec-ch-ua: \"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\nsec-ch-ua-mobile: ?0\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/130.0.0.0 Safari/537.36\r\nsec-ch-ua-platform: \"Linux\"\r\nAccept: */*\r\n\
         Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n\
         Referer: https://chat.example.com/\r\nAccept-Encoding: gzip, deflate, br\r\n\
         Accept-Language: en-GB,en;q=0.9\r\nCookie: theme=dark; session={cookie}\r\n\r\n"
    )
    .into_bytes()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat()
}

/// A ClientHello with name, protocols and padding to the 517 bytes browsers send.
fn client_hello() -> Vec<u8> {
    let host = b"chat.example.com";
    let name = [&[0, 19, 0, 0, 16][..], host].concat();
    let protocols = b"\x00\x0c\x02h2\x08http/1.1";
    let mut extensions = [extension(0, &name), extension(16, protocols)].concat();
    let fixed = 5 + 4 + 2 + 32 + 1 + 32 + 2 + 32 + 2 + 2;
    let padding = 517 - fixed - extensions.len() - 4;
    extensions.extend(extension(21, &vec![0; padding]));
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.push(32);
    hello.extend([8; 32]);
    hello.extend([&[0, 32][..], &[0x13; 32], &[1, 0]].concat());
    hello.extend((extensions.len() as u16).to_be_bytes());
    hello.extend(extensions);
    let length = (hello.len() as u32).to_be_bytes();
    let message = [&[1][..], &length[1..], &hello].concat();
    [&[22, 3, 1][..], &(message.len() as u16).to_be_bytes(), &message].concat()
}

pub(crate) fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("peek");
    for (name, head) in [("head", browser_head(40)), ("head_14k", browser_head(14_000))] {
        group.throughput(Throughput::Bytes(head.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let peeked = HeadScanner::default().scan(black_box(&head), HEAD_MAX);
                assert!(matches!(black_box(peeked), Peeked::Head(_)));
            });
        });
    }
    group.throughput(Throughput::Bytes(RESPONSE.len() as u64));
    group.bench_function("response_head", |bencher| {
        bencher.iter(|| {
            let peeked = ResponseScanner::default().scan(black_box(RESPONSE), HEAD_MAX);
            assert!(matches!(black_box(peeked), ResponsePeeked::Head(_)));
        });
    });
    group.finish();
}

pub(crate) fn hellos(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("peek");
    let hello = client_hello();
    group.throughput(Throughput::Bytes(hello.len() as u64));
    group.bench_function("client_hello", |bencher| {
        bencher.iter(|| {
            let peeked = HelloScanner::default().scan(black_box(&hello), HEAD_MAX);
            assert!(matches!(black_box(peeked), HelloPeeked::Hello(_)));
        });
    });
    group.finish();
}

pub(crate) fn proxy_headers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("peek");
    let client = SocketAddr::from(([203, 0, 113, 77], 51_234));
    let here = SocketAddr::from(([192, 0, 2, 10], 443));
    for (name, version) in [("proxy_v1", ProxyVersion::V1), ("proxy_v2", ProxyVersion::V2)] {
        let mut header = Vec::new();
        proxy_protocol::write(version, Some(client), Some(here), &mut header);
        group.throughput(Throughput::Bytes(header.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let peeked = proxy_protocol::scan(black_box(&header));
                assert!(matches!(black_box(peeked), ProxyPeeked::Header { .. }));
            });
        });
    }
    group.finish();
}

/// The id of a Socket.IO session where it stands in a request, and where a server tells it.
pub(crate) fn sids(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sid");
    let bytes = browser_head(40);
    let Peeked::Head(head) = HeadScanner::default().scan(&bytes, HEAD_MAX) else {
        panic!("what a browser sends is a head");
    };
    group.bench_function("in_query", |bencher| {
        bencher.iter(|| {
            let found = black_box(&head).query("sid");
            assert!(black_box(found).is_some());
        });
    });
    group.bench_function("in_handshake_body", |bencher| {
        bencher.iter(|| {
            let search = sid::find(black_box(HANDSHAKE));
            assert!(matches!(black_box(search), SidSearch::Found(_)));
        });
    });
    group.finish();
}
