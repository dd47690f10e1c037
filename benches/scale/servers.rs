//! Servers that send back what they receive: a thread and a descriptor table for each, and a port,
//! unless all share one.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use ringway::sys::table;
use socket2::{Domain, Socket, Type};

use crate::course::Course;

/// Milliseconds after which a thread looks whether the run is over.
const LOOK_MS: u16 = 200;

/// Events taken at once.
const EVENTS: usize = 256;

/// Connections that may wait to be accepted; more than are ever being opened at once, and
/// net.core.somaxconn as it is. (TcpListener::bind takes 128, and what overflows comes again a
/// second later.)
const BACKLOG: i32 = 4096;

/// What the listener's events carry; connections carry their descriptor number.
const LISTENER: u64 = u64::MAX;

/// All servers.
pub(crate) struct Servers {
    pub(crate) addresses: Vec<SocketAddr>,
    held: Vec<Arc<AtomicUsize>>,
    /// Connections accepted, by the address they came from.
    sources: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Servers {
    pub(crate) fn start(count: usize, one: bool, course: &Arc<Course>) -> io::Result<Self> {
        let (addresses, held, threads) = (Vec::new(), Vec::new(), Vec::new());
        let mut all = Self { addresses, held, sources: Arc::default(), threads };
        let mut port = 0;
        for number in 0..count {
            let (tell, address) = sync_channel(1);
            let held = Arc::new(AtomicUsize::new(0));
            let (course, held_there) = (Arc::clone(course), Arc::clone(&held));
            let sources = Arc::clone(&all.sources);
            let thread =
                thread::Builder::new().name(format!("server-{number}")).spawn(move || {
                    let mut server = Server::listen(port, held_there, sources, &tell)?;
                    server.run(&course)
                })?;
            all.threads.push(thread);
            all.held.push(held);
            let address = address.recv().map_err(|_| io::Error::other("a server ended"))?;
            all.addresses.push(address);
            port = if one { address.port() } else { 0 };
        }
        all.addresses.dedup();
        Ok(all)
    }

    /// Connections that each server holds.
    pub(crate) fn held(&self) -> Vec<usize> {
        self.held.iter().map(|held| held.load(Relaxed)).collect()
    }

    /// Connections from each source address so far.
    pub(crate) fn by_source(&self) -> Vec<usize> {
        self.sources.lock().expect("nobody panics with it").values().copied().collect()
    }

    pub(crate) fn finish(self, course: &Course) {
        course.end();
        for thread in self.threads {
            if let Err(error) = thread.join().expect("a server does not panic") {
                eprintln!("scale: a server ended: {error}");
            }
        }
    }
}

struct Server {
    epoll: Epoll,
    listener: TcpListener,
    /// By descriptor number.
    connections: Vec<Option<TcpStream>>,
    held: Arc<AtomicUsize>,
    sources: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

impl Server {
    fn listen(
        port: u16,
        held: Arc<AtomicUsize>,
        sources: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
        tell: &SyncSender<SocketAddr>,
    ) -> io::Result<Self> {
        table::make_private(&[])?;
        let listener = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), None)?;
        listener.set_reuse_port(true)?;
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
        listener.listen(BACKLOG)?;
        let listener = TcpListener::from(listener);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        let _ = tell.send(listener.local_addr()?);
        Ok(Self { epoll, listener, connections: Vec::new(), held, sources })
    }

    fn run(&mut self, course: &Course) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS];
        while !course.is_over() {
            let count = match self.epoll.wait(&mut events, LOOK_MS) {
                Err(nix::errno::Errno::EINTR) => 0,
                result => result?,
            };
            for event in &events[..count] {
                match event.data() {
                    LISTENER => self.accept()?,
                    number => self.answer(number as usize),
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let (stream, from) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let number = stream.as_raw_fd() as usize;
            self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
            if self.connections.len() <= number {
                self.connections.resize_with(number + 1, || None);
            }
            self.connections[number] = Some(stream);
            self.held.fetch_add(1, Relaxed);
            let mut sources = self.sources.lock().expect("nobody panics with it");
            *sources.entry(from.ip()).or_default() += 1;
        }
    }

    fn answer(&mut self, number: usize) {
        let Some(stream) = &mut self.connections[number] else { return };
        let mut bytes = [0; 4096];
        let result = match stream.read(&mut bytes) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(len) => stream.write_all(&bytes[..len]),
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => {}
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => {
                self.connections[number] = None;
                self.held.fetch_sub(1, Relaxed);
            }
        }
    }
}
