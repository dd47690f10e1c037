//! What a pool says about the health of its servers, as written, and the JSON Schema of it.

use schemars::JsonSchema;
use serde::Serialize;

use super::ProxyVersion;
use super::file::{OrFalse, whole};
use super::limits::{
    CHECK_FALL, CHECK_FAST_INTERVAL_MS, CHECK_INTERVAL_MS, CHECK_JITTER_PERCENT, CHECK_PATH,
    CHECK_RISE, CHECK_STATUS, CHECK_STATUSES, CHECK_TIMEOUT_MS, CLOSE_PER_S, EJECT_BASE_MS,
    EJECT_FAILURES, EJECT_MAX_MS, EJECT_MAX_PERCENT, PORT,
};

/// Checks of each server, made beside all sessions.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Health", deny_unknown_fields)]
pub(super) struct HealthFile {
    /// What is looked at.
    pub(super) check: CheckWord,
    /// Milliseconds from one check to the next.
    #[schemars(range(min = CHECK_INTERVAL_MS.min, max = CHECK_INTERVAL_MS.max))]
    #[schemars(default = "whole::<{ CHECK_INTERVAL_MS.default }>")]
    pub(super) interval_ms: u32,
    /// The same from the first check that contradicts what is known until that is decided.
    #[schemars(range(min = CHECK_FAST_INTERVAL_MS.min, max = CHECK_FAST_INTERVAL_MS.max))]
    #[schemars(default = "whole::<{ CHECK_FAST_INTERVAL_MS.default }>")]
    pub(super) fast_interval_ms: u32,
    /// Milliseconds for all of one check.
    #[schemars(range(min = CHECK_TIMEOUT_MS.min, max = CHECK_TIMEOUT_MS.max))]
    #[schemars(default = "whole::<{ CHECK_TIMEOUT_MS.default }>")]
    pub(super) timeout_ms: u32,
    /// Percent by which an interval may be longer or shorter.
    #[schemars(range(min = CHECK_JITTER_PERCENT.min, max = CHECK_JITTER_PERCENT.max))]
    #[schemars(default = "whole::<{ CHECK_JITTER_PERCENT.default }>")]
    pub(super) jitter_percent: u32,
    /// Checks in a row that bring a server up.
    #[schemars(range(min = CHECK_RISE.min, max = CHECK_RISE.max))]
    #[schemars(default = "whole::<{ CHECK_RISE.default }>")]
    pub(super) rise: u32,
    /// Checks in a row that take a server down; the first check of all decides alone.
    #[schemars(range(min = CHECK_FALL.min, max = CHECK_FALL.max))]
    #[schemars(default = "whole::<{ CHECK_FALL.default }>")]
    pub(super) fall: u32,
    /// Port that is checked; not given: the server's own.
    #[schemars(range(min = PORT.min, max = PORT.max))]
    pub(super) port: Option<u32>,
    /// PROXY header in front of each check, which says that it is nobody's connection (`UNKNOWN`,
    /// or the command `LOCAL`).
    #[schemars(default)]
    pub(super) send_proxy: OrFalse<ProxyVersion>,
    /// `http`: what is asked for.
    #[schemars(default = "path")]
    pub(super) path: String,
    /// `http`: the Host header; not given: the server's address.
    pub(super) host: Option<String>,
    /// `http`: status codes that are right, such as `204` or `"200-399"`.
    #[schemars(length(min = 1), default = "status")]
    pub(super) status: Vec<StatusFile>,
    /// `http`: what the first 64 KiB of the body must contain.
    pub(super) body: Option<String>,
}

/// What a check looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Check")]
pub(super) enum CheckWord {
    /// Whether it can be connected to.
    Tcp,
    /// The answer to a GET.
    Http,
}

/// A status code, or a range of them.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(super) enum StatusFile {
    /// One.
    Code(#[schemars(range(min = CHECK_STATUS.min, max = CHECK_STATUS.max))] u32),
    /// `"200-399"`.
    Range(String),
}

/// When sessions that had no luck with a server have it left out, and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Eject", deny_unknown_fields)]
pub(super) struct EjectFile {
    /// Failed connects in a row, or in a row resets within a second and without a byte.
    #[schemars(range(min = EJECT_FAILURES.min, max = EJECT_FAILURES.max))]
    #[schemars(default = "whole::<{ EJECT_FAILURES.default }>")]
    pub(super) failures: u32,
    /// Milliseconds the first time; twice as long each time it happens again soon.
    #[schemars(range(min = EJECT_BASE_MS.min, max = EJECT_BASE_MS.max))]
    #[schemars(default = "whole::<{ EJECT_BASE_MS.default }>")]
    pub(super) base_ms: u32,
    /// Milliseconds at most.
    #[schemars(range(min = EJECT_MAX_MS.min, max = EJECT_MAX_MS.max))]
    #[schemars(default = "whole::<{ EJECT_MAX_MS.default }>")]
    pub(super) max_ms: u32,
    /// Percent of the weight of all servers that are not down beyond which no ejection counts.
    #[schemars(range(min = EJECT_MAX_PERCENT.min, max = EJECT_MAX_PERCENT.max))]
    #[schemars(default = "whole::<{ EJECT_MAX_PERCENT.default }>")]
    pub(super) max_percent: u32,
}

/// `"keep"`, or an object with a rate.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "OnDown")]
pub(super) enum OnDownFile {
    Word(OnDownWord),
    Close(CloseFile),
}

/// What needs no more than its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum OnDownWord {
    /// They go on.
    Keep,
}

/// How fast sessions are closed.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Close", deny_unknown_fields)]
pub(super) struct CloseFile {
    /// Sessions closed in a second.
    #[schemars(range(min = CLOSE_PER_S.min, max = CLOSE_PER_S.max))]
    pub(super) close_per_s: u32,
}

impl Default for OnDownFile {
    fn default() -> Self {
        Self::Word(OnDownWord::Keep)
    }
}

pub(super) fn eject() -> OrFalse<EjectFile> {
    OrFalse::Set(EjectFile {
        failures: EJECT_FAILURES.default,
        base_ms: EJECT_BASE_MS.default,
        max_ms: EJECT_MAX_MS.default,
        max_percent: EJECT_MAX_PERCENT.default,
    })
}

pub(super) fn path() -> String {
    CHECK_PATH.to_owned()
}

pub(super) fn status() -> Vec<StatusFile> {
    vec![StatusFile::Range(CHECK_STATUSES.to_owned())]
}
