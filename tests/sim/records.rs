//! What ringway says of a session at its end must agree with what its two peers said and saw.

use std::fmt;

use ringway::edition::Edition;
use ringway::log::Record;
use ringway::session::CloseReason;
use ringway::sys::Side;

use crate::editions::{DENIED, Kind, Speech};
use crate::kernel::World;
use crate::link::Link;

/// A client that gets nothing for so long (`UNSENT_LOOKS`, but for a tick) may lose
/// what it is owed.
pub(crate) const GIVEN_UP_US: u64 = 4_980_000;

/// Checks one record.
pub(crate) fn check(record: &Record, edition: &Edition, world: &World) {
    let about = &record.about;
    // Of a client that was gone before anybody asked where it was, nobody can tell which it was.
    let Some(address) = about.client else { return };
    let client = &world.links[usize::from(address.port())];
    let session = client.session.and_then(|session| world.sessions.get(&session));
    let server = session.and_then(|sides| sides[Side::Server as usize]).map(|at| &world.links[at]);
    let told = Told { record, client, server };

    assert!(edition.number >= client.edition, "accepted under an old edition: {told}");
    let [up, down] = about.received;
    let taken = server.map_or(0, |server| server.taken);
    assert!(up <= client.taken && down <= taken, "more bytes than there were: {told}");
    let place =
        about.place.map(|place| edition.pools[usize::from(place.pool.0)].server(place.server).peer);
    if let Some(server) = server {
        assert_eq!(place, server.peer, "another server: {told}");
    }
    assert!(is_plausible(&told, edition, world), "the reason is wrong: {told}");
    check_bytes(&told, world.now_us);
    check_passed_on(&told, world);
}

/// Where both ends are known to have had their say, every byte is accounted for.
fn check_bytes(told: &Told<'_>, now_us: u64) {
    let Told { record, client, server } = told;
    let Some(server) = server else { return };
    let [up, down] = record.about.received;
    match record.reason {
        CloseReason::ClientClosed => {
            assert_eq!(up, client.said.len() as u64, "bytes of the client: {told}");
            assert_eq!(down, server.said.len() as u64, "bytes of the server: {told}");
            let in_order = !client.got_reset && !server.got_reset;
            assert!(in_order, "reset though both said EOF: {told}");
        }
        CloseReason::ServerClosed => {
            assert_eq!(down, server.said.len() as u64, "bytes of the server: {told}");
        }
        CloseReason::ServerReset | CloseReason::ServerLost
            if !server.failed && !client.has_failed() =>
        {
            assert_eq!(down, server.said.len() as u64, "bytes before the reset: {told}");
            let is_told = client.got_reset || client.got_fin;
            assert!(is_told, "the client was told of no reset: {told}");
            let is_given_up = now_us - client.progress_us >= GIVEN_UP_US;
            if !client.is_http() && !is_given_up {
                assert_eq!(client.given, down, "bytes before the reset: {told}");
            }
        }
        _ => {}
    }
}

/// Who was told EOF was sent all that the other side had said before it, also in worlds where
/// ringway says EOF of its own accord to others.
fn check_passed_on(told: &Told<'_>, world: &World) {
    let Told { record, client, server: Some(server) } = told else { return };
    if client.is_http() {
        return;
    }
    let header = world.header(client, server).len() as u64;
    let up = client.said.len() as u64 + header - client.script.header as u64;
    let down = server.said.len() as u64;
    match record.reason {
        CloseReason::ClientClosed => {
            assert_eq!([server.given, client.given], [up, down], "bytes before EOF: {told}");
        }
        CloseReason::ServerClosed => {
            assert_eq!(client.given, down, "bytes before the server's EOF: {told}");
        }
        _ => {}
    }
}

fn is_plausible(told: &Told<'_>, edition: &Edition, world: &World) -> bool {
    let Told { record, client, server } = told;
    let about = &record.about;
    let listener = &edition.config.listeners[usize::from(about.listener)];
    let kind = Kind::named(&listener.name);
    let peeks = listener.peek != ringway::config::Peek::None;
    let is_lost = |link: &Link| {
        use ringway::sys::Fault::{TimedOut, Unreachable};
        link.reset_by_peer && matches!(link.fault, Some(TimedOut | Unreachable))
    };
    match record.reason {
        CloseReason::ClientClosed => client.fin_in && server.is_some_and(|server| server.fin_in),
        CloseReason::ServerClosed => server.is_some_and(|server| server.fin_in),
        CloseReason::ClientReset => client.reset_by_peer,
        CloseReason::ServerReset => server.is_some_and(|server| server.reset_by_peer),
        CloseReason::ClientLost => is_lost(client),
        CloseReason::ServerLost => server.is_some_and(is_lost),
        CloseReason::Failed => client.failed || server.is_some_and(|server| server.failed),
        CloseReason::ClientSilent => {
            let [up, down] = about.received;
            (peeks || kind.proxied) && up <= client.script.header as u64 && down == 0
        }
        CloseReason::HeadIncomplete => (peeks || kind.proxied) && client.fin_in,
        CloseReason::HeadLate => {
            record.duration_us / 1000 >= u64::from(listener.peek_timeout_ms) && server.is_none()
        }
        CloseReason::HeadTooLarge => peeks && server.is_none(),
        CloseReason::HeadMalformed => peeks && kind.speech != Speech::Hello && server.is_none(),
        CloseReason::HelloMalformed => {
            [Speech::Hello, Speech::Any].contains(&kind.speech) && server.is_none()
        }
        CloseReason::ProxyMalformed => kind.proxied && server.is_none(),
        CloseReason::SourceLimit => {
            listener.max_connections_per_source.is_some() && server.is_none()
        }
        CloseReason::Denied => kind.name == DENIED && server.is_none(),
        CloseReason::ConnectFailed
        | CloseReason::Exhausted
        | CloseReason::QueueFull
        | CloseReason::QueueTimeout => about.place.is_none() && server.is_none(),
        CloseReason::KeyLost => {
            server.is_none() && edition.pools.iter().any(|pool| pool.spec().strict)
        }
        CloseReason::Idle | CloseReason::HalfClosed | CloseReason::MaxAge => {
            world.times_out && server.is_some()
        }
        // Nobody checks servers here.
        CloseReason::ServerDown => false,
        CloseReason::Killed => world.kills,
        CloseReason::Stopped => world.stopping,
    }
}

struct Told<'a> {
    record: &'a Record,
    client: &'a Link,
    server: Option<&'a Link>,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}\n{}", self.record, self.client)?;
        self.server.map_or(Ok(()), |server| write!(f, "{server}"))
    }
}
