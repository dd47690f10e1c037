//! The PROXY protocol header in front of a connection's own bytes, versions 1 and 2 (HAProxy's
//! doc/proxy-protocol.txt).
//!
//! Never trusts: whether the sender may speak it is decided before, by its address. Of the TLVs
//! only the one that tells of TLS is read; checksums are not verified.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use memchr::memchr;

use crate::config::ProxyVersion;

/// First bytes of version 2; no other protocol begins with them.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// First bytes of version 1.
const WORD: &[u8; 6] = b"PROXY ";
/// Longest line of version 1, line end included (section 2.1).
const LINE_MAX: usize = 107;
/// Bytes of addresses and TLVs accepted in version 2: what senders put there (addresses, a
/// connection id, names and serial of a certificate) stays under 1 KiB.
const LENGTH_MAX: usize = 4096;

/// What the bytes received so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyPeeked {
    /// The beginning of a header, perhaps: more bytes decide. At most 4112 are needed.
    Incomplete,
    /// No header, and more bytes cannot make it one.
    Malformed(&'static str),
    /// A whole header.
    Header {
        /// Where the connection comes from, IPv4 also where it was written as IPv4-mapped IPv6;
        /// `None` if the header does not tell (health checks, unix sockets): then its sender is
        /// the source.
        source: Option<SocketAddr>,
        /// The client spoke TLS to the sender (PP2_TYPE_SSL; version 1 cannot tell).
        tls: bool,
        /// Offset of the first byte behind the header.
        end: usize,
    },
}

/// What `bytes`, everything received so far, are. Needs no memory between calls: a header is
/// short, and nothing but the line end of version 1 is searched for.
pub fn scan(bytes: &[u8]) -> ProxyPeeked {
    let begins = |with: &[u8]| {
        let seen = bytes.len().min(with.len());
        bytes[..seen] == with[..seen]
    };
    if bytes.is_empty() {
        ProxyPeeked::Incomplete
    } else if begins(WORD) {
        scan_text(bytes)
    } else if begins(SIGNATURE) {
        scan_binary(bytes)
    } else {
        ProxyPeeked::Malformed("no PROXY header")
    }
}

fn scan_text(bytes: &[u8]) -> ProxyPeeked {
    let Some(line_feed) = memchr(b'\n', &bytes[..bytes.len().min(LINE_MAX)]) else {
        return if bytes.len() < LINE_MAX {
            ProxyPeeked::Incomplete
        } else {
            ProxyPeeked::Malformed("PROXY line is longer than 107 bytes")
        };
    };
    let source = bytes[..line_feed]
        .strip_suffix(b"\r")
        .and_then(|line| std::str::from_utf8(line).ok())
        .and_then(text_source);
    match source {
        Some(source) => ProxyPeeked::Header { source, tls: false, end: line_feed + 1 },
        None => ProxyPeeked::Malformed("PROXY line is invalid"),
    }
}

/// Source of a line without its end: `Some(None)` for UNKNOWN, `None` if the line is invalid.
fn text_source(line: &str) -> Option<Option<SocketAddr>> {
    let mut words = line.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(None); // "the receiver must ignore anything presented before the CRLF"
    }
    let [source, destination, source_port, destination_port] =
        [words.next()?, words.next()?, words.next()?, words.next()?];
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    address(destination)?;
    port(destination_port)?;
    let source = SocketAddr::new(address(source)?.to_canonical(), port(source_port)?);
    words.next().is_none().then_some(Some(source))
}

/// Digits only, without leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok())?
}

/// Checks each byte as soon as it is there, in order, so that the verdict is the same for every
/// split.
fn scan_binary(bytes: &[u8]) -> ProxyPeeked {
    let Some(&command) = bytes.get(12) else { return ProxyPeeked::Incomplete };
    let local = match command {
        0x20 => true,
        0x21 => false,
        _ => return ProxyPeeked::Malformed("PROXY version or command is unknown"),
    };
    let Some(&family) = bytes.get(13) else { return ProxyPeeked::Incomplete };
    // A LOCAL header's family is ignored, whatever it is (section 2.2).
    if !local && (family >> 4 > 3 || family & 15 > 2) {
        return ProxyPeeked::Malformed("PROXY address family or protocol is unknown");
    }
    let Some(&[high, low]) = bytes.get(14..16) else { return ProxyPeeked::Incomplete };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let needed = match family {
        _ if local => 0,
        0x11 => 12,
        0x21 => 36,
        _ => 0,
    };
    if length > LENGTH_MAX {
        return ProxyPeeked::Malformed("PROXY header is longer than 4096 bytes");
    }
    if length < needed {
        return ProxyPeeked::Malformed("PROXY header is too short for its addresses");
    }
    let end = 16 + length;
    let Some(block) = bytes.get(16..end) else { return ProxyPeeked::Incomplete };
    let source = match needed {
        12 => binary_source::<4>(block, 8),
        36 => binary_source::<16>(block, 32),
        _ => None,
    };
    let tls = !local && tells_tls(block.get(tlvs_at(family)..).unwrap_or_default());
    ProxyPeeked::Header { source, tls, end }
}

/// Bytes of addresses before the TLVs.
fn tlvs_at(family: u8) -> usize {
    match family >> 4 {
        1 => 12,
        2 => 36,
        3 => 216,
        _ => 0,
    }
}

/// Whether there is a PP2_TYPE_SSL that says PP2_CLIENT_SSL (section 2.2.6).
fn tells_tls(mut tlvs: &[u8]) -> bool {
    const TYPE_SSL: u8 = 0x20;
    const CLIENT_SSL: u8 = 0x01;
    while let [kind, high, low, rest @ ..] = tlvs {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((value, behind)) = rest.split_at_checked(length) else { return false };
        if *kind == TYPE_SSL {
            return value.first().is_some_and(|client| client & CLIENT_SSL != 0);
        }
        tlvs = behind;
    }
    false
}

fn binary_source<const N: usize>(block: &[u8], port_at: usize) -> Option<SocketAddr>
where
    IpAddr: From<[u8; N]>,
{
    let address = IpAddr::from(*block.first_chunk::<N>()?);
    let port = u16::from_be_bytes(*block.get(port_at..)?.first_chunk()?);
    Some(SocketAddr::new(address.to_canonical(), port))
}

/// Appends a header that says where a connection comes from and where it went. Addresses of
/// different families are both written as IPv6, the IPv4 one mapped; if one is not known (a unix
/// socket), the header says so, and the receiver uses the connection's own addresses.
pub fn write(
    version: ProxyVersion,
    source: Option<SocketAddr>,
    destination: Option<SocketAddr>,
    out: &mut Vec<u8>,
) {
    let addresses = source.zip(destination).map(|(source, destination)| {
        let ips = match (source.ip().to_canonical(), destination.ip().to_canonical()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Ips::V4(source, destination),
            (source, destination) => Ips::V6(mapped(source), mapped(destination)),
        };
        (ips, source.port(), destination.port())
    });
    match version {
        ProxyVersion::V1 => write_text(addresses, out),
        ProxyVersion::V2 => write_binary(addresses, out),
    }
}

/// Appends a header that says that a connection is nobody's: a check of whoever sends it.
pub fn write_local(version: ProxyVersion, out: &mut Vec<u8>) {
    match version {
        ProxyVersion::V1 => write_text(None, out),
        ProxyVersion::V2 => {
            // The command LOCAL (section 2.2).
            out.extend_from_slice(SIGNATURE);
            out.extend_from_slice(&[0x20, 0x00, 0, 0]);
        }
    }
}

/// Source and destination in one family.
enum Ips {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

fn write_text(addresses: Option<(Ips, u16, u16)>, out: &mut Vec<u8>) {
    let line = match addresses {
        None => "PROXY UNKNOWN\r\n".to_owned(),
        Some((Ips::V4(from, to), from_port, to_port)) => {
            format!("PROXY TCP4 {from} {to} {from_port} {to_port}\r\n")
        }
        Some((Ips::V6(from, to), from_port, to_port)) => {
            format!("PROXY TCP6 {from} {to} {from_port} {to_port}\r\n")
        }
    };
    out.extend_from_slice(line.as_bytes());
}

fn write_binary(addresses: Option<(Ips, u16, u16)>, out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    let Some((ips, source_port, destination_port)) = addresses else {
        // PROXY and not LOCAL: the connection was made for someone (section 2.2, AF_UNSPEC).
        out.extend_from_slice(&[0x21, 0x00, 0, 0]);
        return;
    };
    match ips {
        Ips::V4(source, destination) => {
            out.extend_from_slice(&[0x21, 0x11, 0, 12]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&destination.octets());
        }
        Ips::V6(source, destination) => {
            out.extend_from_slice(&[0x21, 0x21, 0, 36]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&destination.octets());
        }
    }
    out.extend_from_slice(&source_port.to_be_bytes());
    out.extend_from_slice(&destination_port.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::splits::{every_split, one_at_a_time};
    use super::*;
    use proptest::prelude::*;

    fn fed(bytes: &[u8], lengths: &[usize]) -> ProxyPeeked {
        lengths
            .iter()
            .map(|&length| scan(&bytes[..length]))
            .find(|peeked| *peeked != ProxyPeeked::Incomplete)
            .unwrap_or(ProxyPeeked::Incomplete)
    }

    fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).expect("short").to_be_bytes();
        [SIGNATURE, &[command, family][..], &length[..], block].concat()
    }

    const BLOCK4: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8, 0x15, 0xb3, 0, 80];

    #[test]
    fn text_headers_are_read() {
        for (line, source) in [
            ("PROXY TCP4 1.2.3.4 5.6.7.8 5555 80", Some("1.2.3.4:5555")),
            (
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535",
                Some("255.255.255.255:65535"),
            ),
            ("PROXY TCP6 2001:db8::1 ::1 5555 0", Some("[2001:db8::1]:5555")),
            ("PROXY TCP6 ::ffff:1.2.3.4 ::1 5555 80", Some("1.2.3.4:5555")),
            ("PROXY UNKNOWN", None),
            ("PROXY UNKNOWN ffff::1 whatever", None),
        ] {
            let bytes = format!("{line}\r\nGET /");
            let peeked = every_split(bytes.as_bytes(), |lengths| fed(bytes.as_bytes(), lengths));
            let source = source.map(|source| source.parse().expect("an address"));
            let end = line.len() + 2;
            assert_eq!(peeked, ProxyPeeked::Header { source, tls: false, end }, "{line}");
        }
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            "GET / HTTP/1.1\r\n",
            "PROXX",
            "proxy TCP4 1.2.3.4 5.6.7.8 5555 80\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 5555 80\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 5555\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 5555 80 \r\n",
            "PROXY TCP4  1.2.3.4 5.6.7.8 5555 80\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 5555 65536\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 05555 80\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 +5555 80\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 5555 \r\n",
            "PROXY TCP4 1.2.3 5.6.7.8 5555 80\r\n",
            "PROXY TCP4 01.2.3.4 5.6.7.8 5555 80\r\n",
            "PROXY TCP4 ::1 ::1 5555 80\r\n",
            "PROXY TCP6 1.2.3.4 5.6.7.8 5555 80\r\n",
            "PROXY TCP6 fe80::1%eth0 ::1 5555 80\r\n",
            "PROXY UDP4 1.2.3.4 5.6.7.8 5555 80\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY \r\n",
            "PROXY UNKNOWN xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
             xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n",
        ] {
            let peeked = every_split(line.as_bytes(), |lengths| fed(line.as_bytes(), lengths));
            assert!(matches!(peeked, ProxyPeeked::Malformed(_)), "{line}: {peeked:?}");
        }
    }

    #[test]
    fn binary_headers_are_read() {
        let v4 = Some("1.2.3.4:5555".parse().expect("an address"));
        let mut block6 = [0u8; 36];
        (block6[0], block6[15], block6[33]) = (0x20, 1, 9);
        let v6 = Some("[2000::1]:9".parse().expect("an address"));
        let tlvs = [BLOCK4, &[0x04, 0, 3, 0, 0, 0]].concat();
        for (bytes, source) in [
            (binary(0x21, 0x11, BLOCK4), v4),
            (binary(0x21, 0x11, &tlvs), v4),
            (binary(0x21, 0x21, &block6), v6),
            (binary(0x21, 0x12, BLOCK4), None),
            (binary(0x21, 0x00, &[]), None),
            (binary(0x21, 0x31, &[0; 216]), None),
            (binary(0x20, 0x00, &[]), None),
            (binary(0x20, 0x11, BLOCK4), None),
            (binary(0x20, 0xff, &[1]), None),
        ] {
            let end = bytes.len();
            let bytes = [&bytes[..], b"\x16\x03"].concat();
            let peeked = every_split(&bytes, |lengths| fed(&bytes, lengths));
            assert_eq!(peeked, ProxyPeeked::Header { source, tls: false, end }, "{bytes:?}");
        }
        let longest = binary(0x21, 0x11, &[0; LENGTH_MAX]);
        assert!(matches!(scan(&longest), ProxyPeeked::Header { end: 4112, .. }));
    }

    #[test]
    fn other_binary_headers_are_refused() {
        for bytes in [
            b"\r\n\r\n\0\r\nQUIX\n\x21\x11".to_vec(),
            b"\r\nGET / HTTP/1.1".to_vec(),
            binary(0x11, 0x11, BLOCK4),
            binary(0x22, 0x11, BLOCK4),
            binary(0x21, 0x41, BLOCK4),
            binary(0x21, 0x13, BLOCK4),
            binary(0x21, 0x11, &BLOCK4[1..]),
            binary(0x21, 0x21, &[0; 35]),
            binary(0x20, 0x00, &[0; LENGTH_MAX + 1]),
        ] {
            let whole = fed(&bytes, &[bytes.len()]);
            assert!(matches!(whole, ProxyPeeked::Malformed(_)), "{bytes:?}");
            one_at_a_time(&bytes, |lengths| fed(&bytes, lengths), &whole);
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let address = |text: &str| text.parse::<SocketAddr>().ok();
        let (v4, v6) = (address("1.2.3.4:5"), address("[2000::1]:6"));
        let unmapped = address("[::ffff:9.9.9.9]:7");
        for (source, destination, line) in [
            (v4, v4, "PROXY TCP4 1.2.3.4 1.2.3.4 5 5\r\n"),
            (v6, v6, "PROXY TCP6 2000::1 2000::1 6 6\r\n"),
            (v4, v6, "PROXY TCP6 ::ffff:1.2.3.4 2000::1 5 6\r\n"),
            (v6, v4, "PROXY TCP6 2000::1 ::ffff:1.2.3.4 6 5\r\n"),
            (unmapped, v4, "PROXY TCP4 9.9.9.9 1.2.3.4 7 5\r\n"),
            (None, v4, "PROXY UNKNOWN\r\n"),
            (v4, None, "PROXY UNKNOWN\r\n"),
        ] {
            let expected = source.filter(|_| destination.is_some());
            let expected = expected.map(|s| SocketAddr::new(s.ip().to_canonical(), s.port()));
            let mut text = Vec::new();
            write(ProxyVersion::V1, source, destination, &mut text);
            assert_eq!(text, line.as_bytes());
            let mut binary = Vec::new();
            write(ProxyVersion::V2, source, destination, &mut binary);
            for bytes in [text, binary] {
                let end = bytes.len();
                assert_eq!(scan(&bytes), ProxyPeeked::Header { source: expected, tls: false, end });
            }
        }
    }

    #[test]
    fn tls_is_told_by_its_own_tlv() {
        let header = |tlvs: &[u8]| {
            let mut bytes = SIGNATURE.to_vec();
            bytes.extend([0x21, 0x11, 0, 12 + tlvs.len() as u8]);
            bytes.extend([192, 0, 2, 1, 192, 0, 2, 2, 0x1f, 0x90, 0, 80]);
            bytes.extend(tlvs);
            matches!(scan(&bytes), ProxyPeeked::Header { tls: true, .. })
        };
        assert!(header(&[0x20, 0, 5, 1, 0, 0, 0, 0]));
        assert!(header(&[0x01, 0, 2, b'h', b'2', 0x20, 0, 5, 7, 0, 0, 0, 0]));
        assert!(!header(&[0x20, 0, 5, 0, 0, 0, 0, 0]), "not by TLS");
        assert!(!header(&[0x20, 0, 9, 1, 0, 0, 0, 0]), "a length that lies");
        assert!(!header(&[0x20, 0, 0]));
        assert!(!header(&[]));
    }

    proptest! {
        #[test]
        fn any_header_gives_one_answer_however_split(
            edits in prop::collection::vec((0usize..28, any::<u8>()), 0..4),
            text in "PROXY (TCP4|TCP6|UNKNOWN)[ 0-9a:.\r\n]{0,110}",
        ) {
            let mut bytes = binary(0x21, 0x11, BLOCK4);
            edits.iter().for_each(|&(at, byte)| bytes[at] = byte);
            for bytes in [&bytes[..], text.as_bytes()] {
                let whole = fed(bytes, &[bytes.len()]);
                one_at_a_time(bytes, |lengths| fed(bytes, lengths), &whole);
            }
        }
    }
}
