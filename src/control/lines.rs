//! Everything that is written: ringway's own messages to standard output, and the access log to
//! wherever it goes.
//!
//! Whoever reads may be slow, gone or full, and nothing but these lines ever waits for that. What
//! cannot be kept until it is written is lost and counted, by workers while the channel to here is
//! full, and here where writing fails.

mod output;
mod target;

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::config::LogTo;
use crate::log::{Batch, Chunk, Messages};
use crate::sys::choice::EngineKind;
use crate::worker::Shared;
use output::{Output, Sink, Unwritten};

pub(crate) use target::Target;

/// Bytes that are written at once, unless one batch has more: as many as a pipe takes.
const CHUNK_BYTES: usize = 1 << 16;

/// Milliseconds between attempts to write where writing fails: a full disk costs one call a second.
const PAUSE_MS: u64 = 1_000;

/// Milliseconds at the end for what is still to be written, for each of the two.
const LAST_WORDS_MS: u64 = 1_000;

/// Seconds between looks whether lines were lost.
const LOOK_S: u64 = 1;

/// Lines on their way out.
pub(crate) struct Lines {
    shared: Arc<Shared>,
    records: Receiver<Batch>,
    /// Where the access log goes.
    target: RefCell<Target>,
    /// That has changed since.
    redirected: Cell<bool>,
    /// The file is to be opened again.
    reopen: Cell<bool>,
    messages: Way,
    access: Way,
    /// True exactly when nothing more is written from within the runtime.
    ending: Cell<bool>,
    last_error: RefCell<Option<String>>,
}

/// One of the two ways out.
#[derive(Default)]
struct Way {
    due: Notify,
    /// Lines that are being written.
    writing: Cell<usize>,
    /// True exactly when they still were at the end: nothing more can go this way.
    is_stuck: Cell<bool>,
}

impl Lines {
    /// Nothing is written before [`Lines::write`].
    pub(crate) fn new(shared: Arc<Shared>, records: Receiver<Batch>, target: Target) -> Self {
        Self {
            shared,
            records,
            target: RefCell::new(target),
            redirected: Cell::new(false),
            reopen: Cell::new(false),
            messages: Way::default(),
            access: Way::default(),
            ending: Cell::new(false),
            last_error: RefCell::new(None),
        }
    }

    /// There may be something to write.
    pub(super) fn wake(&self) {
        self.messages.due.notify_one();
        self.access.due.notify_one();
    }

    /// The access log goes elsewhere from now on.
    pub(crate) fn redirect(&self, target: Target) {
        *self.target.borrow_mut() = target;
        self.redirected.set(true);
        self.wake();
    }

    /// Somebody has renamed the file.
    pub(crate) fn reopen(&self) {
        self.reopen.set(true);
        self.access.due.notify_one();
    }

    /// Opens both ways out now; then writes what there is, until [`Lines::settle`].
    pub(super) fn write(&self, engine: EngineKind) -> impl Future<Output = ()> {
        let stdout = Output::of(&Sink::Stdout, engine);
        let access = Output::of(&self.target.borrow().sink(), engine);
        async move {
            tokio::join!(self.write_messages(stdout), self.write_access(access, engine));
        }
    }

    /// Says once a second that lines were lost, for as long as ringway runs.
    pub(super) async fn tell_losses(&self) {
        let mut before = 0;
        loop {
            sleep(Duration::from_secs(LOOK_S)).await;
            let lost = self.shared.unlogged();
            if lost > before {
                let why = self.last_error.take();
                let why = why.as_deref().unwrap_or("whoever reads them is too slow");
                warn!(lines = lost - before, why, "log lines lost");
            }
            before = lost;
        }
    }

    async fn write_messages(&self, mut output: Output) {
        let (way, mut chunk) = (&self.messages, Chunk::default());
        while !self.ending.get() {
            self.lose(Messages::of_process().take(&mut chunk));
            if self.goes_to_stdout() {
                self.fill(&mut chunk);
            }
            if chunk.is_empty() {
                Messages::of_process().written();
            }
            self.write_or_wait(way, &mut output, &mut chunk).await;
        }
        Messages::of_process().written();
    }

    async fn write_access(&self, mut output: Output, engine: EngineKind) {
        let (way, mut chunk) = (&self.access, Chunk::default());
        while !self.ending.get() {
            if self.reopen.take() {
                self.open_again().await;
            }
            if self.redirected.take() {
                output = Output::of(&self.target.borrow().sink(), engine);
            }
            if !self.goes_to_stdout() {
                self.fill(&mut chunk);
            }
            self.write_or_wait(way, &mut output, &mut chunk).await;
        }
    }

    async fn write_or_wait(&self, way: &Way, output: &mut Output, chunk: &mut Chunk) {
        if chunk.is_empty() {
            return way.due.notified().await;
        }
        way.writing.set(chunk.ends.len());
        let result = output.write(chunk).await;
        way.writing.set(0);
        chunk.clear();
        if let Err(Unwritten { lines, why }) = result {
            self.lose(lines);
            self.last_error.replace(Some(why.to_string()));
            let _ = timeout(Duration::from_millis(PAUSE_MS), self.end(way)).await;
        }
    }

    /// Ready when nothing is to be written here any more.
    async fn end(&self, way: &Way) {
        while !self.ending.get() {
            way.due.notified().await;
        }
    }

    fn goes_to_stdout(&self) -> bool {
        self.target.borrow().to == Some(LogTo::Stdout)
    }

    /// Adds lines of the access log to a chunk that has room; what is left waits in the channel.
    fn fill(&self, chunk: &mut Chunk) {
        while chunk.bytes.len() < CHUNK_BYTES && self.take_batch(chunk) {}
    }

    /// Adds a batch to a chunk, whatever is in it; whether there was one.
    fn take_batch(&self, chunk: &mut Chunk) -> bool {
        let Ok(batch) = self.records.try_recv() else { return false };
        if let Some(to) = &self.target.borrow().to {
            chunk.push(&batch, to, self.shared.clock);
        }
        true
    }

    fn lose(&self, lines: usize) {
        self.shared.unwritten.fetch_add(lines as u64, Ordering::Relaxed);
    }

    /// What was renamed is written to no longer. Opening may wait, so that is done elsewhere.
    async fn open_again(&self) {
        let to = self.target.borrow().to.clone();
        let Some(LogTo::File(path)) = &to else {
            return info!("the access log is no file: nothing to open again");
        };
        let (path, shown) = (path.clone(), path.display().to_string());
        let opened = spawn_blocking(move || target::open(&path)).await;
        match opened.unwrap_or_else(|error| Err(error.into())) {
            // A reload may have come in between.
            Ok(_) if self.target.borrow().to != to => {}
            Ok(file) => {
                self.redirect(Target { to, file: Some(file) });
                info!(path = shown, "access log opened again");
            }
            Err(error) => error!(path = shown, %error, "access log not opened again"),
        }
    }

    /// The end of [`Lines::write`]: what is being written gets a moment for it.
    pub(super) async fn settle(&self, writing: impl Future<Output = ()>) {
        self.ending.set(true);
        self.wake();
        if timeout(Duration::from_millis(LAST_WORDS_MS), writing).await.is_err() {
            for way in
                [&self.messages, &self.access].into_iter().filter(|way| way.writing.get() > 0)
            {
                way.is_stuck.set(true);
                self.lose(way.writing.take());
            }
        }
    }

    /// Behind the last session: writes what is left of the access log, or loses it.
    pub(crate) fn finish(&self) {
        if self.goes_to_stdout() {
            return self.finish_messages();
        }
        let mut chunk = Chunk::default();
        while self.take_batch(&mut chunk) {}
        let sink = self.target.borrow().sink();
        self.write_last(&self.access, sink, chunk);
    }

    /// Behind everything else: writes what is left of ringway's own messages, or loses it.
    pub(crate) fn finish_messages(&self) {
        let mut chunk = Chunk::default();
        self.lose(Messages::of_process().take(&mut chunk));
        while self.goes_to_stdout() && self.take_batch(&mut chunk) {}
        self.write_last(&self.messages, Sink::Stdout, chunk);
    }

    /// On a thread that may wait longer than ringway does.
    fn write_last(&self, way: &Way, sink: Sink, chunk: Chunk) {
        let lines = chunk.ends.len();
        if way.is_stuck.get() {
            return self.lose(lines);
        }
        let (tell, told) = mpsc::channel();
        let write = move || {
            let _ = tell.send(sink.write_now(&chunk));
        };
        let is_started = thread::Builder::new().name("last-lines".to_owned()).spawn(write).is_ok();
        let result = told.recv_timeout(Duration::from_millis(LAST_WORDS_MS));
        match result {
            Ok(Ok(())) => {}
            Ok(Err(Unwritten { lines, .. })) => self.lose(lines),
            Err(_) => {
                way.is_stuck.set(is_started);
                self.lose(lines);
            }
        }
    }
}
