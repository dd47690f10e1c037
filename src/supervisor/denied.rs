//! Why something that was asked for is not done.

use std::fmt;

use crate::config::{Address, Config};

/// What stands against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) kind: Kind,
    /// In one line.
    pub(crate) text: String,
    /// Everything that is wrong with a configuration.
    pub(crate) problems: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What it is about is not there.
    NotFound,
    /// It cannot be done as things are.
    Conflict,
}

impl Denied {
    fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), problems: Vec::new() }
    }

    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, text)
    }

    pub(crate) fn conflict(text: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, text)
    }

    pub(crate) fn no_pool(name: &str, config: &Config) -> Self {
        let names: Vec<_> = config.pools.iter().map(|pool| format!("{:?}", pool.name)).collect();
        let are = if names.len() == 1 { "is" } else { "are" };
        Self::not_found(format!("there is no pool {name:?}; there {are} {}", names.join(", ")))
    }

    pub(crate) fn no_server(pool: &str, server: &Address) -> Self {
        Self::not_found(format!("pool {pool} has no server {server}"))
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
