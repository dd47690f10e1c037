//! What a pool says about stickiness, as written, and the JSON Schema of it.

use schemars::JsonSchema;
use serde::Serialize;

use super::file::whole;
use super::limits::{COOKIE_ATTRIBUTES, MAX_ENTRIES, SOCKETIO_PATH, TTL_S};

/// A word, or an object with `by`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Sticky")]
pub(super) enum StickyFile {
    Word(StickyWord),
    Rule(StickyRule),
}

/// Stickiness that needs no more than its name.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum StickyWord {
    /// Nothing keeps a client at its server.
    None,
    /// The client address, by consistent hash.
    Source,
    /// The Socket.IO session id, with every setting at its default.
    SocketIo,
}

/// What stickiness looks at. `strict`: a key that cannot be honoured is refused (503) instead of
/// placed afresh.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "by", rename_all = "lowercase")]
#[schemars(deny_unknown_fields)]
pub(super) enum StickyRule {
    /// The client address (of the PROXY header where one is accepted), by consistent hash.
    Source {
        /// Refuse instead of placing afresh.
        #[schemars(default)]
        strict: bool,
    },
    /// A cookie the servers set.
    Cookie {
        /// Cookie name.
        name: String,
        /// Remember which server set which value; without it values are placed by consistent hash.
        #[schemars(default)]
        learn: bool,
        /// Seconds a learned value outlives its last connection.
        #[schemars(range(min = TTL_S.min, max = TTL_S.max))]
        #[schemars(default = "whole::<{ TTL_S.default }>")]
        ttl_s: u32,
        /// Learned values kept at most.
        #[schemars(range(min = MAX_ENTRIES.min, max = MAX_ENTRIES.max))]
        #[schemars(default = "whole::<{ MAX_ENTRIES.default }>")]
        max_entries: u32,
        /// ringway sets the cookie itself: the same as `"by": "insert"`.
        #[schemars(default)]
        insert: bool,
        /// With `insert`: keys the token; the same on every machine that shares clients.
        #[schemars(default)]
        secret: String,
        /// With `insert`: what follows the value in Set-Cookie.
        #[schemars(default = "cookie_attributes")]
        attributes: String,
        /// Refuse instead of placing afresh.
        #[schemars(default)]
        strict: bool,
    },
    /// A cookie ringway sets.
    Insert {
        /// Cookie name.
        name: String,
        /// Keys the token, so set one; the same on every machine that shares clients.
        #[schemars(default)]
        secret: String,
        /// What follows the value in Set-Cookie.
        #[schemars(default = "cookie_attributes")]
        attributes: String,
        /// Refuse instead of placing afresh.
        #[schemars(default)]
        strict: bool,
    },
    /// A request header, by consistent hash.
    Header {
        /// Field name, in any case.
        name: String,
        /// Refuse instead of placing afresh.
        #[schemars(default)]
        strict: bool,
    },
    /// A query parameter, by consistent hash.
    Query {
        /// Parameter name as it stands in the URL.
        name: String,
        /// Refuse instead of placing afresh.
        #[schemars(default)]
        strict: bool,
    },
    /// The Socket.IO session id: learned from the handshake, or led by a server's id.
    SocketIo {
        /// Request path.
        #[schemars(default = "socketio_path")]
        path: String,
        /// Sid prefixes are tokens keyed by this; not given: they are server ids.
        secret: Option<String>,
        /// Seconds a learned sid outlives its last connection.
        #[schemars(range(min = TTL_S.min, max = TTL_S.max))]
        #[schemars(default = "whole::<{ TTL_S.default }>")]
        ttl_s: u32,
        /// Learned sids kept at most.
        #[schemars(range(min = MAX_ENTRIES.min, max = MAX_ENTRIES.max))]
        #[schemars(default = "whole::<{ MAX_ENTRIES.default }>")]
        max_entries: u32,
        /// Refuse instead of placing afresh.
        #[schemars(default)]
        strict: bool,
    },
}

impl Default for StickyFile {
    fn default() -> Self {
        Self::Word(StickyWord::None)
    }
}

fn cookie_attributes() -> String {
    COOKIE_ATTRIBUTES.to_owned()
}

fn socketio_path() -> String {
    SOCKETIO_PATH.to_owned()
}
