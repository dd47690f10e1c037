//! `ringway doctor`: what this host allows, and what to change. Changes nothing itself.
//!
//! `look` asks the kernel, `judge` makes findings of its answers, `report` makes text or JSON of
//! those. Only `look` touches the host.

mod facts;
mod judge;
mod look;
mod report;

#[cfg(test)]
mod tests;

use crate::config::Config;

pub use report::{Report, State};

/// Everything there is to say about running `config`, or ringway without any, on this host.
pub fn examine(config: Option<&Config>) -> Report {
    judge::judge(&look::look(config))
}
