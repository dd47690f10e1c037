//! The names by which clients come back to a server: tokens in cookies, prefixes of sids.
//!
//! Computed from the configuration alone, so they survive restarts and are the same on every
//! machine with the same file. Knows nothing of requests.

use std::fmt::Write;

use hashbrown::HashMap;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::ServerIndex;

/// Bytes of the HMAC in a token: 64 bits are too many to guess and short enough for a cookie.
const TOKEN_BYTES: usize = 8;

/// Keys tokens where no secret is configured: they then hide the id from the eye only.
const NO_SECRET: &str = "ringway";

/// An opaque name for a server: the first 16 hex digits of HMAC-SHA256(secret, server id).
pub(super) fn token(secret: &str, id: &str) -> String {
    let secret = if secret.is_empty() { NO_SECRET } else { secret };
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length is a key");
    mac.update(id.as_bytes());
    let digest = mac.finalize().into_bytes();
    digest[..TOKEN_BYTES].iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes everything");
        hex
    })
}

/// From a name to its server.
#[derive(Debug, Default)]
pub(super) struct Names {
    servers: HashMap<Box<[u8]>, ServerIndex>,
    longest: usize,
}

impl Names {
    /// Names must differ; of two that do not, the first counts.
    pub(super) fn new(names: impl Iterator<Item = (String, ServerIndex)>) -> Self {
        let mut all = Self::default();
        for (name, server) in names {
            all.longest = all.longest.max(name.len());
            all.servers.entry(name.into_bytes().into()).or_insert(server);
        }
        all
    }

    /// The server of exactly this name.
    pub(super) fn named(&self, name: &[u8]) -> Option<ServerIndex> {
        self.servers.get(name).copied()
    }

    /// The server named before a dot in `sid`. Ids may have dots themselves (`10.0.0.1:80`), so
    /// the longest name that fits wins.
    pub(super) fn prefixing(&self, sid: &[u8]) -> Option<ServerIndex> {
        let within = &sid[..sid.len().min(self.longest + 1)];
        let dots = within.iter().enumerate().rev().filter(|&(_, &byte)| byte == b'.');
        dots.map(|(dot, _)| &sid[..dot]).find_map(|prefix| self.named(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_the_start_of_an_hmac() {
        // RFC 4231, test case 2.
        assert_eq!(token("Jefe", "what do ya want for nothing?"), "5bdcc146bf60754e");
        assert_eq!(token("", "s1"), token(NO_SECRET, "s1"));
        assert_ne!(token("a", "s1"), token("b", "s1"));
    }

    #[test]
    fn the_longest_prefix_that_is_a_name_wins() {
        let names = ["s1", "10.0.0.1:80", "10.0.0.1:80.b"].map(String::from);
        let names = Names::new(names.into_iter().zip((0..).map(ServerIndex)));
        let rows: [(&str, Option<u16>); 10] = [
            ("s1.abc", Some(0)),
            ("s1.", Some(0)),
            ("s1", None),
            ("s1-abc", None),
            ("s2.abc", None),
            (".s1.abc", None),
            ("", None),
            ("10.0.0.1:80.abc", Some(1)),
            ("10.0.0.1:80.b.c", Some(2)),
            ("10.0.0.1:81.b.c.d", None),
        ];
        for (sid, expected) in rows {
            assert_eq!(names.prefixing(sid.as_bytes()).map(|s| s.0), expected, "{sid}");
        }
    }
}
