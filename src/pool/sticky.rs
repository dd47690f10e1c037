//! What keeps a client at its server: reading the key of a connection.
//!
//! Looks at the head and the client address, never at counts or at what was tried. A key borrows
//! nothing: what was read is kept as a hash or as the server it names.

use std::net::IpAddr;
use std::sync::Arc;

use super::learned::Learned;
use super::tokens::{Names, token};
use super::{Server, ServerIndex, ring};
use crate::config;
use crate::peek::http_head::RequestHead;
use crate::peek::sid::{self, Requested};

/// What the sticky rule of a pool saw in a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// What it is, for logs.
    pub kind: KeyKind,
    /// What is kept of it, so that its session can be found by it; 0: nothing.
    pub hash: u64,
    pub(super) leads: Leads,
}

impl Key {
    /// It is one that a server is expected to know.
    pub fn asks_for_a_server(&self) -> bool {
        !matches!(self.kind, KeyKind::None | KeyKind::Handshake)
    }
}

/// The kinds of [`Key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// The connection has none.
    None,
    /// The client address.
    Source,
    /// A cookie of the servers.
    Cookie,
    /// The cookie ringway sets.
    Insert,
    /// A request header.
    Header,
    /// A query parameter.
    Query,
    /// A Socket.IO session id.
    Sid,
    /// No key, but the request that will get a Socket.IO session id.
    Handshake,
}

impl KeyKind {
    /// The word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Source => "source",
            Self::Cookie => "cookie",
            Self::Insert => "insert",
            Self::Header => "header",
            Self::Query => "query",
            Self::Sid => "sid",
            Self::Handshake => "handshake",
        }
    }
}

/// Where a key leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leads {
    /// Nowhere: balance.
    Nowhere,
    /// To a place on the ring.
    Place(u64),
    /// To the server it names.
    Server(ServerIndex),
    /// It should name a server and names none of ours.
    Astray,
    /// Wherever the learned table says.
    Learned(u64),
}

/// A [`config::Sticky`] made ready: names looked up, tokens computed, table allocated.
#[derive(Debug)]
pub(super) enum Rule {
    None,
    Source,
    Cookie { name: String, learned: Option<Arc<Learned>> },
    Insert { name: String, tokens: Names },
    Header { name: String },
    Query { name: String },
    SocketIo { path: String, prefixes: Names, learned: Arc<Learned> },
}

impl Rule {
    /// Keeps the learned keys of the rule before, where it looked at the same.
    pub(super) fn new(
        sticky: &config::Sticky,
        servers: &[Server],
        before: Option<&Self>,
        seed: u64,
    ) -> Self {
        use config::Sticky;
        let learned = |learn| {
            let before = before.filter(|before| before.outlasts(sticky)).and_then(Self::table);
            let learned = before.map_or_else(|| Arc::new(Learned::new(learn, seed)), Arc::clone);
            learned.limit(learn);
            learned
        };
        match sticky {
            Sticky::None => Self::None,
            Sticky::Source => Self::Source,
            Sticky::Cookie { name, learn } => {
                Self::Cookie { name: name.clone(), learned: learn.map(learned) }
            }
            Sticky::Insert { name, secret, .. } => {
                Self::Insert { name: name.clone(), tokens: tokens(secret, servers) }
            }
            Sticky::Header { name } => Self::Header { name: name.clone() },
            Sticky::Query { name } => Self::Query { name: name.clone() },
            Sticky::SocketIo { path, secret, learn } => Self::SocketIo {
                path: without_slash(path).to_owned(),
                prefixes: match secret {
                    Some(secret) => tokens(secret, servers),
                    None => Names::new(indexed(servers).map(|(at, s)| (s.id.to_string(), at))),
                },
                learned: learned(*learn),
            },
        }
    }

    /// Whether what was learned under this rule means the same under that one.
    pub(super) fn outlasts(&self, sticky: &config::Sticky) -> bool {
        use config::Sticky;
        match (self, sticky) {
            (Self::SocketIo { .. }, Sticky::SocketIo { .. }) => true,
            (Self::Cookie { name, learned: Some(_) }, Sticky::Cookie { name: then, learn }) => {
                name == then && learn.is_some()
            }
            _ => false,
        }
    }

    /// Whether some key leads to a place on the ring.
    pub(super) fn hashes(&self) -> bool {
        matches!(
            self,
            Self::Source
                | Self::Cookie { learned: None, .. }
                | Self::Header { .. }
                | Self::Query { .. }
        )
    }

    pub(super) fn learned(&self) -> Option<&Learned> {
        self.table().map(|learned| &**learned)
    }

    fn table(&self) -> Option<&Arc<Learned>> {
        match self {
            Self::Cookie { learned, .. } => learned.as_ref(),
            Self::SocketIo { learned, .. } => Some(learned),
            _ => None,
        }
    }

    /// The hash under which a value from a response is learned; `None` where nothing is, or need
    /// not be, because the value itself names the server.
    pub(super) fn to_learn(&self, value: &[u8], server: ServerIndex) -> Option<u64> {
        match self {
            Self::Cookie { learned, .. } => {
                Some(learned.as_ref()?.hash(without_quotes(value).iter().copied()))
            }
            Self::SocketIo { prefixes, learned, .. } => {
                let is_named = prefixes.prefixing(value) == Some(server);
                (!is_named).then(|| learned.hash(value.iter().copied()))
            }
            _ => None,
        }
    }

    /// What is kept of a key of this kind.
    pub(super) fn hash(&self, value: &[u8]) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Source => Some(source(str::from_utf8(value).ok()?.parse().ok()?)),
            Self::Cookie { learned: Some(learned), .. } => {
                Some(learned.hash(without_quotes(value).iter().copied()))
            }
            Self::SocketIo { learned, .. } => Some(learned.hash(value.iter().copied())),
            Self::Cookie { learned: None, .. }
            | Self::Insert { .. }
            | Self::Header { .. }
            | Self::Query { .. } => Some(ring::place(value)),
        }
    }

    /// The key of a connection; one that is there but empty counts as missing, or all clients
    /// without a value would go to one server.
    pub(super) fn key(&self, head: Option<&RequestHead<'_>>, client: Option<IpAddr>) -> Key {
        let found = match self {
            Self::None => None,
            Self::Source => client.map(|client| placed(KeyKind::Source, source(client))),
            Self::Cookie { name, learned } => {
                head.and_then(|head| head.cookie(name)).filter(|v| !v.is_empty()).map(|value| {
                    learned.as_ref().map_or_else(
                        || placed(KeyKind::Cookie, ring::place(value)),
                        |learned| {
                            let hash = learned.hash(value.iter().copied());
                            (KeyKind::Cookie, Leads::Learned(hash), hash)
                        },
                    )
                })
            }
            Self::Insert { name, tokens } => {
                let value = head.and_then(|head| head.cookie(name)).filter(|v| !v.is_empty());
                let leads = |token| tokens.named(token).map_or(Leads::Astray, Leads::Server);
                value.map(|token| (KeyKind::Insert, leads(token), ring::place(token)))
            }
            Self::Header { name } => {
                let value = head.and_then(|head| head.header(name)).filter(|v| !v.is_empty());
                value.map(|value| placed(KeyKind::Header, ring::place(value)))
            }
            Self::Query { name } => {
                let value = head.and_then(|head| head.query(name)).filter(|v| !v.is_empty());
                value.map(|value| placed(KeyKind::Query, ring::place(value.as_bytes())))
            }
            Self::SocketIo { path, prefixes, learned } => head
                .filter(|head| without_slash(head.path()) == path)
                .and_then(|head| socketio(head, prefixes, learned)),
        };
        let (kind, leads, hash) = found.unwrap_or((KeyKind::None, Leads::Nowhere, 0));
        Key { kind, hash, leads }
    }
}

/// A request on the Socket.IO path: with a sid it belongs to a server, without one it is the
/// handshake if it speaks Engine.IO at all. Parameters may come in any order.
fn socketio(
    head: &RequestHead<'_>,
    prefixes: &Names,
    learned: &Learned,
) -> Option<(KeyKind, Leads, u64)> {
    let sid = match sid::requested(head) {
        Requested::Sid(sid) => sid,
        // Which of them counts is the server's choice, so none leads anywhere.
        Requested::Several => return Some((KeyKind::Sid, Leads::Astray, 0)),
        Requested::Nothing => {
            // A preflight (OPTIONS) gets no sid, and would take the turn of the handshake behind
            // it.
            let is_handshake = head.method == "GET" && head.query("EIO").is_some();
            return is_handshake.then_some((KeyKind::Handshake, Leads::Nowhere, 0));
        }
    };
    let hash = learned.hash(sid.iter().copied());
    let leads = prefixes.prefixing(&sid).map_or(Leads::Learned(hash), Leads::Server);
    Some((KeyKind::Sid, leads, hash))
}

fn placed(kind: KeyKind, place: u64) -> (KeyKind, Leads, u64) {
    (kind, Leads::Place(place), place)
}

/// The value of a cookie may stand in quotes (RFC 6265 section 4.1.1).
fn without_quotes(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value)
}

/// Where a client address is placed; `::ffff:192.0.2.1` (a dual-stack listener) is `192.0.2.1`.
pub(super) fn source(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(client) => ring::place(&client.octets()),
        IpAddr::V6(client) => ring::place(&client.octets()),
    }
}

fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

fn tokens(secret: &str, servers: &[Server]) -> Names {
    Names::new(indexed(servers).map(|(at, server)| (token(secret, &server.id), at)))
}

pub(super) fn indexed(servers: &[Server]) -> impl Iterator<Item = (ServerIndex, &Server)> + Clone {
    (0..).map(ServerIndex).zip(servers)
}
