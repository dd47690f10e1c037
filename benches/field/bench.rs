//! What all figures share: the cores, the servers, and how pieces of different balancers
//! alternate.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::load::Aim;
use crate::meter::{Meter, is_quiet, others_on};
use crate::options::Options;
use crate::peers::Peer;
use crate::process::{Running, pin};
use crate::stats::Series;
use crate::{Result, peers};

/// Servers behind every balancer; all but the figures about stickiness use the first.
const SERVERS: usize = 4;
/// How long a program may take until it can be connected to.
const START: Duration = Duration::from_secs(20);
/// How long a piece is put off because something else runs on the balancer's core.
const PUT_OFF: Duration = Duration::from_secs(3);

pub(crate) struct Bench {
    pub(crate) options: Options,
    /// Where configurations and logs of this run are.
    pub(crate) scratch: PathBuf,
    pub(crate) servers: Vec<SocketAddr>,
    /// What is left of the time to wait for quiet.
    patience: Cell<Duration>,
    /// Programs seen on the balancer's core before a figure, which the report names.
    pub(crate) disturbers: RefCell<BTreeSet<String>>,
    _servers: Running,
}

/// What one balancer did, piece by piece: one row of numbers for each.
pub(crate) struct Track {
    name: &'static str,
    rows: Vec<Vec<f64>>,
    disturbed: usize,
}

impl Track {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// One number of each row, in a unit that is `scale` times smaller.
    pub(crate) fn series(&self, column: usize, scale: f64) -> Series {
        let values = self.rows.iter().map(|row| row[column] * scale).collect();
        Series { name: self.name.to_owned(), values, disturbed: self.disturbed }
    }
}

impl Bench {
    pub(crate) fn new(options: Options) -> Result<Self> {
        let scratch = options.report.join("run");
        fs::create_dir_all(&scratch)?;
        let servers = free_addresses(SERVERS)?;
        pin(&[options.load_core])?;
        let running = serve(&[options.load_core], &servers, &scratch)?;
        let patience = Cell::new(options.patience);
        let disturbers = RefCell::default();
        Ok(Self { options, scratch, servers, patience, disturbers, _servers: running })
    }

    /// Load on this balancer, with pieces of this part of a whole one.
    pub(crate) fn aim(&self, peer: &Peer, clients: usize, part: f64) -> Aim {
        let length = self.options.piece.mul_f64(part);
        Aim { target: peer.address, clients, warm: length / 4, length }
    }

    /// Pieces of all balancers in turn, each round in another order; `piece` gives one row of
    /// numbers, by a meter it has started and stopped.
    pub(crate) fn interleave(
        &self,
        peers: &[Peer],
        piece: &mut dyn FnMut(&Peer, &mut Meter) -> Result<Vec<f64>>,
    ) -> Result<Vec<Track>> {
        self.say_who_disturbs(peers)?;
        let track = |peer: &Peer| Track { name: peer.name, rows: Vec::new(), disturbed: 0 };
        let mut tracks: Vec<Track> = peers.iter().map(track).collect();
        for round in 0..self.options.pieces {
            for turn in 0..peers.len() {
                let index = (round + turn) % peers.len();
                let (row, disturbed) = self
                    .quiet_piece(&peers[index], piece)
                    .map_err(|error| format!("{}: {error}", peers[index].name))?;
                tracks[index].rows.push(row);
                tracks[index].disturbed += usize::from(disturbed);
            }
        }
        Ok(tracks)
    }

    /// One piece, again while there is patience if something else ran on the core; and whether it
    /// did during the last.
    fn quiet_piece(
        &self,
        peer: &Peer,
        piece: &mut dyn FnMut(&Peer, &mut Meter) -> Result<Vec<f64>>,
    ) -> Result<(Vec<f64>, bool)> {
        let core = self.options.balancer_core;
        let start = Instant::now();
        loop {
            let at = Instant::now();
            let has_patience = || start.elapsed() < PUT_OFF.min(self.patience.get());
            while !is_quiet(core)? && has_patience() {}
            let waited = at.elapsed();
            let mut meter = Meter::new(peer.pids()?, core);
            let row = piece(peer, &mut meter)?;
            let cost = meter.read.ok_or("the meter was not read")?;
            if !cost.is_disturbed() || !has_patience() {
                self.patience.set(self.patience.get().saturating_sub(waited));
                return Ok((row, cost.is_disturbed()));
            }
            self.patience.set(self.patience.get().saturating_sub(at.elapsed()));
        }
    }

    fn say_who_disturbs(&self, peers: &[Peer]) -> Result<()> {
        let mut own = vec![i32::try_from(std::process::id())?];
        for peer in peers {
            own.extend(peer.pids()?);
        }
        for name in others_on(self.options.balancer_core, &own)? {
            eprintln!("  on the balancer's core: {name}");
            self.disturbers.borrow_mut().insert(name);
        }
        Ok(())
    }
}

/// Cost of one thing of which there were `count`, in seconds of CPU, and how many in a second.
pub(crate) fn per(count: u64, meter: &Meter) -> Result<Vec<f64>> {
    let cost = meter.read.ok_or("the meter was not read")?;
    if count == 0 {
        return Err("nothing was done".into());
    }
    let count = count as f64;
    Ok(vec![cost.cpu.as_secs_f64() / count, count / cost.wall.as_secs_f64()])
}

/// Starts the servers, and waits until each can be connected to.
pub(crate) fn serve(
    cores: &[usize],
    addresses: &[SocketAddr],
    scratch: &std::path::Path,
) -> Result<Running> {
    let words = addresses.iter().map(ToString::to_string);
    let words = std::iter::once("server".to_owned()).chain(words);
    let log = scratch.join("servers.log");
    let mut running = Running::start(cores, std::env::current_exe()?, words, &log)?;
    for address in addresses {
        wait_for(*address, &mut running)
            .map_err(|error| format!("{error}: see {}", log.display()))?;
    }
    Ok(running)
}

/// Until an address can be connected to.
pub(crate) fn wait_for(address: SocketAddr, running: &mut Running) -> Result<()> {
    let until = Instant::now() + START;
    while TcpStream::connect(address).is_err() {
        if running.has_ended()? {
            return Err("it ended".into());
        }
        if Instant::now() > until {
            return Err(format!("nothing listens on {address} after {START:?}").into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Addresses nobody listens on, for programs that cannot say where they listen.
pub(crate) fn free_addresses(count: usize) -> Result<Vec<SocketAddr>> {
    let listeners: std::io::Result<Vec<_>> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    let addresses: std::io::Result<Vec<_>> =
        listeners?.iter().map(TcpListener::local_addr).collect();
    Ok(addresses?)
}

/// The balancers, started at once.
pub(crate) fn start(bench: &Bench, kinds: &[peers::Kind]) -> Result<Vec<Peer>> {
    kinds.iter().map(|&kind| peers::start(bench, kind)).collect()
}
