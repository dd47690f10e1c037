//! Looking a host up in a listener's routes.
//!
//! Never allocates: once for every connection.

use super::value::HOST_MAX_BYTES;
use super::{PoolIndex, RouteTargets, Routes};

impl Routes {
    /// No host leads anywhere.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty()
    }

    /// Where a host leads: its exact name, else the longest wildcard above it; in each of them the
    /// first of the client's ALPN protocols that has a route, else the route without one. `None`
    /// is the listener's own pool.
    ///
    /// `host` is lower case, without port and trailing dot, as the parsers give it; `alpn` is empty
    /// where there is none.
    pub fn find<'a>(
        &self,
        host: Option<&str>,
        alpn: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Option<PoolIndex> {
        // Nothing longer can stand in the file; also bounds the walk over a hostile name's dots.
        let host = host.filter(|host| host.len() <= HOST_MAX_BYTES)?;
        if let Some(pool) = self.exact.get(host).and_then(|targets| targets.choose(alpn.clone())) {
            return Some(pool);
        }
        if self.wildcard.is_empty() {
            return None;
        }
        // From the left, so the longest suffix comes first; a leading dot has no label before it.
        let dots = memchr::memchr_iter(b'.', host.as_bytes()).filter(|&at| at > 0);
        let mut wildcards = dots.filter_map(|at| self.wildcard.get(&host[at..]));
        wildcards.find_map(|targets| targets.choose(alpn.clone()))
    }

    /// Every pool that some route leads to, with repetitions.
    pub fn pools(&self) -> impl Iterator<Item = PoolIndex> {
        let targets = self.exact.values().chain(self.wildcard.values());
        targets.flat_map(|t| t.by_alpn.iter().map(|(_, pool)| *pool).chain(t.otherwise))
    }
}

impl RouteTargets {
    fn choose<'a>(&self, mut alpn: impl Iterator<Item = &'a [u8]>) -> Option<PoolIndex> {
        // Most hosts have no ALPN routes: do not walk what the client offers for nothing.
        if self.by_alpn.is_empty() {
            return self.otherwise;
        }
        let by_alpn = alpn.find_map(|offered| {
            let here = self.by_alpn.iter().find(|(name, _)| name.as_bytes() == offered);
            here.map(|(_, pool)| *pool)
        });
        by_alpn.or(self.otherwise)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(pool: u16) -> RouteTargets {
        RouteTargets { by_alpn: Vec::new(), otherwise: Some(PoolIndex(pool)) }
    }

    fn routes() -> Routes {
        let mut routes = Routes::default();
        routes.exact.insert("a.com".to_owned(), to(1));
        routes.wildcard.insert(".a.com".to_owned(), to(2));
        routes.wildcard.insert(".b.a.com".to_owned(), to(3));
        let by_alpn = vec![("h2".to_owned(), PoolIndex(4)), ("http/1.1".to_owned(), PoolIndex(5))];
        let only = RouteTargets { by_alpn, otherwise: None };
        routes.exact.insert("tls.a.com".to_owned(), only);
        routes
    }

    #[test]
    fn exact_then_longest_wildcard_then_nothing() {
        let routes = routes();
        let rows = [
            ("a.com", Some(1)),
            ("x.a.com", Some(2)),
            ("b.a.com", Some(2)),
            ("x.b.a.com", Some(3)),
            ("x.y.b.a.com", Some(3)),
            ("xa.com", None),
            (".a.com", None),
            ("com", None),
            ("", None),
        ];
        for (host, pool) in rows {
            assert_eq!(routes.find(Some(host), [].into_iter()), pool.map(PoolIndex), "{host}");
        }
        assert_eq!(routes.find(None, [].into_iter()), None);
        let long = format!("{}.a.com", "x.".repeat(130));
        assert_eq!(routes.find(Some(&long), [].into_iter()), None);
    }

    #[test]
    fn the_clients_first_protocol_that_has_a_route_wins() {
        let routes = routes();
        let rows: [(&[&[u8]], u16); 4] = [
            (&[b"h2", b"http/1.1"], 4),
            (&[b"http/1.1", b"h2"], 5),
            (&[b"x", b"h2"], 4),
            // The host has ALPN routes only, so the wildcard above it is next.
            (&[b"x"], 2),
        ];
        for (alpn, pool) in rows {
            let found = routes.find(Some("tls.a.com"), alpn.iter().copied());
            assert_eq!(found, Some(PoolIndex(pool)), "{alpn:?}");
        }
    }
}
