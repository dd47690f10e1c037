//! Rounds of real Socket.IO clients, one after the other, each unlike the last.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ringway::random::Random;
use serde::Deserialize;

use crate::Result;
use crate::faults::Faults;
use crate::plan::below;
use crate::program::Program;
use crate::servers::{Deaths, Group, node_script};

/// Echoes that each client waits for, one by one.
const ECHOES: usize = 10;

/// Seconds a round may take; one whose server was killed under it takes so long, since what the
/// clients asked that server is never answered.
const ROUND_S: u64 = 20;

/// What `tests/node/clients.js` reports.
#[derive(Debug, Deserialize)]
struct Report {
    connected: usize,
    echoes: usize,
    wrong_echoes: usize,
    connect_errors: Vec<String>,
    disconnects: Vec<String>,
    upgrade_errors: Vec<String>,
    not_upgraded: usize,
    page_errors: Vec<String>,
}

/// What came of all rounds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rounds {
    pub(crate) flawless: usize,
    /// A server was killed meanwhile.
    pub(crate) disturbed: usize,
    pub(crate) wrong: usize,
    pub(crate) clients: usize,
    pub(crate) echoes: usize,
}

/// Clients at work on a thread of their own.
pub(crate) struct SocketIo {
    thread: JoinHandle<Rounds>,
    stop: Arc<AtomicBool>,
}

struct Client {
    url: String,
    random: Random,
    deaths: Arc<Deaths>,
    faults: Arc<Faults>,
    refusals: Arc<AtomicUsize>,
}

impl SocketIo {
    pub(crate) fn start(
        seed: u64,
        to: SocketAddr,
        deaths: &Arc<Deaths>,
        faults: &Arc<Faults>,
        refusals: &Arc<AtomicUsize>,
    ) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut client = Client {
            url: format!("--url=http://{to}"),
            random: Random::new(seed),
            deaths: Arc::clone(deaths),
            faults: Arc::clone(faults),
            refusals: Arc::clone(refusals),
        };
        let is_over = Arc::clone(&stop);
        let thread = thread::Builder::new().name("socketio".to_owned()).spawn(move || {
            let mut rounds = Rounds::default();
            while !is_over.load(Relaxed) {
                client.round(&mut rounds);
            }
            rounds
        })?;
        Ok(Self { thread, stop })
    }

    /// What came of all, once the last round has ended.
    pub(crate) fn wait(self) -> Result<Rounds> {
        self.stop.store(true, Relaxed);
        Ok(self.thread.join().map_err(|_| "the Socket.IO clients panicked")?)
    }
}

impl Client {
    fn round(&mut self, rounds: &mut Rounds) {
        let count = 20 + below(&mut self.random, 60) as usize;
        let (start, refused) = (Instant::now(), self.refusals.load(Relaxed));
        let mut words = vec![
            self.url.clone(),
            format!("--count={count}"),
            format!("--echoes={ECHOES}"),
            "--processes=1".to_owned(),
            format!("--deadline_s={ROUND_S}"),
        ];
        match below(&mut self.random, 4) {
            0 => words.extend(["--pool=4".to_owned(), "--page".to_owned()]),
            1 => words.push("--transports=polling".to_owned()),
            2 => words.push("--head=12000".to_owned()),
            _ => {}
        }
        let report = self.report(&words);
        let refused = self.refusals.load(Relaxed) - refused;
        let is_disturbed = self.deaths.explain(Group::Chat, None, start);
        rounds.clients += count;
        let report = match report {
            Ok(report) => report,
            Err(error) => {
                rounds.wrong += 1;
                self.faults.add(format_args!("Socket.IO: {error}"));
                return;
            }
        };
        rounds.echoes += report.echoes;
        let is_flawless = refused == 0
            && report.connected == count
            && report.echoes == count * ECHOES
            && report.connect_errors.is_empty()
            && report.disconnects.is_empty()
            && report.upgrade_errors.is_empty()
            && report.page_errors.is_empty()
            && report.not_upgraded == 0;
        if report.wrong_echoes > 0 || !(is_flawless || is_disturbed) {
            rounds.wrong += 1;
            self.faults.add(format_args!(
                "Socket.IO: {words:?}, {:.1?}, {refused} refused: {report:?}",
                start.elapsed()
            ));
        } else if is_flawless {
            rounds.flawless += 1;
        } else {
            rounds.disturbed += 1;
        }
    }

    fn report(&self, words: &[String]) -> Result<Report> {
        let (tell, lines) = channel();
        let script = [OsString::from("node"), node_script("clients.js")];
        let words: Vec<_> = script.into_iter().chain(words.iter().map(OsString::from)).collect();
        let mut program = Program::start("clients.js", &words, &self.faults, move |line| {
            let _ = tell.send(line);
        })?;
        let most = Duration::from_secs(ROUND_S + 40);
        let line = lines.recv_timeout(most).map_err(|_| "clients.js said nothing")?;
        program.wait(most)?;
        Ok(serde_json::from_str(&line)?)
    }
}
