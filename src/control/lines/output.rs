//! Writing a chunk of lines: to a file or a pipe through the runtime's ring, or by threads that may
//! wait where there is none; to a daemon as datagrams.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_uring::buf::BoundedBuf;

use crate::log::Chunk;
use crate::sys::choice::EngineKind;

/// Milliseconds between attempts where somebody else has made standard output or a pipe
/// non-blocking, and it is full.
const FULL_PAUSE_MS: u64 = 10;

/// Has the kernel write where the file is at, or at its end (io_uring_prep_write(3)).
const WHERE_IT_IS: u64 = u64::MAX;

/// Who gets lines.
#[derive(Clone, Debug)]
pub(super) enum Sink {
    Nobody,
    Stdout,
    File(Arc<File>),
    /// By the path of its socket.
    Daemon(PathBuf),
}

/// What was not written, and why.
#[derive(Debug)]
pub(super) struct Unwritten {
    pub(super) lines: usize,
    pub(super) why: io::Error,
}

/// A sink within the runtime.
pub(super) enum Output {
    Nobody,
    Stream(Stream),
    Daemon(Daemon),
}

impl Output {
    pub(super) fn of(sink: &Sink, engine: EngineKind) -> Self {
        let file = match sink {
            Sink::Nobody => return Self::Nobody,
            Sink::Daemon(path) => return Self::Daemon(Daemon { path: path.clone(), socket: None }),
            Sink::Stdout => stdout(),
            Sink::File(file) => file.try_clone(),
        };
        // Without a descriptor for it, there is nobody to write to.
        file.map_or(Self::Nobody, |file| Self::Stream(Stream::new(file, engine)))
    }

    pub(super) async fn write(&mut self, chunk: &mut Chunk) -> Result<(), Unwritten> {
        match self {
            Self::Nobody => Ok(()),
            Self::Stream(stream) => stream.write(chunk).await,
            Self::Daemon(daemon) => daemon.write(chunk).await,
        }
    }
}

impl Sink {
    /// The same on a thread that may wait, without a runtime.
    pub(super) fn write_now(&self, chunk: &Chunk) -> Result<(), Unwritten> {
        let lines = chunk.ends.len();
        match self {
            Self::Nobody => Ok(()),
            Self::Stdout => {
                let file = stdout().map_err(|why| Unwritten { lines, why })?;
                write_to_file(&file, chunk)
            }
            Self::File(file) => write_to_file(file, chunk),
            Self::Daemon(path) => {
                let socket = connect(path).map_err(|why| Unwritten { lines, why })?;
                for (nth, line) in chunk.lines().enumerate() {
                    socket.send(line).map_err(|why| Unwritten { lines: lines - nth, why })?;
                }
                Ok(())
            }
        }
    }
}

fn write_to_file(mut file: &File, chunk: &Chunk) -> Result<(), Unwritten> {
    let mut written = 0;
    while written < chunk.bytes.len() {
        match file.write(&chunk.bytes[written..]) {
            Ok(bytes) if bytes > 0 => written += bytes,
            Err(why) if is_to_be_tried_again(&why) => {
                std::thread::sleep(Duration::from_millis(FULL_PAUSE_MS));
            }
            result => {
                let why = result.err().unwrap_or(io::ErrorKind::WriteZero.into());
                return Err(Unwritten { lines: chunk.lines_behind(written), why });
            }
        }
    }
    Ok(())
}

fn is_to_be_tried_again(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// A descriptor of its own: what Rust keeps for it has a lock that somebody may wait with.
fn stdout() -> io::Result<File> {
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}

/// A file, a pipe or a terminal.
pub(super) struct Stream {
    means: Means,
    /// True exactly when what was written last is part of a line.
    is_torn: bool,
}

enum Means {
    Ring(tokio_uring::fs::File),
    Threads(Arc<File>),
}

impl Stream {
    fn new(file: File, engine: EngineKind) -> Self {
        let means = match engine {
            EngineKind::IoUring => Means::Ring(tokio_uring::fs::File::from_std(file)),
            EngineKind::Epoll => Means::Threads(Arc::new(file)),
        };
        Self { means, is_torn: false }
    }

    async fn write(&mut self, chunk: &mut Chunk) -> Result<(), Unwritten> {
        let mut bytes = std::mem::take(&mut chunk.bytes);
        // The rest of a line that could not be written is lost; the next begins a line of its own.
        let lead = usize::from(self.is_torn);
        if self.is_torn {
            bytes.insert(0, b'\n');
        }
        let (mut written, mut result) = (0, Ok(()));
        while written < bytes.len() && result.is_ok() {
            let (done, back) = self.means.write(bytes, written).await;
            bytes = back;
            match done {
                Ok(count) if count > 0 => written += count,
                Err(why) if is_to_be_tried_again(&why) => {
                    sleep(Duration::from_millis(FULL_PAUSE_MS)).await;
                }
                done => result = Err(done.err().unwrap_or(io::ErrorKind::WriteZero.into())),
            }
        }
        if written > 0 {
            self.is_torn = bytes[written - 1] != b'\n';
        }
        chunk.bytes = bytes;
        let lines = chunk.lines_behind(written.saturating_sub(lead));
        result.map_err(|why| Unwritten { lines, why })
    }
}

impl Means {
    /// Bytes written of those behind the first `from`, and the bytes back.
    async fn write(&self, bytes: Vec<u8>, from: usize) -> (io::Result<usize>, Vec<u8>) {
        match self {
            Self::Ring(file) => {
                let write = file.write_at(bytes.slice(from..), WHERE_IT_IS);
                let (result, slice) = write.submit().await;
                (result, slice.into_inner())
            }
            Self::Threads(file) => {
                let file = Arc::clone(file);
                let write = move || ((&*file).write(&bytes[from..]), bytes);
                spawn_blocking(write).await.expect("writing does not panic")
            }
        }
    }
}

/// syslog or journald.
pub(super) struct Daemon {
    path: PathBuf,
    /// `None` until the first line, and after an error.
    socket: Option<tokio::net::UnixDatagram>,
}

impl Daemon {
    async fn write(&mut self, chunk: &Chunk) -> Result<(), Unwritten> {
        for (nth, line) in chunk.lines().enumerate() {
            if let Err(why) = self.send(line).await {
                self.socket = None;
                return Err(Unwritten { lines: chunk.ends.len() - nth, why });
            }
        }
        Ok(())
    }

    /// Waits for room. A daemon that was started again since is found again.
    async fn send(&mut self, line: &[u8]) -> io::Result<()> {
        if let Some(socket) = &self.socket
            && socket.send(line).await.is_ok()
        {
            return Ok(());
        }
        let socket = connect(&self.path)?;
        socket.set_nonblocking(true)?;
        let socket = self.socket.insert(tokio::net::UnixDatagram::from_std(socket)?);
        socket.send(line).await.map(drop)
    }
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}
