//! A PROXY header, split; and one that ringway writes for the same source is read in the same way.

use ringway::config::ProxyVersion;
use ringway::peek::proxy_protocol::{self, ProxyPeeked};

/// The longest header there is, by what `Incomplete` promises.
const LONGEST: usize = 4112;

pub(crate) fn run(bytes: &[u8]) {
    let whole = proxy_protocol::scan(bytes);
    for length in 0..bytes.len().min(300) {
        match proxy_protocol::scan(&bytes[..length]) {
            ProxyPeeked::Incomplete => {}
            decided => return assert_eq!(decided, whole, "at {length}"),
        }
    }
    assert!(bytes.len() < LONGEST || whole != ProxyPeeked::Incomplete, "more is not waited for");
    let ProxyPeeked::Header { source: Some(from), end, .. } = whole else { return };
    assert!(end <= bytes.len());
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let mut written = Vec::new();
        proxy_protocol::write(version, Some(from), Some(from), &mut written);
        let ProxyPeeked::Header { source, end, .. } = proxy_protocol::scan(&written) else {
            panic!("{version:?} of {from} is not read: {}", written.escape_ascii())
        };
        assert_eq!((source, end), (Some(from), written.len()), "{version:?}");
    }
}
