//! What can be asked of a ringway that runs: the command line of `ringway ctl` and `ringway top`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::Level;
use crate::config::Address;

const EXAMPLES: &str = "\
Exit codes:
  0  done
  1  refused, or there is no such thing
  2  the command line is wrong
  3  no ringway answers
  4  the time of --wait passed, and sessions are left

Examples:
  How every server is doing, and the sessions of one
      ringway ctl servers
      ringway ctl sessions --server 127.0.0.1:8881
  Take a server out of service, and wait until nobody is left there
      ringway ctl drain 127.0.0.1:8881 --wait --timeout 10m
  Where a client would be led, and why
      ringway ctl why 192.0.2.7
  What a changed file would change
      ringway ctl diff ringway.json";

/// Where ringway is asked.
#[derive(Clone, Debug, Default, Args)]
pub struct Endpoint {
    /// Where ringway answers (`admin` in its file): IP:PORT or unix:/PATH [default: the variable
    /// RINGWAY_ADMIN; else unix:/run/ringway/admin.sock, if that is there; else 127.0.0.1:9080]
    #[arg(long, value_name = "ADDR", global = true, help_heading = "Where to ask")]
    pub admin: Option<Address>,
    /// A file with the token that is asked for there
    #[arg(long, value_name = "PATH", global = true, help_heading = "Where to ask")]
    pub token_file: Option<PathBuf>,
}

/// `ringway ctl`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Ctl {
    /// Where ringway is asked.
    #[command(flatten)]
    pub endpoint: Endpoint,
    /// Print what ringway answers as it is, instead of tables
    #[arg(long, global = true, help_heading = "What is printed")]
    pub json: bool,
    /// Show all columns, however wide that is
    #[arg(long, global = true, help_heading = "What is printed")]
    pub wide: bool,
    /// What is asked.
    #[command(subcommand)]
    pub ask: Ask,
}

/// The commands of `ringway ctl`.
#[derive(Debug, Subcommand)]
pub enum Ask {
    /// All of ringway in a few lines
    Status,
    /// Where connections are accepted
    Listeners,
    /// Pools, how they balance and whether they can
    Pools,
    /// Servers: state, weight, sessions, bytes
    Servers {
        /// Of this pool only
        #[arg(long, value_name = "POOL")]
        pool: Option<String>,
    },
    /// Threads that move bytes
    Workers,
    /// Sessions that are live
    Sessions(Sessions),
    /// One session, with what the kernel knows of its connections
    Session {
        /// As `ringway ctl sessions` has it
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Learned keys, and where they lead
    Keys(Keys),
    /// How near each limit is
    Limits,
    /// Connections to each server, by the address they come from
    Ports,
    /// The configuration in force, every default filled in
    Config,
    /// Whether it lives, and takes new clients: exit code 1 while it drains
    Health,
    /// No new sessions for a server but those whose key leads there
    Drain(Leave),
    /// A server is chosen again
    Ready(Which),
    /// No new sessions for a server at all
    Down(Leave),
    /// Set a server's share of connections
    Weight {
        /// Its address, or its id
        #[arg(value_name = "SERVER")]
        server: String,
        /// 1 to 256
        #[arg(value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
        weight: u16,
        /// Its pool, where it is in several
        #[arg(long, value_name = "POOL")]
        pool: Option<String>,
    },
    /// Add a server to a pool, until ringway ends
    Add(Add),
    /// Remove a server from a pool, as if it were gone from the file
    Remove {
        /// Its pool
        #[arg(value_name = "POOL")]
        pool: String,
        /// Its address, or its id
        #[arg(value_name = "SERVER")]
        server: String,
        /// Whether to wait.
        #[command(flatten)]
        wait: Wait,
    },
    /// Close sessions: one, or all that fit
    Kill(Kill),
    /// Put the file in force as it is now
    Reload,
    /// Set what is logged
    Log {
        /// error, warn, info or debug
        #[arg(value_name = "LEVEL", value_enum, hide_possible_values = true)]
        level: Level,
    },
    /// Where a connection would be led, and why
    Why(Why),
    /// What a reload would change
    Diff {
        /// The file that would stand in the place of the present one [default: that one, as it is
        /// now]
        #[arg(value_name = "NEW.json")]
        file: Option<PathBuf>,
    },
    /// All figures, as Prometheus reads them
    Metrics,
    /// The latest changes of servers and pools, and why: by checks, sessions and operators
    Changes,
    /// What happens, as it happens, until stopped
    Events {
        /// Changes of servers only, without the figures of each second
        #[arg(long)]
        changes: bool,
    },
}

/// Which sessions: those that fit all that is given.
#[derive(Clone, Debug, Default, Args)]
pub struct Filter {
    /// Of this client: an address or a network
    #[arg(long, value_name = "IP|NET", help_heading = "Which sessions")]
    pub client: Option<String>,
    /// That came in at this listener
    #[arg(long, value_name = "NAME", help_heading = "Which sessions")]
    pub listener: Option<String>,
    /// In this pool
    #[arg(long, value_name = "POOL", help_heading = "Which sessions")]
    pub pool: Option<String>,
    /// At this server: its address, or its id
    #[arg(long, value_name = "SERVER", help_heading = "Which sessions")]
    pub server: Option<String>,
    /// With this Host or TLS name
    #[arg(long, value_name = "HOST", help_heading = "Which sessions")]
    pub host: Option<String>,
    /// With this key: a sid, a cookie or whatever their pool goes by
    #[arg(long, value_name = "KEY", help_heading = "Which sessions")]
    pub key: Option<String>,
}

/// `ringway ctl sessions`.
#[derive(Debug, Args)]
pub struct Sessions {
    /// Which.
    #[command(flatten)]
    pub filter: Filter,
    /// Of this worker
    #[arg(long, value_name = "N", help_heading = "Which sessions")]
    pub worker: Option<u32>,
    /// How many.
    #[command(flatten)]
    pub pages: Pages,
}

/// `ringway ctl keys`.
#[derive(Debug, Args)]
pub struct Keys {
    /// Of this pool only
    #[arg(long, value_name = "POOL")]
    pub pool: Option<String>,
    /// This one only: a sid or a cookie
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// How many.
    #[command(flatten)]
    pub pages: Pages,
}

/// How much of a long list.
#[derive(Clone, Copy, Debug, Args)]
pub struct Pages {
    /// So many at most
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "all")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: u64,
    /// All there are
    #[arg(long)]
    pub all: bool,
}

/// Which server.
#[derive(Debug, Args)]
pub struct Which {
    /// Its address, or its id
    #[arg(value_name = "SERVER")]
    pub server: String,
    /// Its pool, where it is in several
    #[arg(long, value_name = "POOL")]
    pub pool: Option<String>,
}

/// `ringway ctl drain` and `down`.
#[derive(Debug, Args)]
pub struct Leave {
    /// Which.
    #[command(flatten)]
    pub which: Which,
    /// Whether to wait.
    #[command(flatten)]
    pub wait: Wait,
}

/// What becomes of the sessions of a server that gets no new ones.
#[derive(Clone, Copy, Debug, Args)]
pub struct Wait {
    /// Wait until no session is left there; exit code 4 if some are when the time has passed
    #[arg(long)]
    pub wait: bool,
    /// How long: 500ms, 60s, 10m, 1h at most
    #[arg(long, value_name = "TIME", default_value = "60s", requires = "wait")]
    #[arg(value_parser = time)]
    pub timeout: Duration,
    /// Close what is left then (or now, without --wait), so many a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub close_per_s: Option<u32>,
}

/// `ringway ctl add`.
#[derive(Debug, Args)]
pub struct Add {
    /// Its pool
    #[arg(value_name = "POOL")]
    pub pool: String,
    /// Where it is.
    // Not in the line above: rustdoc would take the brackets for a link.
    #[arg(value_name = "ADDR", help = "Where it is: IP:PORT, [IPv6]:PORT or unix:/PATH")]
    pub address: String,
    /// Its share, 1 to 256 [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub weight: Option<u16>,
    /// Its name in tokens and sids [default: its address]
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Used only when no other server can be
    #[arg(long)]
    pub backup: bool,
    /// Sessions at once
    #[arg(long, value_name = "N")]
    pub max_connections: Option<u32>,
}

/// `ringway ctl kill`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("whom").required(true).multiple(true)
    .args(["id", "client", "listener", "pool", "server", "host", "key", "all"]))]
pub struct Kill {
    /// As `ringway ctl sessions` has it
    #[arg(value_name = "ID")]
    #[arg(conflicts_with_all = ["client", "listener", "pool", "server", "host", "key", "all"])]
    pub id: Option<String>,
    /// Which.
    #[command(flatten)]
    pub filter: Filter,
    /// All there are
    #[arg(long, help_heading = "Which sessions")]
    #[arg(conflicts_with_all = ["client", "listener", "pool", "server", "host", "key"])]
    pub all: bool,
    /// So many a second, 1 to 1000000
    #[arg(long, value_name = "N", default_value_t = 1000, conflicts_with = "id")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub per_s: u32,
}

/// `ringway ctl why`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("about").required(true).multiple(true)
    .args(["what", "client", "key", "host", "path"]))]
pub struct Why {
    /// An address is a client, a name with a dot in it is a host, anything else is a key
    #[arg(value_name = "CLIENT|KEY|HOST")]
    pub what: Option<String>,
    /// The client's address
    #[arg(long, value_name = "IP")]
    pub client: Option<String>,
    /// What stickiness looks at: a sid, a cookie or whatever the pool goes by
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Host or TLS name
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Path of the request, with its query
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// Where the client comes in [default: the first listener]
    #[arg(long, value_name = "NAME")]
    pub listener: Option<String>,
}

/// `ringway top`.
#[derive(Debug, Args)]
pub struct Top {
    /// Where ringway is asked.
    #[command(flatten)]
    pub endpoint: Endpoint,
    /// Milliseconds from one look to the next, 100 to 60000
    #[arg(long, value_name = "N", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u64).range(100..=60_000))]
    pub interval_ms: u64,
}

/// Longest time that can be waited for, in milliseconds: what the endpoint takes.
const TIME_MAX_MS: u64 = 3_600_000;

fn time(written: &str) -> Result<Duration, String> {
    let digits = written.find(|c: char| !c.is_ascii_digit()).unwrap_or(written.len());
    let (number, unit) = written.split_at(digits);
    let unit_ms = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let time_ms = unit_ms.and_then(|unit_ms| number.parse::<u64>().ok()?.checked_mul(unit_ms));
    match time_ms {
        Some(time_ms) if time_ms <= TIME_MAX_MS => Ok(Duration::from_millis(time_ms)),
        _ => Err("must be a number with a unit (500ms, 60s, 10m), 1h at most".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_and_an_end() {
        let rows = [("500ms", 500), ("60s", 60_000), ("10m", 600_000), ("1h", TIME_MAX_MS)];
        for (written, time_ms) in rows {
            assert_eq!(time(written), Ok(Duration::from_millis(time_ms)), "{written}");
        }
        for wrong in ["60", "s", "", "-1s", "2h", "1.5s", "1 s", "99999999999999999999s"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
