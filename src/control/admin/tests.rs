//! How long a connection may take over what, on a clock that goes on only while everybody waits.

use std::future::Future;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep};

use super::stream::STALL_MS;
use super::*;

/// Bytes that are under way before the other end has to read.
const UNDER_WAY_BYTES: usize = 4 * 1024;

/// Bytes of an answer: many times as many.
const ANSWER_BYTES: usize = 256 * 1024;

/// Served until it ends, while `client` does what it does at the other end; how long that took, in
/// milliseconds.
fn served<F: Future>(client: impl FnOnce(DuplexStream) -> F) -> u64 {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let (near, far) = duplex(UNDER_WAY_BYTES);
        let start = Instant::now();
        let serving = async {
            connection(near, By("somebody".into()), routes()).await;
            start.elapsed().as_millis() as u64
        };
        tokio::join!(serving, client(far)).0
    })
}

fn routes() -> Router {
    let gate = Gate { token: None, is_tcp: false };
    let whole = get(|| async { vec![b'x'; ANSWER_BYTES] }).post(|| async {});
    Router::new().route("/", whole).layer(from_fn_with_state(gate, gate::check))
}

/// What a timer may be late by.
#[track_caller]
fn assert_took(time_ms: u64, expected_ms: u64) {
    assert!((expected_ms..expected_ms + 10).contains(&time_ms), "{time_ms} ms");
}

/// Everything that comes until the end.
async fn rest(client: &mut DuplexStream) -> Vec<u8> {
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.expect("an end");
    all
}

#[test]
fn a_head_must_be_whole_in_time() {
    let time_ms = served(|mut client| async move {
        assert_eq!(rest(&mut client).await, b"", "nothing was asked");
    });
    assert_took(time_ms, HEAD_TIMEOUT_MS);
    // What comes bit by bit gets no more time.
    let time_ms = served(|mut client| async move {
        client.write_all(b"GET / HTTP/1.1\r\nX: ").await.expect("it is taken");
        while client.write_all(b"x").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    });
    assert_took(time_ms, HEAD_TIMEOUT_MS);
}

#[test]
fn a_body_must_be_whole_in_time() {
    let head = "POST / HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n";
    let time_ms = served(|mut client| async move {
        client.write_all(format!("{head}{{").as_bytes()).await.expect("it is taken");
        let mut status = [0; 12];
        client.read_exact(&mut status).await.expect("an answer");
        assert_eq!(&status, b"HTTP/1.1 408");
    });
    assert_took(time_ms, gate::BODY_TIMEOUT_MS);
}

#[test]
fn who_takes_nothing_of_an_answer_is_left() {
    let time_ms = served(|mut client| async move {
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("it is taken");
        client
    });
    assert_took(time_ms, STALL_MS);
}

#[test]
fn who_takes_little_of_an_answer_gets_all_of_it() {
    let mut time_ms = 0;
    let took = &mut time_ms;
    served(|mut client| async move {
        let start = Instant::now();
        client.write_all(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await.expect("taken");
        let (mut bytes, mut some) = (0, [0; UNDER_WAY_BYTES]);
        while let Ok(read @ 1..) = client.read(&mut some).await {
            bytes += read;
            sleep(Duration::from_millis(STALL_MS - 1_000)).await;
        }
        assert!(bytes > ANSWER_BYTES, "{bytes} bytes came");
        *took = start.elapsed().as_millis() as u64;
    });
    assert!(time_ms > 10 * STALL_MS, "{time_ms} ms");
}
