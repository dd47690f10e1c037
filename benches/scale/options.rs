//! What is asked for.

use clap::Parser;

/// Holds sessions through one ringway process and says what they cost
#[derive(Debug, Parser)]
#[command(name = "scale")]
pub(crate) struct Options {
    /// Sessions to hold; a number the machine has no memory for ends where the share below is used
    #[arg(default_value_t = 100_000, value_parser = sessions)]
    pub(crate) sessions: usize,
    /// Seconds from one message of a session to its next; 0: none, all are idle
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    pub(crate) every: u64,
    /// Seconds to hold all sessions for
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) hold: u64,
    /// `ulimit -n` of ringway and of this program
    #[arg(long, default_value_t = 20_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(13_000..=1_000_000))]
    pub(crate) descriptors: u64,
    /// Percent of the memory available at the start that the sessions may use up
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(10..=90))]
    pub(crate) memory: u64,
    /// Raise the machine's fs.file-max to what the sessions need, and put it back at the end; needs
    /// root
    #[arg(long)]
    pub(crate) raise_file_max: bool,
    /// One server address for all sessions, so that they need more source addresses than one
    #[arg(long)]
    pub(crate) one_server: bool,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// What the sessions do, in words.
    pub(crate) fn load(&self) -> String {
        match self.every {
            0 => "silence".to_owned(),
            every => format!("a message of 16 bytes per session and {every} s"),
        }
    }
}

fn sessions(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(sessions @ 1..=4_000_000) => Ok(sessions),
        _ => Err("a number from 1 to 4,000,000 is needed".to_owned()),
    }
}
