//! Every end a session can come to, from either side, however its bytes move: to the byte.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{DEADLINE, Numbers, Peer, Ringway, Server, eventually};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Who brings the end about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ender {
    Client,
    Server,
}

/// How bytes move when it comes.
#[derive(Clone, Copy, Debug)]
enum Way {
    Copied,
    Spliced,
    /// From splicing to copying and back, many times.
    Changing,
}

/// One direction: what is said at one end is checked at the other.
struct Direction {
    said: Numbers,
    heard: Numbers,
}

impl Direction {
    fn seeded(seed: u64) -> Self {
        Self { said: Numbers::seeded(seed), heard: Numbers::seeded(seed) }
    }

    fn carry(&mut self, from: &mut Peer, to: &mut Peer, total: u64) {
        thread::scope(|scope| {
            scope.spawn(|| self.said.write_to(from, total));
            self.heard.check_from(to, total);
        });
    }
}

/// A session, as seen from who ends it.
struct Session {
    lb: Ringway,
    ender: Ender,
    /// The side that ends it.
    near: Peer,
    /// The other one.
    far: Peer,
    /// From near to far.
    there: Direction,
    /// From far to near.
    back: Direction,
}

impl Session {
    fn new(ender: Ender, way: Way, server: &Server, client: fn(&Ringway) -> Peer) -> Self {
        let copies = matches!(way, Way::Copied).then_some("--no-splice");
        let lb = Ringway::to([server.address()]).with(["--peek", "none"]).with(copies).start();
        let (client, session) = (client(&lb), server.accept());
        let (near, far) = match ender {
            Ender::Client => (client, session),
            Ender::Server => (session, client),
        };
        Self { lb, ender, near, far, there: Direction::seeded(1), back: Direction::seeded(2) }
    }

    /// Gets bytes moving in that way.
    fn warm_up(&mut self, way: Way) {
        let Self { near, far, there, back, .. } = self;
        for _ in 0..3 {
            if !matches!(way, Way::Copied) {
                there.carry(near, far, 512 * KIB);
                back.carry(far, near, 512 * KIB);
            }
            if !matches!(way, Way::Spliced) {
                for _ in 0..5 {
                    there.carry(near, far, 8);
                    back.carry(far, near, 8);
                }
            }
        }
    }

    /// Near ends it; what is left.
    fn end(self, by: impl FnOnce(Peer)) -> Ended {
        let client = match self.ender {
            Ender::Client => self.near.address(),
            Ender::Server => self.far.address(),
        };
        by(self.near);
        let Self { lb, ender, far, there, .. } = self;
        Ended { lb, ender, client, far, there }
    }
}

/// A session that one side has ended.
struct Ended {
    lb: Ringway,
    ender: Ender,
    client: SocketAddr,
    far: Peer,
    there: Direction,
}

impl Ended {
    /// The log says who did it, and what: `reset` or `closed`.
    #[track_caller]
    fn assert_reason(&self, what: &str) {
        let who = match self.ender {
            Ender::Client => "client",
            Ender::Server => "server",
        };
        assert_eq!(self.lb.session_of(self.client).get("reason"), format!("{who}_{what}"));
    }
}

/// Says which of many sessions it was that failed.
struct Which(Ender, Way);

impl Drop for Which {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("with bytes {:?}, ended by the {:?}", self.1, self.0);
        }
    }
}

/// Each way, each side, after bytes have gone both ways.
fn everywhere(run: impl Fn(Session)) {
    for way in [Way::Copied, Way::Spliced, Way::Changing] {
        for ender in [Ender::Client, Ender::Server] {
            let _which = Which(ender, way);
            let mut session = Session::new(ender, way, &Server::listen(), Ringway::client);
            session.warm_up(way);
            run(session);
        }
    }
}

/// As [`everywhere`], with so little room that who is not read is soon stuck.
fn everywhere_narrow(run: impl Fn(Session)) {
    for way in [Way::Copied, Way::Spliced, Way::Changing] {
        for ender in [Ender::Client, Ender::Server] {
            let _which = Which(ender, way);
            let server = Server::listen_narrow();
            let mut session = Session::new(ender, way, &server, Ringway::narrow_client);
            session.warm_up(way);
            run(session);
        }
    }
}

/// Speaks to one who reads nothing, until nothing has gone for a while; bytes that went, and those
/// that were about to.
fn say_until_stuck(peer: &mut Peer, direction: &mut Direction) -> (u64, Vec<u8>) {
    peer.set_timeout(Duration::from_millis(500));
    let (mut chunk, mut total) = (vec![0; 64 << 10], 0);
    let left = 'stuck: loop {
        direction.said.fill(&mut chunk);
        let mut sent = 0;
        while sent < chunk.len() {
            match peer.write(&chunk[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    total += sent as u64;
                    break 'stuck chunk.split_off(sent);
                }
                Err(error) => panic!("{error}"),
            }
        }
        total += sent as u64;
    };
    peer.set_timeout(DEADLINE);
    (total, left)
}

#[test]
fn an_eof_comes_behind_every_byte_and_the_other_half_lives_on() {
    everywhere(|mut session| {
        let Session { near, far, there, back, .. } = &mut session;
        there.carry(near, far, MIB);
        near.shutdown_write();
        far.expect_eof();
        back.carry(far, near, MIB);
        back.carry(far, near, 8);
        far.shutdown_write();
        near.expect_eof();
        session.end(drop).assert_reason("closed");
    });
}

#[test]
fn a_reader_that_stalls_gets_every_byte_and_then_the_eof() {
    everywhere_narrow(|mut session| {
        let Session { near, far, there, back, .. } = &mut session;
        let (said, left) = say_until_stuck(near, there);
        thread::scope(|scope| {
            scope.spawn(|| {
                near.send(&left);
                near.shutdown_write();
            });
            let all = said + left.len() as u64;
            assert_eq!(there.heard.check_out(far), (all, ErrorKind::UnexpectedEof));
        });
        back.carry(far, near, MIB);
        far.shutdown_write();
        near.expect_eof();
        session.end(drop).assert_reason("closed");
    });
}

#[test]
fn a_reset_reaches_the_other_side_behind_the_bytes_that_were_read() {
    everywhere(|mut session| {
        let Session { near, far, there, .. } = &mut session;
        there.carry(near, far, MIB);
        let mut ended = session.end(Peer::reset);
        ended.far.expect_reset();
        ended.assert_reason("reset");
    });
}

#[test]
fn a_servers_reset_reaches_the_client_behind_the_bytes_that_nobody_has_read() {
    everywhere(|mut session| {
        if session.ender == Ender::Client {
            return;
        }
        session.there.said.write_to(&mut session.near, 256 * KIB);
        let near = &session.near;
        eventually("what was said is gone", || (near.unacknowledged() == 0).then_some(()));
        let mut ended = session.end(Peer::reset);
        let heard = ended.there.heard.check_out(&mut ended.far);
        assert_eq!(heard, (256 * KIB, ErrorKind::ConnectionReset));
        ended.assert_reason("reset");
    });
}

#[test]
fn a_reset_stops_who_still_sends() {
    everywhere(|mut session| {
        let mut flood = session.far.try_clone();
        let flooding = thread::spawn(move || flood.expect_reset_while_sending());
        session.near.read_exact(&mut vec![0; 300 << 10]).expect("a flood");
        let ended = session.end(Peer::reset);
        flooding.join().expect("the flood was reset");
        ended.assert_reason("reset");
    });
}

#[test]
fn a_reset_of_who_is_stuck_is_noticed_though_nobody_reads() {
    everywhere_narrow(|mut session| {
        let (said, _) = say_until_stuck(&mut session.near, &mut session.there);
        let arrived = said - u64::from(session.near.unacknowledged());
        let mut ended = session.end(Peer::reset);
        if ended.ender == Ender::Client {
            let (far, since, mut has_asked) = (&mut ended.far, Instant::now(), false);
            eventually("the server is reset at once", || {
                // Behind a window that is shut the kernel may take the reset for a forged one and
                // ask back (RFC 5961 section 3.2), but no more than twice a second (sysctl
                // net.ipv4.tcp_invalid_ratelimit). Whatever is said to the client asks again.
                if !has_asked && since.elapsed() > Duration::from_secs(1) {
                    has_asked = true;
                    far.send(b"?");
                }
                far.is_hung_up().then_some(())
            });
        }
        let (heard, end) = ended.there.heard.check_out(&mut ended.far);
        assert_eq!(end, ErrorKind::ConnectionReset, "behind {heard} of {said} bytes");
        // A client is owed what its server has said; a server whose client is gone owes nobody.
        let owed = if ended.ender == Ender::Server { arrived } else { 0 };
        assert!((owed..=said).contains(&heard), "{heard} of {said}, of which {arrived} arrived");
        ended.assert_reason("reset");
    });
}

#[test]
fn a_reset_of_who_does_not_read_is_noticed_by_who_is_stuck() {
    everywhere_narrow(|mut session| {
        say_until_stuck(&mut session.far, &mut session.back);
        let mut ended = session.end(Peer::reset);
        ended.far.expect_reset_while_sending();
        ended.assert_reason("reset");
    });
}

#[test]
fn a_reset_behind_an_eof_is_noticed() {
    everywhere(|mut session| {
        session.near.shutdown_write();
        session.far.expect_eof();
        let ended = session.end(Peer::reset);
        let far = &ended.far;
        eventually("the other side is reset", || far.is_hung_up().then_some(()));
        ended.assert_reason("reset");
    });
}

#[test]
fn a_reset_of_who_was_told_eof_is_passed_on() {
    everywhere(|mut session| {
        session.far.shutdown_write();
        session.near.expect_eof();
        let Session { near, far, there, .. } = &mut session;
        there.carry(near, far, 256 * KIB);
        let mut ended = session.end(Peer::reset);
        ended.far.expect_reset();
        ended.assert_reason("reset");
    });
}

#[test]
fn an_urgent_byte_goes_and_the_bytes_around_it_stay() {
    everywhere(|mut session| {
        let Session { near, far, there, back, .. } = &mut session;
        there.carry(near, far, 64 * KIB);
        near.send_urgent(b'!');
        there.carry(near, far, 8);
        there.carry(near, far, MIB);
        // Nothing but it: nobody is waiting for more.
        near.send_urgent(b'!');
        back.carry(far, near, MIB);
        near.shutdown_write();
        far.expect_eof();
        far.shutdown_write();
        near.expect_eof();
        session.end(drop).assert_reason("closed");
    });
}

#[test]
fn an_urgent_byte_hides_nothing_that_waits_behind_it() {
    everywhere_narrow(|mut session| {
        let Session { near, far, there, .. } = &mut session;
        let (said, left) = say_until_stuck(near, there);
        thread::scope(|scope| {
            scope.spawn(|| {
                near.send(&left);
                near.send_urgent(b'!');
                there.said.write_to(near, 8);
                near.shutdown_write();
            });
            // The EOF is there before anybody comes to the urgent byte.
            let all = said + left.len() as u64 + 8;
            assert_eq!(there.heard.check_out(far), (all, ErrorKind::UnexpectedEof));
        });
        far.shutdown_write();
        near.expect_eof();
        session.end(drop).assert_reason("closed");
    });
}

#[test]
fn sessions_without_a_byte_end_as_their_sides_do() {
    for ender in [Ender::Client, Ender::Server] {
        let joined = || {
            let (way, server) = (Way::Changing, Server::listen());
            (Which(ender, way), Session::new(ender, way, &server, Ringway::client))
        };
        let (_which, mut session) = joined();
        session.near.shutdown_write();
        session.far.expect_eof();
        session.far.shutdown_write();
        session.near.expect_eof();
        let ended = session.end(drop);
        ended.assert_reason("closed");
        let line = ended.lb.session_of(ended.client);
        assert_eq!((line.number("bytes_up"), line.number("bytes_down")), (0, 0));

        let (_which, session) = joined();
        let mut ended = session.end(Peer::reset);
        ended.far.expect_reset();
        ended.assert_reason("reset");
    }
}

/// A server that has seen enough of an upload answers and goes; how, says `goes`.
fn answers_early(goes: impl Fn(&mut Peer), may_end: &[ErrorKind]) {
    everywhere(|mut session| {
        if session.ender == Ender::Client {
            return;
        }
        let mut upload = session.far.try_clone();
        let uploading = thread::spawn(move || {
            loop {
                if let Err(error) = upload.write(&[0; 16 << 10]) {
                    return error.kind();
                }
            }
        });
        session.near.read_exact(&mut vec![0; 300 << 10]).expect("an upload");
        session.there.said.write_to(&mut session.near, 16 * KIB);
        let near = &session.near;
        eventually("the answer has gone", || (near.unacknowledged() == 0).then_some(()));
        eventually("more of the upload", || near.is_readable().then_some(()));
        let mut ended = session.end(|mut near| goes(&mut near));
        let (heard, end) = ended.there.heard.check_out(&mut ended.far);
        assert_eq!(heard, 16 * KIB, "the answer");
        // Whichever looked first was told: the kernel tells once.
        let told = uploading.join().expect("the upload ended");
        let end = if told == ErrorKind::ConnectionReset { told } else { end };
        assert!(may_end.contains(&end), "{end:?}");
    });
}

#[test]
fn a_server_that_answers_early_and_closes_is_heard() {
    // Closing with bytes unread resets the connection, behind the answer.
    answers_early(|_| {}, &[ErrorKind::ConnectionReset]);
}

#[test]
fn a_server_that_answers_early_says_eof_and_closes_is_heard() {
    let either = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset];
    answers_early(Peer::shutdown_write, &either);
}

#[test]
fn a_client_of_a_unix_socket_that_has_left_is_noticed() {
    let files = tempfile::tempdir().expect("a directory");
    let listen = files.path().join("listen.sock");
    let server = Server::listen();
    let lb = Ringway::listening_on(&format!("unix:{}", listen.display()), [server.address()])
        .with(["--peek", "none"])
        .start();
    let mut client = Peer::connect_unix(&listen);
    client.send(b"all I have to say");
    drop(client);
    let mut session = server.accept();
    session.expect(b"all I have to say");
    session.expect_eof();
    eventually("the server is reset", || session.is_hung_up().then_some(()));
    assert_eq!(lb.session().get("reason"), "client_reset");
}
