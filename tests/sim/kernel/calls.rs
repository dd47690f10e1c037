//! What is done at once: pipes, splice(2), shutdown(2), close(2).

use super::*;
use crate::records::GIVEN_UP_US;

impl World {
    pub(super) fn at_once(&mut self, op: Op) -> Result<u32, Fault> {
        match op {
            Op::TakePipe => {
                if let Some(fault) = self.shortage() {
                    return Err(fault);
                }
                self.pipes.push(Some(VecDeque::new()));
                Ok(self.pipes.len() as u32 - 1)
            }
            Op::ReturnPipe { pipe, empty } => {
                let held = self.pipes[pipe.0 as usize].take().expect("a pipe is returned once");
                assert!(!empty || held.is_empty(), "a pipe that holds bytes was called empty");
                Ok(0)
            }
            Op::SpliceIn { socket, pipe, most } => {
                let (count, inbox) = self.splice_in(socket, most)?;
                let pipe = self.pipes[pipe.0 as usize].as_mut().expect("the pipe was taken");
                pipe.extend(inbox);
                Ok(count)
            }
            Op::SpliceOut { pipe, socket, exactly } => {
                self.splice_out(pipe.0 as usize, socket, exactly)
            }
            Op::Unsent { socket } => {
                if self.random.one_in(self.machine.rates.looks) {
                    self.link(socket).unlooked = true;
                    return Err(one_of(machine::CALL, &mut self.random));
                }
                Ok(self.link(socket).outbox.len() as u32)
            }
            Op::Shutdown { socket } => {
                let shut = &mut self.sockets.get_mut(&socket.number()).expect("checked").shut;
                assert!(!std::mem::replace(shut, true), "EOF is said once");
                let number = socket.number();
                let sends = |p: &Pending| {
                    matches!(p.op, Op::Send { .. } | Op::SendAll { .. })
                        && socket_of(&p.op).map(Fd::number) == Some(number)
                };
                assert!(!self.pending.iter().any(sends), "EOF is said before the last byte");
                if self.link(socket).dead {
                    return Err(Fault::from_errno(libc::ENOTCONN));
                }
                self.link(socket).fin_out = true;
                Ok(0)
            }
            Op::AcceptNow { listener } => {
                // Whoever still waits is reset with the socket.
                self.may_cut_off |= self.is_short_of_descriptors();
                let number = (listener.number() - LISTENERS_AT) as usize;
                let Some(&link) = self.backlog[number].front().filter(|_| !self.may_cut_off) else {
                    return Err(Fault::WouldBlock);
                };
                self.backlog[number].pop_front();
                self.links[link].edition = self.editions[number];
                Ok(self.open(Some(link), None))
            }
            Op::Close { socket, farewell } => {
                self.close(socket, farewell);
                Ok(0)
            }
            other => unreachable!("{other:?} waits"),
        }
    }

    fn splice_in(&mut self, socket: Fd, most: u32) -> Result<(u32, Vec<u8>), Fault> {
        let count = 1 + self.random.below(u64::from(most)) as usize;
        if let Some(fault) = self.call_fails(socket, self.machine.rates.splices, machine::CALL) {
            return Err(fault);
        }
        let link = self.link(socket);
        if link.urgent {
            return if link.fin_in { Ok((0, Vec::new())) } else { Err(Fault::WouldBlock) };
        }
        if !link.inbox.is_empty() {
            let bytes: Vec<u8> = link.inbox.drain(..count.min(link.inbox.len())).collect();
            link.taken += bytes.len() as u64;
            return Ok((bytes.len() as u32, bytes));
        }
        link.end().unwrap_or(Err(Fault::WouldBlock)).map(|()| (0, Vec::new()))
    }

    fn splice_out(&mut self, pipe: usize, socket: Fd, exactly: u32) -> Result<u32, Fault> {
        let held = self.pipes[pipe].as_ref().expect("the pipe was taken").len();
        assert_eq!(held, exactly as usize, "exactly what the pipe holds");
        assert!(!self.sockets[&socket.number()].shut, "a splice behind EOF");
        let count = 1 + self.random.below(held as u64 * 2) as usize;
        let swallows = held > 1 && self.random.one_in(4);
        if let Some(fault) = self.call_fails(socket, self.machine.rates.splices, machine::CALL) {
            return Err(fault);
        }
        let link = self.link(socket);
        if link.dead {
            let fault = link.failure();
            if !swallows || fault == Fault::Broken {
                return Err(fault);
            }
            // It came between two segments of one splice, which tells of those that went.
            let lost = self.pipes[pipe].as_mut().expect("as above").drain(..count.min(held - 1));
            return Ok(lost.len() as u32);
        }
        let count = count.min(link.room()).min(held);
        if count == 0 {
            return Err(Fault::WouldBlock);
        }
        let bytes = self.pipes[pipe].as_mut().expect("as above").drain(..count);
        let bytes: Vec<u8> = bytes.collect();
        let link = self.link(socket);
        link.given += bytes.len() as u64;
        link.outbox.extend(bytes);
        Ok(count as u32)
    }

    /// A call on a connection that stands fails all the same, now and then.
    pub(super) fn call_fails(&mut self, socket: Fd, rate: u64, errnos: &[i32]) -> Option<Fault> {
        if self.link(socket).dead || !self.random.one_in(rate) {
            return None;
        }
        let fault = one_of(errnos, &mut self.random);
        Some(self.link(socket).fail(fault))
    }

    fn close(&mut self, socket: Fd, farewell: Farewell) {
        let number = socket.number();
        let waits = |p: &Pending| socket_of(&p.op).map_or(-1, Fd::number) == number;
        if let Some(pending) = self.pending.iter().find(|p| waits(p)) {
            panic!("closed while {:?} is pending", pending.op);
        }
        if let Some((_, late)) = self.told_later.iter().find(|(on, _)| *on == number) {
            panic!("closed while {late:?} is on its way");
        }
        let socket = self.sockets.remove(&number).expect("checked");
        if number < SOCKETS_AT {
            let waiting = std::mem::take(&mut self.backlog[(number - LISTENERS_AT) as usize]);
            assert!(waiting.is_empty() || self.may_cut_off, "who waits is reset: {waiting:?}");
            for link in waiting {
                self.links[link].closed = true;
                self.links[link].reset_by_us();
            }
        }
        if let Some(session) = socket.session {
            let open = self.open.get_mut(&session).expect("it was open");
            *open -= 1;
            if *open == 0 {
                self.open.remove(&session);
            }
        }
        let Some(link) = socket.link else { return };
        let number = link;
        let link = &self.links[number];
        if farewell == Farewell::Reset && link.side == Side::Client && !link.outbox.is_empty() {
            let is_idle = self.now_us - link.progress_us >= GIVEN_UP_US;
            let sides = link.session.and_then(|session| self.sessions.get(&session));
            let server = sides.and_then(|sides| sides[Side::Server as usize]);
            let has_failed = link.has_failed() || server.is_some_and(|at| self.links[at].failed);
            let is_known = !has_failed && !link.unlooked;
            // Whose time is up is cut off in the middle of what is being sent.
            let is_cut = self.kills || link.cut && (self.times_out || self.stopping);
            assert!(is_idle || is_cut || !is_known, "bytes thrown away with a reset: {link}");
        }
        let link = &mut self.links[number];
        link.closed = true;
        let ended = link.inbox.is_empty() && (link.fin_in || link.dead);
        assert!(farewell != Farewell::Ended || ended, "called ended before its EOF");
        if farewell == Farewell::Reset || !link.inbox.is_empty() {
            link.reset_by_us();
        } else {
            link.fin_out = true;
        }
    }
}
