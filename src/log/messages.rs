//! ringway's own messages: on their way to standard output, without ever waiting for it.
//!
//! Until the control thread serves, they are written whatever it takes. From then on they are
//! written at once where the kernel says that there is room, and else kept until the control thread
//! has written them: whoever reads standard output may have stopped reading.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, reload};

use super::Chunk;
use crate::config::LogFormat;
use crate::sys::mailbox::Mailbox;

/// Bytes of messages kept: some thousand lines. What comes beyond that is lost, and counted.
const KEPT_MAX_BYTES: usize = 1 << 20;

/// Where messages are until they are written.
#[derive(Debug)]
pub struct Messages(Mutex<Place>);

#[derive(Debug)]
enum Place {
    /// Nowhere: they are written at once.
    StandardOutput,
    Kept(Kept),
}

#[derive(Debug)]
struct Kept {
    lines: Vec<u8>,
    /// True exactly when somebody is writing to standard output what a message must not come into.
    is_writing: bool,
    lost: usize,
    /// Rung when there is something to write.
    mailbox: Mailbox,
}

static MESSAGES: Messages = Messages(Mutex::new(Place::StandardOutput));

/// Has everything of this level, and what is worse, said on standard output from now on; what sets
/// another level.
pub fn start(level: LevelFilter, format: LogFormat) -> impl Fn(LevelFilter) {
    let (level, handle) = reload::Layer::new(level);
    let lines = fmt::layer().with_target(false).with_ansi(false).with_writer(|| &MESSAGES);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(level).with(lines).init();
    move |level| handle.reload(level).expect("the log lasts as long as the process")
}

impl Messages {
    /// Those of this process.
    pub fn of_process() -> &'static Self {
        &MESSAGES
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on they are kept for whoever [takes](Self::take) them; `mailbox` is rung.
    pub fn keep(&self, mailbox: Mailbox) {
        let (lines, is_writing, lost) = (Vec::new(), false, 0);
        *self.place() = Place::Kept(Kept { lines, is_writing, lost, mailbox });
    }

    /// From now on they are written at once again. What was kept has been taken.
    pub fn write_at_once(&self) {
        *self.place() = Place::StandardOutput;
    }

    /// Moves what is kept behind what is in `chunk`, which its owner is going to write; says how
    /// many were lost since the last time.
    pub fn take(&self, chunk: &mut Chunk) -> usize {
        let mut place = self.place();
        let Place::Kept(kept) = &mut *place else { return 0 };
        chunk.push_lines(&kept.lines);
        kept.lines.clear();
        kept.is_writing = true;
        std::mem::take(&mut kept.lost)
    }

    /// What was taken is written.
    pub fn written(&self) {
        if let Place::Kept(kept) = &mut *self.place() {
            kept.is_writing = false;
        }
    }

    fn say(&self, message: &[u8]) -> io::Result<()> {
        match &mut *self.place() {
            Place::StandardOutput => io::stdout().write_all(message),
            Place::Kept(kept) => {
                let is_free = !kept.is_writing && kept.lines.is_empty();
                let done = if is_free { write_where_there_is_room(message) } else { 0 };
                let message = &message[done..];
                if message.is_empty() {
                    return Ok(());
                }
                if kept.lines.len() + message.len() > KEPT_MAX_BYTES {
                    kept.lost += 1;
                } else {
                    kept.lines.extend_from_slice(message);
                }
                kept.mailbox.ring();
                Ok(())
            }
        }
    }
}

/// Bytes that were written without waiting. A pipe that is ready takes as many as are written in
/// one piece (PIPE_BUF, pipe(7)); nobody is sure of more.
fn write_where_there_is_room(message: &[u8]) -> usize {
    let stdout = io::stdout();
    let mut asked = [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)];
    let is_ready = poll(&mut asked, PollTimeout::ZERO).is_ok_and(|ready| ready == 1)
        && asked[0].revents().is_some_and(|events| events.contains(PollFlags::POLLOUT));
    if message.len() > libc::PIPE_BUF || !is_ready {
        return 0;
    }
    nix::unistd::write(stdout.as_fd(), message).unwrap_or(0)
}

/// A message comes in one piece, with its line feed.
impl Write for &Messages {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        self.say(message).map(|()| message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_whole_lines_in_order_and_what_is_too_much_is_counted() {
        let messages = Messages(Mutex::new(Place::StandardOutput));
        messages.keep(Mailbox::new().unwrap());
        // Somebody is writing.
        messages.take(&mut Chunk::default());
        let long = format!("{}\n", "x".repeat(KEPT_MAX_BYTES / 2));
        for message in ["one\n", "two\n", &long, &long, "three\n"] {
            (&messages).write_all(message.as_bytes()).unwrap();
        }
        let mut chunk = Chunk::default();
        assert_eq!(messages.take(&mut chunk), 1);
        let lines: Vec<_> = chunk.lines().map(|line| String::from_utf8_lossy(line)).collect();
        assert_eq!(lines, ["one\n", "two\n", &long, "three\n"]);
        assert_eq!((messages.take(&mut Chunk::default()), chunk.lines_behind(4)), (0, 3));
        assert_eq!((chunk.lines_behind(0), chunk.lines_behind(5)), (4, 3));
    }
}
