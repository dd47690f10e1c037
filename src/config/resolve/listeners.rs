//! Listeners: addresses, routes, and the two defaults that follow from the pools behind.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use hashbrown::HashMap;
use ipnet::IpNet;

use super::{checked, narrow};
use crate::config::file::{File, ListenerFile, OneOrMany, OrFalse, RouteFile};
use crate::config::problem::{Place, Report, suggestion};
use crate::config::value::{self, HostPattern};
use crate::config::{
    Address, Bind, Forwarded, KeepAlive, Listener, Peek, PerSource, Pool, PoolIndex, Routes, Sticky,
};

/// What listeners share: the pools, and what earlier listeners have taken.
struct Resolver<'a> {
    pools: &'a [Pool],
    by_name: HashMap<&'a str, PoolIndex>,
    bound: HashMap<Bind, Place>,
    names: HashMap<String, Place>,
}

/// One listener for each written, whatever is wrong with it.
pub(super) fn resolve(
    file: &File,
    pools: &[Pool],
    place: &Place,
    report: &mut Report,
) -> Vec<Listener> {
    if file.listeners.is_empty() {
        report.problem(place, "must have at least one listener");
    }
    let index = |i: usize| PoolIndex(u16::try_from(i).unwrap_or(u16::MAX));
    let mut resolver = Resolver {
        pools,
        by_name: pools.iter().enumerate().map(|(i, p)| (p.name.as_str(), index(i))).collect(),
        bound: HashMap::new(),
        names: HashMap::new(),
    };
    let listeners = file.listeners.iter().enumerate();
    listeners.map(|(i, listener)| resolver.listener(listener, i, &place.index(i), report)).collect()
}

impl Resolver<'_> {
    fn listener(
        &mut self,
        written: &ListenerFile,
        index: usize,
        place: &Place,
        report: &mut Report,
    ) -> Listener {
        let name = self.name(written, index, place, report);
        let bind = self.bind(&written.bind, &place.key("bind"), report);
        let routes = self.routes(&written.routes, &place.key("routes"), report);
        let pool = self.default_pool(written, place, report);
        // The pools behind, each once; those that are not known are left out.
        let mut behind: Vec<_> = routes.pools().chain(pool).collect();
        behind.sort();
        behind.dedup();
        let needs = Needs::of(&behind, self.pools, !written.routes.is_empty());
        let peek = peek(written, &needs, place, report);
        let keep_alive = keep_alive(written, peek, &needs, place, report);
        Listener {
            name,
            bind,
            peek,
            keep_alive,
            routes,
            pool: pool.unwrap_or(PoolIndex(0)),
            accept_proxy: accept_proxy(written, place, report),
            allow: networks(&written.allow, &place.key("allow"), report),
            deny: networks(&written.deny, &place.key("deny"), report),
            max_connections: written.max_connections.clone().into(),
            max_connections_per_source: per_source(written),
            accept_rate_per_s: written.accept_rate_per_s.clone().into(),
            peek_timeout_ms: written.peek_timeout_ms,
            auto_timeout_ms: written.auto_timeout_ms,
            head_max_bytes: written.head_max_bytes,
        }
    }

    fn name(
        &mut self,
        written: &ListenerFile,
        index: usize,
        place: &Place,
        report: &mut Report,
    ) -> String {
        let place = place.key("name");
        let name = match &written.name {
            Some(name) => name.clone(),
            None => format!("listener{}", index + 1),
        };
        if checked(value::name(&name), &place, report).is_some()
            && let Some(first) = self.names.insert(name.clone(), place.clone())
        {
            report.problem(&place, format!("{name:?} is already at {first}"));
        }
        name
    }

    fn bind(&mut self, written: &OneOrMany, place: &Place, report: &mut Report) -> Vec<Bind> {
        let written: Vec<_> = match written {
            OneOrMany::One(address) => vec![(address, place.clone())],
            OneOrMany::Many(addresses) => {
                addresses.iter().enumerate().map(|(i, a)| (a, place.index(i))).collect()
            }
        };
        if written.is_empty() {
            report.problem(place, "must have at least one address");
        }
        let mut bind = Vec::with_capacity(written.len());
        for (address, place) in written {
            let Some(at) = checked(value::bind(address), &place, report) else {
                continue;
            };
            self.check_free(&at, &place, report);
            bind.push(at);
        }
        bind
    }

    fn check_free(&mut self, bind: &Bind, place: &Place, report: &mut Report) {
        if matches!(bind, Bind::At(Address::Tcp(tcp)) if tcp.port() == 0) {
            return;
        }
        if let Some(first) = self.bound.get(bind) {
            report.problem(place, format!("{bind} is already at {first}"));
            return;
        }
        if let Some(twin) = dual_stack_twin(bind)
            && let Some(first) = self.bound.get(&twin)
        {
            let why = "\"[::]\" is dual stack";
            report.problem(place, format!("{bind} takes the same port as {first}: {why}"));
        }
        self.bound.insert(bind.clone(), place.clone());
    }

    fn pool(&self, name: &str, place: &Place, report: &mut Report) -> Option<PoolIndex> {
        let found = self.by_name.get(name).copied();
        if found.is_none() && !self.pools.is_empty() {
            let near = suggestion(name, self.by_name.keys().copied());
            report.problem(place, format!("there is no pool {name:?}{near}"));
        }
        found
    }

    fn default_pool(
        &self,
        written: &ListenerFile,
        place: &Place,
        report: &mut Report,
    ) -> Option<PoolIndex> {
        let place = place.key("pool");
        match (&written.pool, self.pools.len()) {
            (Some(name), _) => self.pool(name, &place, report),
            (None, 1) => Some(PoolIndex(0)),
            // Without pools, their absence is the problem.
            (None, 0) => None,
            (None, count) => {
                let why = format!("one of the {count} pools must be named");
                report.problem(&place, format!("is missing: {why}"));
                None
            }
        }
    }

    fn routes(&self, written: &[RouteFile], place: &Place, report: &mut Report) -> Routes {
        let mut routes = Routes::default();
        let mut seen: HashMap<(HostPattern, Option<&str>), Place> = HashMap::new();
        for (i, route) in written.iter().enumerate() {
            let place = place.index(i);
            let host_place = place.key("host");
            let pattern = checked(value::host_pattern(&route.host), &host_place, report);
            let alpn = route.alpn.as_deref();
            if let Some(alpn) = alpn {
                checked(value::alpn(alpn), &place.key("alpn"), report);
            }
            let pool = self.pool(&route.pool, &place.key("pool"), report);
            let Some(pattern) = pattern else {
                continue;
            };
            if let Some(first) = seen.insert((pattern.clone(), alpn), host_place.clone()) {
                let host = &route.host;
                report.problem(&host_place, format!("{host:?} is already at {first}"));
            }
            // A stand-in pool would change what the listener seems to need.
            let Some(pool) = pool else {
                continue;
            };
            let targets = match pattern {
                HostPattern::Exact(host) => routes.exact.entry(host),
                HostPattern::Wildcard(suffix) => routes.wildcard.entry(suffix),
            };
            let targets = targets.or_default();
            match alpn {
                Some(alpn) => targets.by_alpn.push((alpn.to_owned(), pool)),
                None => targets.otherwise = Some(pool),
            }
        }
        routes
    }
}

/// `0.0.0.0:80` for `[::]:80` and the other way round.
fn dual_stack_twin(bind: &Bind) -> Option<Bind> {
    let Bind::At(Address::Tcp(tcp)) = bind else {
        return None;
    };
    let twin = match tcp {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => Ipv6Addr::UNSPECIFIED.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => Ipv4Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    Some(Bind::At(Address::Tcp(SocketAddr::new(twin, tcp.port()))))
}

fn accept_proxy(written: &ListenerFile, place: &Place, report: &mut Report) -> Vec<IpNet> {
    let Some(accept) = &written.accept_proxy else {
        return Vec::new();
    };
    let place = place.key("accept_proxy").key("from");
    if accept.from.is_empty() {
        report.problem(&place, "must have at least one network");
    }
    networks(&accept.from, &place, report)
}

fn per_source(written: &ListenerFile) -> Option<PerSource> {
    let OrFalse::Set(limit) = &written.max_connections_per_source else { return None };
    Some(PerSource {
        count: limit.count,
        ipv4_prefix: narrow(limit.ipv4_prefix),
        ipv6_prefix: narrow(limit.ipv6_prefix),
    })
}

fn networks(written: &[String], place: &Place, report: &mut Report) -> Vec<IpNet> {
    let networks = written.iter().enumerate();
    networks.filter_map(|(i, n)| checked(value::network(n), &place.index(i), report)).collect()
}

/// What the pools behind a listener ask of it, each with the words that say why.
struct Needs {
    /// Something stands in a request head that has to be read or written.
    request_head: Option<String>,
    /// Every request has to be seen, not only the first of a connection.
    every_request: Option<String>,
    has_routes: bool,
}

impl Needs {
    fn of(behind: &[PoolIndex], pools: &[Pool], has_routes: bool) -> Self {
        let pools = || behind.iter().filter_map(|index| pools.get(usize::from(index.0)));
        let request_head = pools().find_map(|pool| {
            head_key(&pool.sticky)
                .map(|key| format!("the {key} that pool {:?} is sticky by", pool.name))
                .or_else(|| forwarded(pool))
        });
        let every_request = pools().find_map(|pool| {
            let key = head_key(&pool.sticky).filter(|_| changes_per_request(&pool.sticky));
            key.map(|key| format!("pool {:?} is sticky by a {key}", pool.name))
                .or_else(|| forwarded(pool).map(|what| format!("it must get {what}")))
        });
        let many = (behind.len() > 1).then(|| "routes lead to different pools".to_owned());
        Self { request_head, every_request: every_request.or(many), has_routes }
    }
}

/// The key that stands in a request head, in words.
fn head_key(sticky: &Sticky) -> Option<&'static str> {
    match sticky {
        Sticky::None | Sticky::Source => None,
        Sticky::Cookie { .. } | Sticky::Insert { .. } => Some("cookie"),
        Sticky::Header { .. } => Some("header"),
        Sticky::Query { .. } => Some("query parameter"),
        Sticky::SocketIo { .. } => Some("Socket.IO session id"),
    }
}

/// Whether two requests of one connection can belong to different servers. A cookie the browser
/// already has is the same in all of them.
fn changes_per_request(sticky: &Sticky) -> bool {
    !matches!(sticky, Sticky::None | Sticky::Source | Sticky::Cookie { learn: None, .. })
}

fn forwarded(pool: &Pool) -> Option<String> {
    let on = pool.forwarded != Forwarded::Off;
    on.then(|| format!("the X-Forwarded-For of pool {:?}", pool.name))
}

fn peek(written: &ListenerFile, needs: &Needs, place: &Place, report: &mut Report) -> Peek {
    let peek_place = place.key("peek");
    let has_head = needs.request_head.is_some() || needs.has_routes;
    let peek = written.peek.unwrap_or(if has_head { Peek::Http } else { Peek::None });
    let word = match peek {
        Peek::None => "\"none\" reads nothing",
        Peek::Tls => "\"tls\" reads no request head",
        Peek::Http | Peek::Auto => "",
    };
    match &needs.request_head {
        Some(need) if !word.is_empty() => {
            report.problem(&peek_place, format!("{word}, so not {need}"));
        }
        _ if needs.has_routes && peek == Peek::None => {
            let allowed = "\"http\", \"tls\" or \"auto\"";
            report.problem(&peek_place, format!("{word}, routes need {allowed}"));
        }
        _ => {}
    }
    for (i, route) in written.routes.iter().enumerate() {
        if route.alpn.is_some() && peek == Peek::Http {
            let why = "stands in a ClientHello only: set \"peek\" to \"tls\" or \"auto\"";
            report.problem(&place.key("routes").index(i).key("alpn"), why);
        }
    }
    peek
}

fn keep_alive(
    written: &ListenerFile,
    peek: Peek,
    needs: &Needs,
    place: &Place,
    report: &mut Report,
) -> KeepAlive {
    let place = place.key("keep_alive");
    let sees_requests = matches!(peek, Peek::Http | Peek::Auto);
    match (written.keep_alive, &needs.every_request) {
        (Some(KeepAlive::OneRequest), _) if !sees_requests => {
            let why = "\"one_request\" needs \"peek\" \"http\" or \"auto\"";
            report.problem(&place, why);
            KeepAlive::Trust
        }
        (Some(KeepAlive::Trust), Some(why)) if sees_requests => {
            let what = "\"trust\" sees only the first request of a connection, but";
            report.warning(&place, format!("{what} {why}"));
            KeepAlive::Trust
        }
        (Some(chosen), _) => chosen,
        (None, Some(_)) if sees_requests => KeepAlive::OneRequest,
        (None, _) => KeepAlive::Trust,
    }
}
