//! Entry: enough is known to choose a pool. Exit: connect, with the bytes to send first and what
//! is still to be watched for.

use std::net::SocketAddr;

use super::connect::{self, Connecting};
use super::relay::ClientHalf;
use super::watch::{Gate, Watch};
use super::{About, Cx, Phase};
use crate::config::{Forwarded, KeepAlive, PoolIndex};
use crate::peek::body::RequestEnd;
use crate::peek::client_hello::ClientHello;
use crate::peek::edit::{self, ForwardedEdit, RequestEdit};
use crate::peek::http_head::RequestHead;
use crate::pool::KeyKind;

/// Nothing was read, or nothing that says where to go: the listener's own pool.
pub(super) fn opaque(
    about: &mut About,
    local: Option<SocketAddr>,
    bytes: Vec<u8>,
    client: ClientHalf,
    cx: &mut Cx<'_>,
) -> Phase {
    let pool = about.listener(cx.config).pool;
    let key = cx.pools[pool.0 as usize].key(None, client_ip(about));
    let connecting = Connecting::new(pool, key, bytes, client, local, cx.now_us);
    connect::start(connecting, about, cx)
}

/// TLS goes by SNI and ALPN, undecrypted.
pub(super) fn tls(
    about: &mut About,
    local: Option<SocketAddr>,
    bytes: Vec<u8>,
    hello: &ClientHello,
    cx: &mut Cx<'_>,
) -> Phase {
    about.host = hello.sni.as_deref().map(|sni| cx.hosts.intern(sni));
    let listener = about.listener(cx.config);
    let alpn = hello.alpn.iter().map(Vec::as_slice);
    let pool = listener.routes.find(hello.sni.as_deref(), alpn).unwrap_or(listener.pool);
    let key = cx.pools[pool.0 as usize].key(None, client_ip(about));
    let connecting = Connecting::new(pool, key, bytes, ClientHalf::Idle, local, cx.now_us);
    connect::start(connecting, about, cx)
}

/// HTTP goes by Host and key; `held` starts with the head.
pub(super) fn http(
    about: &mut About,
    local: Option<SocketAddr>,
    held: &[u8],
    head: &RequestHead<'_>,
    cx: &mut Cx<'_>,
) -> Phase {
    about.host = head.host.as_deref().map(|host| cx.hosts.intern(host));
    let listener = about.listener(cx.config);
    let pool =
        listener.routes.find(head.host.as_deref(), std::iter::empty()).unwrap_or(listener.pool);
    let key = cx.pools[pool.0 as usize].key(Some(head), client_ip(about));
    let one_request = listener.keep_alive == KeepAlive::OneRequest;

    // Behind the end of the one request nothing may be forwarded, and behind an upgrade nothing
    // until the server has agreed.
    let following = &held[head.end..];
    let (gate, belonging) = match (one_request, head.websocket) {
        (false, _) => (Gate::Open, following.len()),
        (true, true) => (Gate::hold(following), 0),
        (true, false) => {
            let mut end = RequestEnd::new(head.body);
            let belonging = end.feed(following);
            (Gate::Until(end), belonging)
        }
    };
    let bytes = edited(about, pool, &held[..head.end + belonging], head, one_request, cx);
    let mut connecting = Connecting::new(pool, key, bytes, ClientHalf::Idle, local, cx.now_us);
    connecting.http = Some(head.header("origin").map(Box::from));
    let is_polling_handshake = key.kind == KeyKind::Handshake && !head.websocket;
    let mut watch = Watch::new(gate, one_request, is_polling_handshake);
    if one_request && !head.websocket && belonging < following.len() && watch.is_first_surplus() {
        cx.pools[pool.0 as usize].counts(cx.worker).throw_away();
    }
    connecting.watch = Some(Box::new(watch));
    connect::start(connecting, about, cx)
}

/// The head as the server gets it.
fn edited(
    about: &About,
    pool: PoolIndex,
    bytes: &[u8],
    head: &RequestHead<'_>,
    close: bool,
    cx: &Cx<'_>,
) -> Vec<u8> {
    let mode = cx.pools[pool.0 as usize].spec().forwarded;
    let forwarded =
        client_ip(about).filter(|_| mode != Forwarded::Off).map(|client| ForwardedEdit {
            client,
            replace: mode == Forwarded::Replace,
            proto: if about.client_tls { "https" } else { "http" },
        });
    if !close && forwarded.is_none() {
        return bytes.to_vec();
    }
    // The fields added take less than this.
    let mut out = Vec::with_capacity(bytes.len() + 128);
    edit::request(bytes, head, &RequestEdit { close, forwarded }, &mut out);
    out
}

fn client_ip(about: &About) -> Option<std::net::IpAddr> {
    about.client.map(|client| client.ip())
}
