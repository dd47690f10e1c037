//! Real servers that misbehave.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::thread;

use tokio::runtime::Builder;

use super::*;

/// Checks that wait no longer than a failure takes on a loaded machine.
const SPEC: Health = Health {
    check: Check::Tcp,
    interval_ms: 5_000,
    fast_interval_ms: 1_000,
    timeout_ms: 20_000,
    jitter_percent: 0,
    rise: 2,
    fall: 3,
    port: None,
    send_proxy: None,
};

fn http(body: Option<&str>) -> Health {
    let check = Check::Http {
        path: "/health".into(),
        host: None,
        status: vec![200..=299],
        body: body.map(str::to_owned),
    };
    Health { check, ..SPEC }
}

fn run(address: &Address, spec: &Health) -> Result<(), String> {
    run_from(&[], address, spec)
}

fn run_from(sources: &[IpAddr], address: &Address, spec: &Health) -> Result<(), String> {
    let probe = Probe::new(address, sources, Arc::new(spec.clone()));
    Builder::new_current_thread().enable_all().build().unwrap().block_on(probe.run())
}

/// What a check says of a server that does this with its one connection.
fn check(spec: &Health, serve: impl FnOnce(TcpStream) + Send + 'static) -> Result<(), String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    let server = thread::spawn(move || serve(listener.accept().unwrap().0));
    let said = run(&address, spec);
    server.join().expect("the server does as it was told");
    said
}

fn request(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "a whole head");
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Answers as it is told and closes.
fn answer(text: &str) -> impl FnOnce(TcpStream) + Send + 'static {
    let text = text.to_owned();
    move |mut stream| {
        request(&mut stream);
        // Whoever checks may have heard enough.
        let _ = stream.write_all(text.as_bytes());
    }
}

#[test]
fn a_tcp_check_resets_and_leaves_nothing_behind() {
    let said = check(&SPEC, |mut stream| {
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
    assert_eq!(said, Ok(()));
}

#[test]
fn an_http_check_lets_the_server_close_and_closes_in_good_order() {
    let said = check(&http(None), |mut stream| {
        let head = request(&mut stream);
        assert!(head.starts_with("GET /health HTTP/1.1\r\nHost: 127.0.0.1:"), "{head}");
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    });
    assert_eq!(said, Ok(()));
}

#[test]
fn one_that_does_not_close_is_reset() {
    let said = check(&http(None), |mut stream| {
        request(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
    assert_eq!(said, Ok(()));
}

#[test]
fn answers_by_rows() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n5\r\n well\r\n";
    let early = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\nall well";
    let large = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "a".repeat(20_000));
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}all well", "a".repeat(70_000));
    let lacks = Err("the body lacks \"all well\"");
    let rows: [(&str, Result<(), &str>); 12] = [
        ("HTTP/1.1 200 OK\r\n\r\nfine: all well", Ok(())),
        (chunked, Ok(())),
        (early, Ok(())),
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nall well", lacks),
        ("HTTP/1.1 200 OK\r\n\r\nall we", lacks),
        (&endless, lacks),
        ("HTTP/1.1 503 Busy\r\n\r\nall well", Err("status 503")),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", Err("its answer is not HTTP")),
        ("HTTP/1.1 200 OK\r\nA", Err("closed within its head")),
        ("", Err("closed without an answer")),
        (&large, Err("its head has more than 16384 bytes")),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nall well\r\n",
            Err("its body is not chunked as it says"),
        ),
    ];
    for (text, expected) in rows {
        let said = check(&http(Some("all well")), answer(text));
        let start = &text[..text.len().min(60)];
        assert_eq!(said, expected.map_err(str::to_owned), "{start}");
    }
}

#[test]
fn whoever_takes_too_long_is_given_up_whatever_it_sends() {
    let late = Err("no answer within 300 ms".to_owned());
    let spec = Health { timeout_ms: 300, ..http(Some("all well")) };
    let silent = check(&spec, |mut stream| {
        request(&mut stream);
        let _ = stream.read(&mut [0]);
    });
    assert_eq!(silent, late);
    let trickling = check(&spec, |mut stream| {
        request(&mut stream);
        let head = b"HTTP/1.1 200 OK\r\n\r\n".iter().copied();
        // Until nobody listens any more.
        for byte in head.chain(std::iter::repeat(b'a')) {
            if stream.write_all(&[byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(trickling, late);
}

#[test]
fn nobody_there_is_refused() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(run(&Address::Tcp(address), &SPEC), Err("connection refused".to_owned()));
}

#[test]
fn unix_sockets_are_checked_as_well() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("app.sock");
    let address = Address::Unix(path.clone());
    assert_eq!(run(&address, &SPEC), Err("connection refused".to_owned()));
    let listener = UnixListener::bind(&path).unwrap();
    assert_eq!(run(&address, &SPEC), Ok(()));
    let server = thread::spawn(move || {
        let (_, (mut stream, _)) = (listener.accept(), listener.accept().unwrap());
        let mut head = [0; 1024];
        assert!(stream.read(&mut head).unwrap() > 0);
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
    });
    assert_eq!(run(&address, &http(None)), Ok(()));
    server.join().unwrap();
}

#[test]
fn a_check_comes_from_where_sessions_come_from() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    let server = thread::spawn(move || listener.accept().unwrap().1.ip());
    let sources = ["::1".parse().unwrap(), "127.0.0.9".parse().unwrap()];
    assert_eq!(run_from(&sources, &address, &SPEC), Ok(()));
    assert_eq!(server.join().unwrap(), sources[1]);
}
