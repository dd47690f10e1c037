//! The command line: what can be asked for, and flags as a configuration.
//!
//! Flags go the way a file goes: they become its text, so the same rules hold, with the flag as
//! the place of a problem. Starts nothing and prints nothing.

mod check;
mod ctl;
mod flags;
mod keys;
mod manual;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing::level_filters::LevelFilter;

use crate::config::{
    self, Address, Admin, Checked, EngineChoice, LogFormat, LogTo, Problem, Problems,
};
pub use check::summary;
pub use ctl::{
    Add, Ask, Ctl, Endpoint, Filter, Keys, Kill, Leave, Pages, Sessions, Top, Wait, Which, Why,
};
pub use manual::{Generated, files as manual};

/// A TCP load balancer for WebSockets, Socket.IO and any other long-lived connection
///
/// It reads at most the first request head of a connection (for Host routes and sticky keys),
/// chooses a server, and from then on moves raw bytes both ways.
#[derive(Debug, Parser)]
#[command(name = "ringway", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Messages on standard output, apart from the access log: error, warn, info or debug, each
    /// with those before it
    #[arg(long, value_name = "LEVEL", value_enum, default_value = "info", global = true)]
    #[arg(hide_possible_values = true, help_heading = "Logs")]
    pub log: Level,
    /// How lines on standard output look, those of the access log too: text or json, an object in
    /// each line [default: text, and for the access log what the file says]
    #[arg(long, value_name = "FORMAT", value_enum, global = true)]
    #[arg(hide_possible_values = true, help_heading = "Logs")]
    pub log_format: Option<Format>,
}

const EXAMPLES: &str = "\
Examples:
  Try it: four servers and a balancer in front, on port 8080
      ringway demo
  Four Socket.IO processes behind one port
      ringway run --listen 0.0.0.0:80 --sticky socketio \\
          --to 127.0.0.1:8881 --to 127.0.0.1:8882 --to 127.0.0.1:8883 --to 127.0.0.1:8884
  From a file, checked first
      ringway check ringway.json && ringway run ringway.json";

const RUN_EXAMPLES: &str = "\
Addresses:
  127.0.0.1:80       IPv4
  [::]:80            IPv6; listening there takes IPv4 connections as well (dual stack)
  unix:/run/x.sock   unix socket
  systemd:web        listening only: the sockets of that name which the service manager passes
  app.local:80       servers only: looked up at start, all its addresses become servers

Examples:
  A file (comments are allowed in it; `ringway schema` describes it)
      ringway run ringway.json
  Any TCP protocol, twice as much for the first server, a third for emergencies
      ringway run --listen 0.0.0.0:5432 \\
          --to 10.0.0.1:5432,weight=2 --to 10.0.0.2:5432 --to 10.0.0.3:5432,backup
  A cookie that keeps browsers at their server
      ringway run --listen [::]:80 --to 10.0.0.1:80 --to 10.0.0.2:80 --sticky insert:ringway";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Balance connections, as a file or the flags say, until stopped
    #[command(after_help = RUN_EXAMPLES)]
    Run(Run),
    /// Start four small servers and ringway in front of them, to try things out
    Demo(Demo),
    /// Say everything that is wrong with a configuration; binds and connects nothing
    Check(Check),
    /// Ask a ringway that runs, or tell it what to do
    Ctl(Ctl),
    /// Watch a ringway that runs, and its servers, workers and sessions
    Top(Top),
    /// Say what this host allows, and what to change: limits, ports, memory, the kernel; changes
    /// nothing itself
    Doctor(Doctor),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Write man pages and shell completions to a folder, as `make install` does
    #[command(hide = true)]
    Manual(Manual),
}

/// `ringway run`: a file, or flags.
#[derive(Debug, Args)]
#[command(override_usage = "ringway run <CONFIG.json>
       ringway run --listen <ADDR>... --to <ADDR[,weight=N][,backup]>... [OPTIONS]")]
pub struct Run {
    /// Configuration file: JSON, with comments and trailing commas
    #[arg(value_name = "CONFIG.json", conflicts_with_all = ["listen", "to", "balance"])]
    #[arg(conflicts_with_all = ["sticky", "peek", "workers"])]
    pub config: Option<PathBuf>,
    /// Accept connections here; repeat for more addresses
    #[arg(long, value_name = "ADDR", help_heading = "Instead of a file")]
    pub listen: Vec<String>,
    /// A server, with its share (weight 1 to 256, default 1), or as a backup that is used only
    /// when no other server can be; repeat for more
    #[arg(long, value_name = "ADDR[,weight=N][,backup]", help_heading = "Instead of a file")]
    pub to: Vec<String>,
    /// How a connection without a sticky key is placed [default: round_robin]
    #[arg(long, value_name = "HOW", value_enum, help_heading = "Instead of a file")]
    pub balance: Option<Balance>,
    /// What keeps a client at its server [default: none]
    ///
    ///   none         nothing
    ///   source       the client's address
    ///   socketio     the Socket.IO session id, learned from the handshake
    ///   cookie:NAME  a cookie your servers set
    ///   insert:NAME  a cookie ringway sets
    ///   header:NAME  a request header
    ///   query:NAME   a parameter in the URL
    #[arg(long, value_name = "KEY", verbatim_doc_comment, help_heading = "Instead of a file")]
    pub sticky: Option<String>,
    /// What is read before a server is chosen [default: http if the sticky key needs it, else none]
    #[arg(long, value_name = "WHAT", value_enum, help_heading = "Instead of a file")]
    pub peek: Option<Peek>,
    /// Threads that move bytes: auto (one per core, as far as a CPU quota allows), a number (1 to
    /// 1024), or cores as in 0,2,4 [default: auto]
    #[arg(long, value_name = "auto|N|CORE,CORE...", help_heading = "Instead of a file")]
    pub workers: Option<String>,
    /// No log lines about sessions, whatever the file says
    #[arg(long, help_heading = "Logs")]
    pub no_access_log: bool,
    /// Copy every byte instead of splicing bulk transfers, whatever the file says
    #[arg(long, help_heading = "Data path")]
    pub no_splice: bool,
    /// How to speak to the kernel, whatever the file says: auto (io_uring, or epoll where that is
    /// refused), io_uring or epoll [default: auto]
    #[arg(long, value_name = "WHICH", value_enum, help_heading = "Data path")]
    #[arg(hide_possible_values = true)]
    pub engine: Option<Engine>,
    /// Keep what the sandbox would take away (Landlock, seccomp, ring restrictions), whatever the
    /// file says
    #[arg(long, help_heading = "Security")]
    pub no_sandbox: bool,
    /// Be asked and told things here while it runs, whatever the file says: IP:PORT (a loopback
    /// address, where the file has no token) or unix:/PATH
    #[arg(long, value_name = "ADDR", help_heading = "Operation")]
    pub admin: Option<String>,
    /// [`Cli::log_format`].
    #[arg(skip)]
    pub log_format: Option<Format>,
}

/// `ringway demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Where connections are accepted.
    // Not in the line above: rustdoc would take the brackets for a link.
    #[arg(help = "Accept connections here: IP:PORT, [IPv6]:PORT or unix:/PATH")]
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: Address,
    /// How to speak to the kernel: auto (io_uring, or epoll where that is refused), io_uring or
    /// epoll
    #[arg(long, value_name = "WHICH", value_enum, default_value = "auto")]
    #[arg(hide_possible_values = true)]
    pub engine: Engine,
    /// Be asked and told things here: IP:PORT (a loopback address) or unix:/PATH [default:
    /// 127.0.0.1:9080, or another port where that is taken]
    #[arg(long, value_name = "ADDR", value_parser = admin_address)]
    pub admin: Option<Admin>,
}

fn admin_address(written: &str) -> Result<Admin, String> {
    Admin::at(written, None)
}

/// `ringway check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Configuration file: JSON, with comments and trailing commas
    #[arg(value_name = "CONFIG.json")]
    pub config: PathBuf,
}

/// `ringway manual`.
#[derive(Debug, Args)]
pub struct Manual {
    /// Where they are written, each kind in a folder of its own
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
}

/// `ringway doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Configuration file: whether this host can run it
    #[arg(value_name = "CONFIG.json")]
    pub config: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// Least level of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// What stops something from working.
    Error,
    /// What someone should look at.
    Warn,
    /// Start, stop, and what changes in between.
    Info,
    /// Every step.
    Debug,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Fields with their values
    Text,
    /// An object in each line
    Json,
}

/// How a connection without a key is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Balance {
    /// In turn, by weight, exact over all workers
    RoundRobin,
    /// Fewest live connections for its weight
    LeastConn,
    /// The less loaded of two drawn at random
    RandomTwo,
    /// By the client's address, with bounded load
    Hash,
}

/// How workers speak to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Engine {
    /// io_uring, or epoll where that is refused
    Auto,
    /// io_uring or nothing
    IoUring,
    /// epoll, whatever the kernel allows
    Epoll,
}

/// What is read before a server is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peek {
    /// Whatever the first bytes turn out to be
    Auto,
    /// Nothing: for protocols in which the server speaks first
    None,
    /// One HTTP/1 request head
    Http,
    /// One TLS ClientHello
    Tls,
}

impl Run {
    /// What to run, from the file or from the flags.
    ///
    /// # Errors
    /// Every problem, with its place in the file or the flag it came by.
    pub fn checked(&self) -> Result<Checked, Problems> {
        let checked = match &self.config {
            Some(path) => config::load(path)?,
            None if self.has_flags() => flags::checked(self)?,
            None => return Err(nothing_given()),
        };
        self.overruled(checked)
    }

    /// What would run if this were the text of the file.
    ///
    /// # Errors
    /// Every problem, with its place in the text or the flag it came by.
    pub fn checked_text(&self, text: &str) -> Result<Checked, Problems> {
        self.overruled(config::parse(text)?)
    }

    /// With what flags say whatever the file says.
    fn overruled(&self, mut checked: Checked) -> Result<Checked, Problems> {
        if self.no_access_log {
            checked.config.access_log = None;
        }
        if let (Some(format), Some(log)) = (self.log_format, &mut checked.config.access_log)
            && log.to == LogTo::Stdout
        {
            log.format = format.into();
        }
        checked.config.splice &= !self.no_splice;
        if let Some(engine) = self.engine {
            checked.config.engine = engine.into();
        }
        checked.config.sandbox &= !self.no_sandbox;
        if let Some(written) = &self.admin {
            let path = "--admin".to_owned();
            let admin = Admin::at(written, checked.config.admin.take());
            checked.config.admin = Some(admin.map_err(|message| Problem { path, message })?);
        }
        Ok(checked)
    }

    fn has_flags(&self) -> bool {
        let Self { listen, to, balance, sticky, peek, workers, .. } = self;
        let lists = !listen.is_empty() || !to.is_empty();
        lists || balance.is_some() || sticky.is_some() || peek.is_some() || workers.is_some()
    }
}

fn nothing_given() -> Problems {
    let message = "nothing to run: give a file (ringway run CONFIG.json) \
        or flags (ringway run --listen ADDR --to ADDR)";
    Problem { path: String::new(), message: message.to_owned() }.into()
}

impl From<Engine> for EngineChoice {
    fn from(engine: Engine) -> Self {
        match engine {
            Engine::Auto => Self::Auto,
            Engine::IoUring => Self::IoUring,
            Engine::Epoll => Self::Epoll,
        }
    }
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Json => Self::Json,
        }
    }
}

impl Level {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
        }
    }
}
