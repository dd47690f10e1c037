//! The contract of `Engine`, row by row, on real sockets: every engine has to pass.

mod bench;

use std::io::{IoSlice, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use socket2::{Domain, SockRef, Socket, Type};

use super::buffers::BUFFERS;
use super::mailbox::Mailbox;
use super::*;
use crate::config::Address;
use bench::{Bench, Near, OPTIONS, listen, on_every_engine, reset};

const POLLERR: u32 = 0x8;

#[test]
fn a_receive_brings_what_comes_and_then_the_end() {
    on_every_engine(&[], |bench| {
        for patience in [Patience::Try, Patience::Wait] {
            let (near, mut far) = bench.tcp(1);
            bench.start_receive(&near, patience);
            bench.nothing_completes();
            far.write_all(b"first").unwrap();
            assert_eq!(bench.received(&near).unwrap(), b"first");
            far.write_all(b"second").unwrap();
            assert_eq!(bench.receive(&near, patience).unwrap(), b"second");
            // The end is there together with the last bytes.
            far.write_all(b"last").unwrap();
            drop(far);
            let mut last = Vec::new();
            loop {
                let bytes = bench.receive(&near, patience).unwrap();
                if bytes.is_empty() {
                    break;
                }
                last.extend(bytes);
            }
            assert_eq!(last, b"last");
        }
    });
}

#[test]
fn a_stream_brings_everything_in_order_until_it_ends() {
    on_every_engine(&[], |bench| {
        let (near, mut far) = bench.tcp(1);
        let writer = thread::spawn(move || {
            for number in 0..2_000u32 {
                far.write_all(&number.to_be_bytes()).unwrap();
            }
        });
        let mut bytes = Vec::new();
        bench.start_receive(&near, Patience::Stream);
        loop {
            let completion = bench.completion(near.token(Kind::Receive));
            let len = completion.result.unwrap();
            if let Some(buffer) = completion.buffer {
                bytes.extend_from_slice(bench.engine.bytes(buffer, len));
                bench.engine.release(buffer);
            }
            if len == 0 {
                assert!(!completion.more);
                break;
            }
            if !completion.more {
                bench.start_receive(&near, Patience::Stream);
            }
        }
        writer.join().unwrap();
        let expected: Vec<u8> = (0..2_000u32).flat_map(u32::to_be_bytes).collect();
        assert!(bytes == expected);
    });
}

#[test]
fn a_unix_socket_is_read_to_its_end() {
    on_every_engine(&[], |bench| {
        let (near, mut far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let near = Near { socket: Fd::new(near.as_raw_fd()), slot: 1 };
        far.write_all(b"one").unwrap();
        assert_eq!(bench.receive(&near, Patience::Try).unwrap(), b"one");
        bench.start_receive(&near, Patience::Wait);
        bench.nothing_completes();
        far.write_all(b"two").unwrap();
        assert_eq!(bench.received(&near).unwrap(), b"two");
        // The kernel stops behind bytes that carry a descriptor.
        let (bytes, fds) = ([IoSlice::new(b"with")], [far.as_raw_fd()]);
        let rights = [ControlMessage::ScmRights(&fds)];
        sendmsg::<()>(far.as_raw_fd(), &bytes, &rights, MsgFlags::empty(), None).unwrap();
        far.write_all(b"without").unwrap();
        let mut both = Vec::new();
        while both.len() < 11 {
            both.extend(bench.receive(&near, Patience::Wait).unwrap());
        }
        assert_eq!(both, b"withwithout");
        drop(far);
        assert_eq!(bench.receive(&near, Patience::Wait).unwrap(), b"");
    });
}

#[test]
fn a_reset_is_told_to_receives_and_to_who_waits_for_trouble() {
    on_every_engine(&[], |bench| {
        let (near, mut far) = bench.tcp(1);
        bench.start_wait(&near, Kind::HangUp);
        far.write_all(b"bytes are no trouble").unwrap();
        far.shutdown(std::net::Shutdown::Write).unwrap();
        bench.nothing_completes();
        assert_eq!(bench.cancel(near.token(Kind::HangUp)), Err(Fault::Cancelled));
        bench.start_wait(&near, Kind::HangUp);
        bench.nothing_completes();
        reset(far);
        let mask = bench.completion(near.token(Kind::HangUp)).result.unwrap();
        assert!(mask & POLLERR != 0);
        // It has been told once, and is so still.
        bench.start_wait(&near, Kind::HangUp);
        assert!(bench.completion(near.token(Kind::HangUp)).result.unwrap() & POLLERR != 0);
        bench.nothing_completes();
        let (near, far) = bench.tcp(2);
        bench.start_receive(&near, Patience::Wait);
        bench.nothing_completes();
        reset(far);
        assert_eq!(bench.received(&near), Err(Fault::Reset));
    });
}

#[test]
fn everything_pending_on_a_socket_completes_once_when_it_breaks() {
    on_every_engine(&[], |bench| {
        let (near, mut far) = bench.tcp(1);
        bench.fill(&near, &mut far);
        bench.start_receive(&near, Patience::Wait);
        let op = Op::SendAll { socket: near.socket, bytes: vec![7; 1 << 20], full: true };
        bench.start(near.token(Kind::SendAll), op);
        bench.start_wait(&near, Kind::HangUp);
        bench.nothing_completes();
        reset(far);
        // Whoever is first takes the error with it.
        let received = bench.received(&near);
        assert!(matches!(&received, Err(Fault::Reset)) || received == Ok(Vec::new()));
        let sent = bench.completion(near.token(Kind::SendAll)).result;
        assert!(sent.is_err() || sent.is_ok_and(|sent| sent < 1 << 20), "{sent:?}");
        bench.completion(near.token(Kind::HangUp)).result.unwrap();
        bench.nothing_completes();
    });
}

#[test]
fn who_sends_all_waits_for_room_and_nobody_else_does() {
    on_every_engine(&[], |bench| {
        for full in [true, false] {
            let (near, mut far) = bench.tcp(1);
            let before = bench.fill(&near, &mut far);
            let bytes = vec![b'a'; 3 << 20];
            let len = bytes.len() as u32;
            let op = Op::SendAll { socket: near.socket, bytes, full };
            bench.start(near.token(Kind::SendAll), op);
            bench.nothing_completes();
            let reader = thread::spawn(move || {
                let mut all = vec![0; before as usize + len as usize];
                far.read_exact(&mut all).unwrap();
                all.split_off(before as usize)
            });
            assert_eq!(bench.completion(near.token(Kind::SendAll)).result, Ok(len));
            assert!(reader.join().unwrap().iter().all(|&byte| byte == b'a'));
        }
    });
}

#[test]
fn room_and_bytes_are_told_when_they_are_there() {
    on_every_engine(&[], |bench| {
        let (near, mut far) = bench.tcp(1);
        bench.start_wait(&near, Kind::Readable);
        bench.nothing_completes();
        far.write_all(b"bytes").unwrap();
        bench.completion(near.token(Kind::Readable)).result.unwrap();
        bench.start_wait(&near, Kind::Readable);
        bench.completion(near.token(Kind::Readable)).result.unwrap();
        assert_eq!(bench.receive(&near, Patience::Try).unwrap(), b"bytes");
        bench.start_wait(&near, Kind::Readable);
        bench.start_wait(&near, Kind::Room);
        bench.completion(near.token(Kind::Room)).result.unwrap();
        bench.nothing_completes();
        far.write_all(b"more").unwrap();
        bench.completion(near.token(Kind::Readable)).result.unwrap();
        assert_eq!(bench.receive(&near, Patience::Try).unwrap(), b"more");
        let filled = bench.fill(&near, &mut far);
        bench.start_wait(&near, Kind::Room);
        bench.nothing_completes();
        far.read_exact(&mut vec![0; filled as usize]).unwrap();
        bench.completion(near.token(Kind::Room)).result.unwrap();
    });
}

#[test]
fn a_cancelled_operation_completes_and_the_socket_goes_on() {
    on_every_engine(&[], |bench| {
        let (near, mut far) = bench.tcp(1);
        for patience in [Patience::Try, Patience::Wait, Patience::Stream] {
            bench.start_receive(&near, patience);
            bench.nothing_completes();
            assert_eq!(bench.cancel(near.token(Kind::Receive)), Err(Fault::Cancelled));
            far.write_all(b"bytes").unwrap();
            assert_eq!(bench.receive(&near, Patience::Try).unwrap(), b"bytes");
        }
        for kind in [Kind::Readable, Kind::HangUp] {
            bench.start_wait(&near, kind);
            bench.nothing_completes();
            assert_eq!(bench.cancel(near.token(kind)), Err(Fault::Cancelled));
        }
        bench.fill(&near, &mut far);
        bench.start_wait(&near, Kind::Room);
        assert_eq!(bench.cancel(near.token(Kind::Room)), Err(Fault::Cancelled));
        let op = Op::SendAll { socket: near.socket, bytes: vec![7; 1 << 20], full: true };
        bench.start(near.token(Kind::SendAll), op);
        assert_eq!(bench.cancel(near.token(Kind::SendAll)), Err(Fault::Cancelled));
        // Nobody has that any more: nothing but the cancel completes.
        let token = near.token(Kind::Cancel);
        bench.start(token, Op::Cancel { target: near.token(Kind::SendAll) });
        bench.completion(token).result.unwrap_err();
        bench.nothing_completes();
    });
}

#[test]
fn clients_are_accepted_one_at_a_time_or_as_they_come() {
    on_every_engine(&[], |bench| {
        let (listener, address) = listen();
        let connect = || TcpStream::connect(address).unwrap();
        let token = Token::new(3, 0, Kind::Accept, Side::Client);
        let clients = [connect(), connect()];
        for _ in &clients {
            bench.start(token, Op::Accept { listener, once: true });
            let (accepted, more) = bench.accepted(token);
            assert!(!more);
            bench.nothing_completes();
            bench.done(Op::Close { socket: accepted, farewell: Farewell::Orderly }).unwrap();
        }
        bench.start(token, Op::Accept { listener, once: false });
        bench.nothing_completes();
        for slot in 1..4 {
            let mut far = connect();
            let (accepted, more) = bench.accepted(token);
            assert!(more);
            far.write_all(b"hello").unwrap();
            let near = Near { socket: accepted, slot };
            assert_eq!(bench.receive(&near, Patience::Wait).unwrap(), b"hello");
            let client = bench.engine.client_address(accepted);
            assert_eq!(client, Some(far.local_addr().unwrap()));
            bench.done(Op::Close { socket: accepted, farewell: Farewell::Orderly }).unwrap();
        }
        assert_eq!(bench.cancel(token), Err(Fault::Cancelled));
        let _waiting = connect();
        bench.nothing_completes();
        bench.start(token, Op::Accept { listener, once: false });
        bench.accepted(token);
        bench.cancel(token).unwrap_err();
        // The rest, before the listener is closed.
        assert_eq!(bench.done(Op::AcceptNow { listener }), Err(Fault::WouldBlock));
        let mut far = connect();
        far.write_all(b"hello").unwrap();
        let accepted = bench.done(Op::AcceptNow { listener }).unwrap();
        assert_eq!(bench.done(Op::AcceptNow { listener }), Err(Fault::WouldBlock));
        bench.done(Op::Close { socket: listener, farewell: Farewell::Orderly }).unwrap();
        let near = Near { socket: Fd::new(accepted.cast_signed()), slot: 1 };
        assert_eq!(bench.receive(&near, Patience::Wait).unwrap(), b"hello");
    });
}

#[test]
fn a_receive_without_a_free_buffer_says_so_and_loses_nothing() {
    on_every_engine(&[], |bench| {
        let (near, mut far) = bench.tcp(1);
        let mut held = Vec::new();
        for number in 0..BUFFERS {
            far.write_all(&[number as u8]).unwrap();
            bench.start_receive(&near, Patience::Try);
            let completion = bench.completion(near.token(Kind::Receive));
            assert_eq!(completion.result, Ok(1));
            held.push(completion.buffer.unwrap());
        }
        far.write_all(b"one too many").unwrap();
        assert_eq!(bench.receive(&near, Patience::Try), Err(Fault::NoBuffers));
        bench.nothing_completes();
        for (number, &buffer) in held.iter().enumerate() {
            assert_eq!(bench.engine.bytes(buffer, 1), [number as u8]);
        }
        bench.engine.release(held.remove(7));
        assert_eq!(bench.receive(&near, Patience::Try).unwrap(), b"one too many");
    });
}

#[test]
fn an_urgent_byte_hides_nothing_behind_it() {
    on_every_engine(&[], |bench| {
        let (near, mut far) = bench.tcp(1);
        let urgent = |far: &TcpStream| SockRef::from(far).send_out_of_band(b"!").unwrap();
        for patience in [Patience::Try, Patience::Wait] {
            far.write_all(b"before").unwrap();
            urgent(&far);
            far.write_all(b"behind").unwrap();
            let mut bytes = Vec::new();
            while bytes.len() < 12 {
                bytes.extend(bench.receive(&near, patience).unwrap());
            }
            assert_eq!(bytes, b"beforebehind");
        }
        let pipe = PipeId(bench.done(Op::TakePipe).unwrap());
        urgent(&far);
        far.write_all(b"spliced?").unwrap();
        bench.start_wait(&near, Kind::Readable);
        bench.completion(near.token(Kind::Readable)).result.unwrap();
        let op = Op::SpliceIn { socket: near.socket, pipe, most: 100 };
        assert_eq!(bench.done(op), Err(Fault::WouldBlock));
        assert_eq!(bench.receive(&near, Patience::Try).unwrap(), b"spliced?");
        bench.done(Op::ReturnPipe { pipe, empty: true }).unwrap();
    });
}

#[test]
fn splices_move_bytes_and_waits_between_them_are_true() {
    on_every_engine(&[], |bench| {
        let (near, mut far) = bench.tcp(1);
        let (other, mut beyond) = bench.tcp(2);
        let pipe = PipeId(bench.done(Op::TakePipe).unwrap());
        for _ in 0..3 {
            bench.start_wait(&near, Kind::Readable);
            bench.nothing_completes();
            far.write_all(b"spliced").unwrap();
            bench.completion(near.token(Kind::Readable)).result.unwrap();
            let op = Op::SpliceIn { socket: near.socket, pipe, most: 100 };
            assert_eq!(bench.done(op), Ok(7));
            let op = Op::SpliceOut { pipe, socket: other.socket, exactly: 7 };
            assert_eq!(bench.done(op), Ok(7));
            let mut bytes = [0; 7];
            beyond.read_exact(&mut bytes).unwrap();
            assert_eq!(&bytes, b"spliced");
        }
        // Until there is no room beyond; the pipe then holds what is left.
        let (mut sent, mut left) = (0, 0);
        while left == 0 {
            far.write_all(&[b's'; 8 << 10]).unwrap();
            bench.start_wait(&near, Kind::Readable);
            bench.completion(near.token(Kind::Readable)).result.unwrap();
            let op = Op::SpliceIn { socket: near.socket, pipe, most: 8 << 10 };
            left = bench.done(op).unwrap();
            while left > 0 {
                let op = Op::SpliceOut { pipe, socket: other.socket, exactly: left };
                let Ok(moved) = bench.done(op) else { break };
                (sent, left) = (sent + moved as usize, left - moved);
            }
        }
        bench.start_wait(&other, Kind::Room);
        bench.nothing_completes();
        beyond.read_exact(&mut vec![0; sent]).unwrap();
        bench.completion(other.token(Kind::Room)).result.unwrap();
        let op = Op::SpliceOut { pipe, socket: other.socket, exactly: left };
        assert_eq!(bench.done(op), Ok(left));
        beyond.read_exact(&mut vec![0; left as usize]).unwrap();
    });
}

#[test]
fn servers_are_connected_to_from_where_it_is_wanted_and_from_elsewhere_without_ports() {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let peer = PeerId(0);
    on_every_engine(&[Address::Tcp(server.local_addr().unwrap())], |bench| {
        let listed: SourceList = Some(["127.0.0.5".parse().unwrap()].into());
        for (slot, (sources, next, from)) in
            // In turn, and the list has had one.
            (0..).zip([(None, false, 1), (listed, false, 5), (None, true, 3)])
        {
            let open = Op::Open { peer, sources: sources.clone(), data_in_hand: false };
            let socket = Fd::new(bench.done(open).unwrap().cast_signed());
            if next {
                bench.done(Op::NextSource { socket, peer, sources }).unwrap();
            }
            let token = Near { socket, slot }.token(Kind::Connect);
            bench.result(token, Op::Connect { socket, peer }).unwrap();
            let (_, client) = server.accept().unwrap();
            assert_eq!(client.ip(), Ipv4Addr::new(127, 0, 0, from));
            bench.done(Op::Close { socket, farewell: Farewell::Orderly }).unwrap();
        }
    });
}

#[test]
fn servers_are_connected_to_and_ended_sockets_serve_again() {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (closed, nobody) = listen();
    socket::close(closed, Farewell::Orderly);
    let peers = [server.local_addr().unwrap(), nobody].map(Address::Tcp);
    on_every_engine(&peers, |bench| {
        let open = |bench: &mut Bench, peer, slot| {
            let op = Op::Open { peer: PeerId(peer), sources: None, data_in_hand: false };
            let socket = Fd::new(bench.done(op).unwrap().cast_signed());
            let near = Near { socket, slot };
            let op = Op::Connect { socket, peer: PeerId(peer) };
            (bench.result(near.token(Kind::Connect), op), near)
        };
        let mut first = None;
        for slot in 0..4 {
            let (connected, near) = open(bench, 0, slot);
            connected.unwrap();
            let (mut far, _) = server.accept().unwrap();
            assert_eq!(*first.get_or_insert(near.socket), near.socket, "it serves again");
            far.write_all(b"hello").unwrap();
            assert_eq!(bench.receive(&near, Patience::Wait).unwrap(), b"hello");
            let op = Op::SendAll { socket: near.socket, bytes: b"hi".to_vec(), full: false };
            assert_eq!(bench.result(near.token(Kind::SendAll), op), Ok(2));
            far.read_exact(&mut [0; 2]).unwrap();
            drop(far);
            assert_eq!(bench.receive(&near, Patience::Wait).unwrap(), b"");
            bench.done(Op::Close { socket: near.socket, farewell: Farewell::Ended }).unwrap();
            bench.nothing_completes();
        }
        let (refused, near) = open(bench, 1, 9);
        assert_eq!(refused, Err(Fault::Refused));
        bench.done(Op::Close { socket: near.socket, farewell: Farewell::Reset }).unwrap();
        // Nobody takes more than one client there, so the next is still on its way.
        let busy = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
        busy.bind(&SocketAddr::from((Ipv6Addr::LOCALHOST, 0)).into()).unwrap();
        busy.listen(0).unwrap();
        let address = busy.local_addr().unwrap().as_socket().unwrap();
        let _first = TcpStream::connect(address).unwrap();
        bench.engine.adopt(&[Address::Tcp(address)], OPTIONS).unwrap();
        let op = Op::Open { peer: PeerId(2), sources: None, data_in_hand: true };
        let near = Near { socket: Fd::new(bench.done(op).unwrap().cast_signed()), slot: 10 };
        let op = Op::Connect { socket: near.socket, peer: PeerId(2) };
        bench.start(near.token(Kind::Connect), op);
        bench.nothing_completes();
        assert_eq!(bench.cancel(near.token(Kind::Connect)), Err(Fault::Cancelled));
        bench.done(Op::Close { socket: near.socket, farewell: Farewell::Reset }).unwrap();
    });
}

#[test]
fn mail_is_told_as_long_as_there_is_some() {
    on_every_engine(&[], |bench| {
        let mailbox = Mailbox::new().unwrap();
        let token = Token::new(0, 0, Kind::Mail, Side::Client);
        let op = || Op::AwaitMail { mailbox: Fd::new(mailbox.number()) };
        bench.start(token, op());
        bench.nothing_completes();
        for _ in 0..2 {
            mailbox.ring();
            bench.completion(token).result.unwrap();
            bench.start(token, op());
        }
        bench.completion(token).result.unwrap();
    });
}
