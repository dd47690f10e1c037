//! Much data: every byte, both ways at once, and never more in flight than buffers hold.

use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::{Numbers, Peer, Ringway, Server, both_cores, eventually};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn in_front_of(server: &Server, flags: &[&str]) -> Ringway {
    Ringway::to([server.address()]).with(["--peek", "none", "--workers", "1"]).with(flags).start()
}

fn a_gibibyte_each_way_at_once(flags: &[&str]) {
    let _turn = both_cores();
    let listening = Server::listen();
    let lb = in_front_of(&listening, flags);
    let mut client = lb.client();
    let mut server = listening.accept();
    let address = client.address();
    let (mut client_writer, mut server_writer) = (client.try_clone(), server.try_clone());
    thread::scope(|scope| {
        scope.spawn(|| {
            Numbers::seeded(1).write_to(&mut client_writer, GIB);
            client_writer.shutdown_write();
        });
        scope.spawn(|| {
            Numbers::seeded(2).write_to(&mut server_writer, GIB);
            server_writer.shutdown_write();
        });
        scope.spawn(|| {
            Numbers::seeded(1).check_from(&mut server, GIB);
            server.expect_eof();
        });
        Numbers::seeded(2).check_from(&mut client, GIB);
        client.expect_eof();
    });
    let line = lb.session_of(address);
    assert_eq!((line.number("bytes_up"), line.number("bytes_down")), (GIB, GIB));
}

#[test]
fn a_gibibyte_each_way_at_once_is_exact_by_copy() {
    a_gibibyte_each_way_at_once(&["--no-splice"]);
}

#[test]
fn a_gibibyte_each_way_at_once_is_exact_by_splice() {
    a_gibibyte_each_way_at_once(&[]);
}

/// What may be on the way to a reader that reads nothing: the kernel's largest send buffer (4 MiB)
/// and receive buffer (6 MiB) by default, on both sides of ringway, and little of ringway's own.
const ON_THE_WAY_MAX: u64 = 22 * MIB;

/// The reader reads nothing until the writer could place nothing for five seconds.
fn stall(mut writer: Peer, mut reader: Peer) {
    let total = 64 * MIB;
    writer.set_timeout(Duration::from_secs(5));
    let mut numbers = Numbers::seeded(7);
    let mut chunk = vec![0; 64 << 10];
    let mut taken = 0;
    let unsent = 'full: loop {
        numbers.fill(&mut chunk);
        let mut sent = 0;
        while sent < chunk.len() {
            match writer.write(&chunk[sent..]) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break 'full sent,
                Err(error) => panic!("{error}"),
            }
            assert!(taken + sent as u64 <= ON_THE_WAY_MAX, "nothing holds the writer back");
        }
        taken += sent as u64;
    };
    writer.set_timeout(crate::harness::DEADLINE);
    thread::scope(|scope| {
        scope.spawn(|| {
            writer.send(&chunk[unsent..]);
            numbers.write_to(&mut writer, total - taken - chunk.len() as u64);
            writer.shutdown_write();
        });
        Numbers::seeded(7).check_from(&mut reader, total);
        reader.expect_eof();
    });
}

fn a_stalled_reader_holds_back_the_writer(flags: &[&str]) {
    thread::scope(|scope| {
        let up = scope.spawn(|| {
            let server = Server::listen_narrow();
            let lb = in_front_of(&server, flags);
            stall(lb.narrow_client(), server.accept());
        });
        let server = Server::listen_narrow();
        let lb = in_front_of(&server, flags);
        let client = lb.narrow_client();
        stall(server.accept(), client);
        up.join().expect("both directions");
    });
}

#[test]
fn a_reader_that_stalls_holds_back_the_writer_then_gets_every_byte_by_copy() {
    a_stalled_reader_holds_back_the_writer(&["--no-splice"]);
}

#[test]
fn a_reader_that_stalls_holds_back_the_writer_then_gets_every_byte_by_splice() {
    a_stalled_reader_holds_back_the_writer(&[]);
}

/// More than the 256 buffers a worker has.
const STALLED: usize = 300;

#[test]
fn more_stalled_clients_than_buffers_do_not_hold_up_the_next_one() {
    let stalled = Arc::new(AtomicUsize::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let (count, end) = (Arc::clone(&stalled), Arc::clone(&done));
    let server = Server::listen_narrow().serve(move |mut peer| {
        let mut asked = [0; 4];
        std::io::Read::read_exact(&mut peer, &mut asked).expect("four bytes");
        if &asked == b"good" {
            Numbers::seeded(8).write_to(&mut peer, 8 * MIB);
            return;
        }
        fill(peer, &count, &end);
    });
    let lb = Ringway::to([server.address()]).with(["--peek", "none", "--workers", "1"]).start();
    let mut idle: Vec<_> = (0..STALLED).map(|_| lb.narrow_client()).collect();
    idle.iter_mut().for_each(|client| client.send(b"more"));
    served_beside(&lb, &stalled, &done);
}

#[test]
fn more_stalled_servers_than_buffers_do_not_hold_up_the_next_client() {
    let stalled = Arc::new(AtomicUsize::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&done);
    let server = Server::listen_narrow().serve(move |mut peer| {
        let mut asked = [0; 4];
        std::io::Read::read_exact(&mut peer, &mut asked).expect("four bytes");
        if &asked == b"good" {
            Numbers::seeded(8).write_to(&mut peer, 8 * MIB);
            return;
        }
        eventually("the end of the test", || end.load(Ordering::SeqCst).then_some(()));
    });
    let lb = Ringway::to([server.address()]).with(["--peek", "none", "--workers", "1"]).start();
    for _ in 0..STALLED {
        let mut client = lb.narrow_client();
        client.send(b"more");
        let (count, end) = (Arc::clone(&stalled), Arc::clone(&done));
        thread::spawn(move || fill(client, &count, &end));
    }
    served_beside(&lb, &stalled, &done);
}

/// Writes until nothing has been taken for half a second, and holds the connection.
fn fill(mut peer: Peer, stalled: &AtomicUsize, done: &AtomicBool) {
    peer.set_timeout(Duration::from_millis(500));
    while peer.write(&[7; 16 << 10]).is_ok() {}
    stalled.fetch_add(1, Ordering::SeqCst);
    eventually("the end of the test", || done.load(Ordering::SeqCst).then_some(()));
}

fn served_beside(lb: &Ringway, stalled: &AtomicUsize, done: &AtomicBool) {
    eventually("everyone stalled", || (stalled.load(Ordering::SeqCst) == STALLED).then_some(()));
    for _ in 0..3 {
        let mut client = lb.client();
        client.send(b"good");
        Numbers::seeded(8).check_from(&mut client, 8 * MIB);
        client.expect_eof();
    }
    done.store(true, Ordering::SeqCst);
}
