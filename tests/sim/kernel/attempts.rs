//! How what is pending completes: sooner or later, in part, in any order.

use super::*;

impl World {
    pub(super) fn attempt(&mut self, pending: &mut Pending, memory: &mut [Box<[u8]>]) -> Attempt {
        let token = pending.token;
        if pending.cancelled && self.random.one_in(2) {
            let sent = pending.sent as u32;
            let result = if sent > 0 { Ok(sent) } else { Err(Fault::Cancelled) };
            return Attempt::Over(over(token, result));
        }
        if let Some(over) = self.attempt_fails(pending) {
            return Attempt::Over(over);
        }
        match &pending.op {
            Op::Accept { listener, once } => self.accept(token, *listener, *once),
            Op::Connect { socket, .. } => self.connect(token, *socket, pending),
            Op::Receive { socket, patience } => match self.receive(token, *socket, memory) {
                Attempt::Over(completion)
                    if *patience == Patience::Stream
                        && completion.buffer.is_some()
                        && !self.random.one_in(16) =>
                {
                    Attempt::More(Completion { more: true, ..completion })
                }
                attempt => attempt,
            },
            Op::Send { socket, buffer, from, to } => {
                let bytes = &memory[buffer.0 as usize][*from as usize..*to as usize];
                let result = self.send(*socket, bytes);
                Attempt::Over(over(token, result))
            }
            Op::SendAll { socket, bytes, .. } => match self.send(*socket, &bytes[pending.sent..]) {
                Err(Fault::WouldBlock) => Attempt::NotYet,
                Err(_) if pending.sent > 0 => Attempt::Over(over(token, Ok(pending.sent as u32))),
                Err(fault) => Attempt::Over(over(token, Err(fault))),
                Ok(sent) => {
                    pending.sent += sent as usize;
                    if pending.sent < bytes.len() {
                        return Attempt::NotYet;
                    }
                    Attempt::Over(over(token, Ok(pending.sent as u32)))
                }
            },
            Op::Await { socket, readiness } => {
                let link = self.link(*socket);
                let readable = u32::from(link.is_readable() && *readiness == Readiness::Readable);
                match readable | link.trouble() {
                    0 => Attempt::NotYet,
                    mask => Attempt::Over(over(token, Ok(mask))),
                }
            }
            Op::AwaitRoom { socket } => {
                let link = self.link(*socket);
                if link.room() == 0 && !link.dead {
                    return Attempt::NotYet;
                }
                Attempt::Over(over(token, Ok(4)))
            }
            Op::AwaitMail { .. } if self.rung => Attempt::Over(over(token, Ok(1))),
            _ => Attempt::NotYet,
        }
    }

    /// What stands may fail all the same: receives, sends and polls for want of memory.
    fn attempt_fails(&mut self, pending: &Pending) -> Option<Completion> {
        let rates = self.machine.rates;
        let (rate, errnos, socket) = match &pending.op {
            Op::Receive { socket, .. } if self.link(*socket).is_readable() => {
                (rates.receives, machine::CALL, *socket)
            }
            Op::Send { socket, .. } => (rates.sends, machine::SEND, *socket),
            // Why it broke behind the first bytes is not told.
            Op::SendAll { socket, .. } if pending.sent == 0 => {
                (rates.sends, machine::SEND, *socket)
            }
            // At every look, of which there are many.
            Op::Await { socket, .. } | Op::AwaitRoom { socket } => {
                (rates.polls.saturating_mul(16), machine::CALL, *socket)
            }
            Op::AwaitMail { .. } => {
                let fails = self.random.one_in(rates.polls.saturating_mul(256));
                let fault = one_of(machine::CALL, &mut self.random);
                return fails.then(|| over(pending.token, Err(fault)));
            }
            _ => return None,
        };
        let fault = self.call_fails(socket, rate, errnos)?;
        Some(over(pending.token, Err(fault)))
    }

    fn accept(&mut self, token: Token, listener: Fd, once: bool) -> Attempt {
        assert!(self.sockets.contains_key(&listener.number()), "accept on a closed descriptor");
        let number = (listener.number() - LISTENERS_AT) as usize;
        // A descriptor is taken before anybody is looked for.
        if self.is_short_of_descriptors() {
            return Attempt::Over(over(token, Err(Fault::NoDescriptors)));
        }
        if !self.stopping && self.random.one_in(self.machine.rates.accepts) {
            let fault = one_of(machine::ACCEPT, &mut self.random);
            return Attempt::Over(over(token, Err(fault)));
        }
        let Some(link) = self.backlog[number].pop_front() else { return Attempt::NotYet };
        self.links[link].edition = self.editions[number];
        let completion = over(token, Ok(self.open(Some(link), None)));
        if once || !self.stopping && self.random.one_in(16) {
            return Attempt::Over(completion);
        }
        Attempt::More(Completion { more: true, ..completion })
    }

    fn connect(&mut self, token: Token, socket: Fd, pending: &Pending) -> Attempt {
        let Op::Connect { peer, .. } = pending.op else { unreachable!("a connect") };
        match pending.fate {
            Fate::Stands { at_us } if at_us <= self.now_us => {
                let script = self.server_script(peer);
                let window_max = self.machine.window_max;
                let mut link = Link::new(Side::Server, script, &mut self.random, window_max);
                link.session = Some((token.slot(), token.generation()));
                link.peer = Some(peer);
                link.progress_us = self.now_us;
                self.links.push(link);
                let link = self.links.len() - 1;
                self.sockets.get_mut(&socket.number()).expect("it is open").link = Some(link);
                Attempt::Over(over(token, Ok(0)))
            }
            Fate::Fails { at_us, fault } if at_us <= self.now_us => {
                self.socket(socket).spent = fault == Fault::NoPorts;
                Attempt::Over(over(token, Err(fault)))
            }
            _ => Attempt::NotYet,
        }
    }

    fn receive(&mut self, token: Token, socket: Fd, memory: &mut [Box<[u8]>]) -> Attempt {
        let (size, full) = (self.machine.buffer_size as usize, !self.random.one_in(3));
        let (part, lies) = (1 + self.random.below(size as u64) as usize, self.random.one_in(8));
        let free = self.buffers.iter().position(|&holder| holder == Holder::Kernel);
        let link = self.link(socket);
        if link.inbox.is_empty() {
            return match link.end() {
                Some(end) => Attempt::Over(over(token, end.map(|()| 0))),
                None => Attempt::NotYet,
            };
        }
        let Some(buffer) = free else { return Attempt::Over(over(token, Err(Fault::NoBuffers))) };
        let count = if full { size } else { part }.min(link.inbox.len());
        for (place, byte) in memory[buffer].iter_mut().zip(link.inbox.drain(..count)) {
            *place = byte;
        }
        link.taken += count as u64;
        link.urgent = false;
        let unread = !link.inbox.is_empty() || link.fin_in;
        self.buffers[buffer] = Holder::Worker;
        let buffer = Some(BufferId(buffer as u16));
        Attempt::Over(Completion {
            buffer,
            unread: unread != lies,
            ..over(token, Ok(count as u32))
        })
    }

    fn send(&mut self, socket: Fd, bytes: &[u8]) -> Result<u32, Fault> {
        let (part, none) =
            (1 + self.random.below(bytes.len() as u64 * 2) as usize, self.random.one_in(16));
        let link = self.link(socket);
        if link.dead {
            return Err(link.failure());
        }
        let count = part.min(link.room()).min(bytes.len());
        if count == 0 || none {
            return Err(Fault::WouldBlock);
        }
        link.given += count as u64;
        link.outbox.extend(&bytes[..count]);
        Ok(count as u32)
    }

    /// One look at everything that is pending, in any order; true if anything happened.
    pub(super) fn look(&mut self, memory: &mut [Box<[u8]>]) -> bool {
        let mut happened = false;
        for _ in 0..self.pending.len() {
            if self.pending.is_empty() {
                break;
            }
            let at = self.random.below(self.pending.len() as u64) as usize;
            let mut pending = self.pending.swap_remove(at);
            let is_late = self.now_us - pending.since_us > CONNECT_MAX_US && !pending.cancelled;
            assert!(
                !is_late || pending.token.kind() != Kind::Connect,
                "nobody gives up {:?}",
                pending.op
            );
            let fd = socket_of(&pending.op).map_or(-1, Fd::number);
            match self.attempt(&mut pending, memory) {
                Attempt::NotYet => self.pending.push(pending),
                Attempt::More(completion) => {
                    self.tell(fd, completion);
                    self.go_on(fd, pending, memory);
                    happened = true;
                }
                Attempt::Over(completion) => {
                    self.tell(fd, completion);
                    happened = true;
                }
            }
        }
        let (now_us, finish) = (self.now_us, self.finish);
        for link in &mut self.links {
            if !link.is_over() && (finish.is_some() || self.random.one_in(2)) {
                happened |= link.tick(now_us, &mut self.random, finish);
            }
        }
        happened
    }

    /// What goes on may do so several times before the worker hears of it.
    fn go_on(&mut self, fd: i32, mut pending: Pending, memory: &mut [Box<[u8]>]) {
        while self.random.one_in(2) {
            match self.attempt(&mut pending, memory) {
                Attempt::NotYet => break,
                Attempt::More(completion) => self.tell(fd, completion),
                Attempt::Over(completion) => return self.tell(fd, completion),
            }
        }
        self.pending.push(pending);
    }

    /// Some of what is over, in any order but that of one operation, and what says that a socket
    /// ended only behind what completed on it before.
    pub(super) fn hand_over(&mut self, into: &mut Vec<Completion>) {
        let all = self.told_later.len() as u64;
        let count = if self.random.one_in(3) { self.random.below(all + 1) } else { all };
        self.just_sent.clear();
        for _ in 0..count {
            let any = self.random.below(self.told_later.len() as u64) as usize;
            let (fd, Completion { token, buffer, .. }) = self.told_later[any];
            let is_end = token.kind() == Kind::Receive && buffer.is_none();
            let is_before = |&(on, ref completion): &(i32, Completion)| {
                completion.token == token || is_end && on == fd
            };
            let at = self.told_later.iter().position(is_before).unwrap_or(any);
            let (_, completion) = self.told_later.remove(at);
            if completion.token.kind() == Kind::Send {
                self.buffers[completion.token.buffer().0 as usize] = Holder::Worker;
            }
            if completion.token.kind() == Kind::SendAll {
                self.just_sent.push(completion.token);
            }
            into.push(completion);
        }
    }
}
