//! The worker's end of the world.

use super::*;

/// Turns in which nothing happens and for which nobody waits: more than sessions can have left to
/// do for each other.
const FUTILE_MAX: u32 = 10_000;

/// The address of a client, by its number.
pub(crate) fn client(number: usize) -> SocketAddr {
    let port = u16::try_from(number).expect("few clients");
    SocketAddr::from(([10, 0, 0, (port % 7) as u8], port))
}

/// The memory of ring buffers is here, since it is lent out.
pub(crate) struct Kernel {
    pub(crate) world: Rc<RefCell<World>>,
    memory: Vec<Box<[u8]>>,
}

impl Kernel {
    pub(crate) fn new(world: Rc<RefCell<World>>) -> Self {
        let machine = &world.borrow().machine;
        let memory = vec![vec![0; machine.buffer_size as usize].into(); machine.buffers];
        Self { world: Rc::clone(&world), memory }
    }
}

impl Engine for Kernel {
    fn submit(&mut self, token: Token, op: Op) -> Submitted {
        let mut world = self.world.borrow_mut();
        let may_be_done = matches!(
            token.kind(),
            Kind::Send | Kind::SendAll | Kind::Connect | Kind::Readable | Kind::Room | Kind::HangUp
        );
        match world.start(token, op) {
            Submitted::Pending if may_be_done && world.random.one_in(4) => {
                world.at_once_if_ready(&mut self.memory)
            }
            submitted => submitted,
        }
    }

    fn reap(&mut self, timeout_us: Option<u64>, into: &mut Vec<Completion>) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        let happened = world.look(&mut self.memory);
        world.now_us += world.random.below(2_000);
        world.timeout_us = timeout_us;
        let is_futile = !happened && world.told_later.is_empty() && timeout_us == Some(0);
        world.futile = if is_futile { world.futile + 1 } else { 0 };
        assert!(world.futile < FUTILE_MAX, "the worker never rests: {world}");
        if world.machine.jumps && world.random.one_in(512) {
            world.now_us += world.random.below(600_000_000);
        }
        if !happened && world.told_later.is_empty() {
            // Nobody is doing anything: time passes to the next deadline, or somebody's nap ends.
            let nap_us = 200_000;
            world.now_us += timeout_us.map_or(nap_us, |timeout_us| timeout_us.min(nap_us));
        } else if world.random.one_in(256) {
            world.now_us += world.random.below(5_000_000);
        }
        world.hand_over(into);
        Ok(())
    }

    fn bytes(&self, buffer: BufferId, len: u32) -> &[u8] {
        let holder = self.world.borrow().buffers[buffer.0 as usize];
        assert_eq!(holder, Holder::Worker, "{buffer:?} is read");
        &self.memory[buffer.0 as usize][..len as usize]
    }

    fn release(&mut self, buffer: BufferId) {
        let holder = &mut self.world.borrow_mut().buffers[buffer.0 as usize];
        assert_eq!(*holder, Holder::Worker, "{buffer:?} is released");
        *holder = Holder::Kernel;
        // What is still read of it is noticed.
        self.memory[buffer.0 as usize].fill(0xdd);
    }

    fn buffer_size(&self) -> u32 {
        self.world.borrow().machine.buffer_size
    }

    fn accept_burst(&self) -> usize {
        self.world.borrow().machine.accept_burst
    }

    fn pipe_size(&self) -> u32 {
        self.world.borrow().machine.pipe_size
    }

    fn client_address(&mut self, socket: Fd) -> Option<SocketAddr> {
        let world = &mut *self.world.borrow_mut();
        let number = world.sockets[&socket.number()].link.expect("a client's");
        let is_told = !world.links[number].dead || world.random.one_in(2);
        let address = is_told.then(|| client(number));
        let link = &mut world.links[number];
        if address.is_none() && link.script.header > 0 {
            // It is in no network, so its header is not believed, and whatever it says is no HTTP.
            (link.source, link.script.header, link.script.tongue) = (None, 0, Tongue::Raw);
        }
        // A header may have said more.
        link.source = link.source.or(address);
        address
    }

    fn local_address(&mut self, _: Fd) -> Option<SocketAddr> {
        Some(HERE)
    }

    fn tcp_info(&mut self, socket: Fd) -> Option<TcpInfo> {
        let world = &mut *self.world.borrow_mut();
        assert!(world.socket(socket).link.is_some(), "{socket:?} is not connected");
        Some(TcpInfo { last_sent_ms: 7, last_received_ms: 5, ..TcpInfo::default() })
    }

    fn adopt(&mut self, peers: &[Address], _: TcpOptions) -> io::Result<()> {
        let world = &mut *self.world.borrow_mut();
        world.learn(peers);
        let placed = world.reloads.pop_front().expect("it was sent");
        world.place(placed);
        Ok(())
    }

    fn receive_sockets(&mut self, post: Fd, count: usize) -> io::Result<Vec<Fd>> {
        assert_eq!(post.number(), POST);
        let mut world = self.world.borrow_mut();
        let sent: Vec<_> = world.sent.drain(..count).collect();
        Ok(sent.into_iter().map(Fd::new).collect())
    }

    fn empty_mailbox(&mut self, mailbox: Fd) {
        assert_eq!(mailbox.number(), MAILBOX);
        self.world.borrow_mut().rung = false;
    }

    fn now_us(&mut self) -> u64 {
        self.world.borrow().now_us
    }
}
