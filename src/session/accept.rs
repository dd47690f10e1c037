//! Entry: a client was accepted. Exits: peek, first_bytes or connect (nothing to peek at), close
//! (denied).

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::relay::ClientHalf;
use super::{About, CloseReason, Cx, Phase, close, first_bytes, peek, route};
use crate::config::Peek;

/// Applies allow and deny before any byte is read, then goes to the first phase that has work.
pub(super) fn start(about: &mut About, local: Option<SocketAddr>, cx: &mut Cx<'_>) -> Phase {
    let listener = about.listener(cx.config);
    let ip = about.client.map(|client| client.ip());
    if ip.is_some_and(|ip| is_denied(ip, &listener.allow, &listener.deny)) {
        return close::close(CloseReason::Denied, cx);
    }
    let proxied = ip.is_some_and(|ip| contains(&listener.accept_proxy, ip));
    if proxied || listener.peek != Peek::None {
        return peek::start(proxied, local, about, cx);
    }
    if first_bytes::are_due(about, cx) {
        return first_bytes::start(local, cx);
    }
    route::opaque(about, local, Vec::new(), ClientHalf::Idle, cx)
}

fn is_denied(ip: IpAddr, allow: &[IpNet], deny: &[IpNet]) -> bool {
    contains(deny, ip) || !allow.is_empty() && !contains(allow, ip)
}

fn contains(networks: &[IpNet], ip: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&ip))
}
