//! `make soak MINUTES=10`: load of every kind at once through one ringway, while its file changes
//! and its servers die; every byte is compared, and in the end nothing may be left.
//! `make soak-reload`: a reload every 100 ms under live WebSockets and new connections.
//!
//! ```text
//! load (one thread) ─────┐           ┌─▶ four servers of this program   ◀─ SIGKILL, SIGSTOP
//!                        ├▶ ringway ─┤
//! Socket.IO clients ─────┘     ▲     └─▶ four Socket.IO servers (Node)  ◀─ SIGKILL, SIGSTOP
//!                           SIGHUP, files good and wrong
//! ```
//!
//! Files in reading order: what is asked for, what a session does and both its ends, the processes,
//! the files, the run, its report; then the reloads. Nothing leaves loopback, and every process
//! that was started ends with this one.

mod options;

mod numbers;
mod plan;
mod server;
mod session;

mod faults;
mod program;

mod balancer;
mod holdings;
mod servers;

mod load;
mod socketio;

mod files;
mod run;

mod report;

mod reloads;
mod visitors;
mod web;
#[path = "../field/websocket.rs"]
mod websocket;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use options::Options;

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let is_server = words.first().is_some_and(|word| word == "server");
    let result = if is_server {
        server::serve(&words[1..]).map(|()| true)
    } else {
        let options = Options::parse();
        if options.reload { reloads::run(&options) } else { run::run(&options) }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}
