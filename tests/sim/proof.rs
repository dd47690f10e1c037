//! What must be true of every session, told from what its two peers said and saw.

use std::fmt;

use memchr::memmem;

use crate::kernel::World;
use crate::link::Link;
use crate::script::Tongue;

/// Checks everything peers have seen since the last check.
pub(crate) fn check(world: &mut World) {
    for (session, sides) in &world.sessions {
        let [Some(client), server] = *sides else { continue };
        let is_changed = |link: usize| world.links[link].changed;
        if !is_changed(client) && !server.is_some_and(is_changed) {
            continue;
        }
        let client = &world.links[client];
        let Some(server) = server.map(|server| &world.links[server]) else {
            check_unserved(client);
            continue;
        };
        let where_from = || format!("session {session:?}: {client}, {server}");
        let header = world.header(client, server);
        check_bytes(client, server, &header, &where_from);
        if !world.stopping && !world.times_out {
            check_eof(client, server, &header, &where_from);
        }
    }
    world.links.iter_mut().for_each(|link| link.changed = false);
}

/// A client that never reached a server: silence, or an answer of ringway's own.
fn check_unserved(client: &Link) {
    let answer = b"HTTP/1.1 ";
    let seen = client.got.len().min(answer.len());
    assert_eq!(client.got[..seen], answer[..seen], "only an answer comes from nobody");
}

fn check_bytes(client: &Link, server: &Link, header: &[u8], where_from: &dyn Fn() -> String) {
    let up = expected_up(client, server);
    let (headed, got) = server.got.split_at(header.len().min(server.got.len()));
    assert!(header.starts_with(headed), "the PROXY header: {}", where_from());
    assert!(is_prefix(got, up, client.is_http()), "to the server: {}", where_from());
    let down = &server.said;
    assert!(is_prefix(&client.got, down, client.is_http()), "to the client: {}", where_from());
}

/// What a server may get of what its client said.
fn expected_up<'a>(client: &'a Link, server: &Link) -> &'a [u8] {
    let said = client.said.get(client.script.header..).unwrap_or_default();
    match client.script.tongue {
        Tongue::Request { len, websocket } if client.one_request => {
            let agreed = websocket
                && head_end(&server.said)
                    .is_some_and(|end| memmem::find(&server.said[..end], b" 101 ").is_some());
            if agreed { said } else { &said[..len.min(said.len())] }
        }
        _ => said,
    }
}

/// Whether `got` is the beginning of `said`; heads may have been edited.
fn is_prefix(got: &[u8], said: &[u8], http: bool) -> bool {
    if said.starts_with(got) {
        return true;
    }
    if !http {
        return false;
    }
    match (head_end(got), head_end(said)) {
        (Some(got_end), Some(said_end)) => said[said_end..].starts_with(&got[got_end..]),
        // Not whole yet: its first line is never edited.
        (None, Some(_)) => {
            memchr::memchr(b'\n', got).is_none_or(|end| said.starts_with(&got[..end]))
        }
        _ => false,
    }
}

/// The end of the first head that is not interim.
fn head_end(bytes: &[u8]) -> Option<usize> {
    let end = memmem::find(bytes, b"\r\n\r\n")? + 4;
    if bytes.starts_with(b"HTTP/1.1 100") {
        Some(end + head_end(&bytes[end..])?)
    } else {
        Some(end)
    }
}

/// EOF comes only behind the last byte of whoever said it.
fn check_eof(client: &Link, server: &Link, header: &[u8], where_from: &dyn Fn() -> String) {
    if server.got_fin && !server.reset_by_peer {
        assert!(client.fin_in, "the server was told of an EOF: {}", where_from());
        let (got, wanted) = (server.got.get(header.len()..), expected_up(client, server));
        let is_whole = got.is_some_and(|got| has_all(got, wanted, client.is_http()));
        assert!(is_whole, "lost going up: {}", where_from());
    }
    if client.got_fin && !client.reset_by_peer {
        assert!(server.fin_in, "the client was told of an EOF: {}", where_from());
        let wanted = &server.said;
        assert!(has_all(&client.got, wanted, client.is_http()), "lost coming: {}", where_from());
    }
}

fn has_all(got: &[u8], said: &[u8], http: bool) -> bool {
    if got.len() == said.len() {
        return true;
    }
    let behind = |bytes: &[u8]| head_end(bytes).map(|end| bytes.len() - end);
    http && behind(got) == behind(said) && behind(got).is_some()
}

/// After everybody has finished, nobody waits.
pub(crate) fn check_finished(world: &World) {
    for link in &world.links {
        assert!(link.is_over(), "still waiting: {link}");
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { side, session, said, got, .. } = self;
        write!(f, "{side:?} {session:?} said {} got {} ", said.len(), got.len())?;
        write!(f, "({:?}, {:?}", self.script.tongue, self.script.ending)?;
        for (is, word) in [
            (self.fin_in, "said EOF"),
            (self.got_fin, "saw EOF"),
            (self.got_reset, "saw reset"),
            (self.reset_by_peer, "reset"),
            (self.failed, "failed a call"),
            (self.closed, "closed"),
        ] {
            if is {
                write!(f, ", {word}")?;
            }
        }
        write!(f, "; {} in, {} out)", self.inbox.len(), self.outbox.len())
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for link in self.links.iter().filter(|link| !link.is_over()) {
            writeln!(f, "{link}")?;
        }
        self.describe_pending(f)
    }
}
