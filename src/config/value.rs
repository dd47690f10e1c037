//! What single strings of a configuration mean: addresses, hosts, networks, names.
//!
//! Each either gives the value or says what is allowed instead. Looks nothing up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;

use super::limits::ACCOUNT;
use super::problem::suggestion;
use super::{Account, Address, Bind, ServerAddress};

/// Bytes of a socket path: `sun_path` is 108 with its closing zero (unix(7)).
const UNIX_PATH_MAX_BYTES: usize = 107;
/// Bytes of a host name without its trailing dot (RFC 1035 section 2.3.4).
pub(super) const HOST_MAX_BYTES: usize = 253;
/// Bytes of one label of a host name (RFC 1035 section 2.3.4).
const LABEL_MAX_BYTES: usize = 63;
/// Bytes of a name that stands in every log line.
const NAME_MAX_BYTES: usize = 64;
/// Bytes of a protocol name; its length is one byte on the wire (RFC 7301 section 3.1).
const ALPN_MAX_BYTES: usize = 255;

/// Bytes of a name of passed sockets (FDNAME_MAX of systemd).
const PASSED_MAX_BYTES: usize = 255;

const LISTEN_FORMS: &str = "IP:PORT, [IPv6]:PORT or unix:/PATH";
const BIND_FORMS: &str = "IP:PORT, [IPv6]:PORT, unix:/PATH or systemd:NAME";
const SERVER_FORMS: &str = "IP:PORT, [IPv6]:PORT, NAME:PORT or unix:/PATH";

/// Where a listener gets its connections. Port 0 lets the kernel choose.
pub(super) fn bind(written: &str) -> Result<Bind, String> {
    match written.strip_prefix("systemd:") {
        Some(name) => passed_name(name).map(Bind::Passed),
        None => address_as(written, BIND_FORMS).map(Bind::At),
    }
}

/// As a `FileDescriptorName=` may be (systemd.socket(5)).
fn passed_name(name: &str) -> Result<String, String> {
    let valid = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b':';
    if !(1..=PASSED_MAX_BYTES).contains(&name.len()) || !name.bytes().all(valid) {
        let most = format!("1 to {PASSED_MAX_BYTES} characters without \":\"");
        return Err(format!("the name of passed sockets must have {most}, is {name:?}"));
    }
    Ok(name.to_owned())
}

/// Where something listens.
pub(super) fn listen_address(written: &str) -> Result<Address, String> {
    address_as(written, LISTEN_FORMS)
}

fn address_as(written: &str, forms: &str) -> Result<Address, String> {
    if let Some(path) = written.strip_prefix("unix:") {
        return unix_path(path).map(Address::Unix);
    }
    if let Ok(address) = written.parse() {
        return Ok(Address::Tcp(address));
    }
    let port = written.strip_prefix("*:").or(written.strip_prefix(':')).unwrap_or(written);
    let hint = match port.parse::<u16>() {
        Ok(port) => format!(", did you mean \"0.0.0.0:{port}\" or \"[::]:{port}\"?"),
        Err(_) => missing_port_hint(written),
    };
    Err(format!("must be {forms}, is {written:?}{hint}"))
}

impl FromStr for Address {
    type Err = String;

    /// An address to listen at.
    fn from_str(written: &str) -> Result<Self, String> {
        listen_address(written)
    }
}

/// A user or group, which is looked up at the start. Names of digits only are no names.
pub(super) fn account(written: &str) -> Result<Account, String> {
    if let Ok(number) = written.parse::<u32>()
        && number <= ACCOUNT.max
    {
        return Ok(Account::Number(number));
    }
    let valid = |byte: u8| byte > b' ' && byte != b':' && byte != 0x7f;
    if written.is_empty() || !written.bytes().all(valid) {
        return Err(format!("must be a name or a number, is {written:?}"));
    }
    Ok(Account::Name(written.to_owned()))
}

/// Where a server is; a name is looked up later.
pub(super) fn server_address(written: &str) -> Result<ServerAddress, String> {
    if let Some(path) = written.strip_prefix("unix:") {
        return unix_path(path).map(|path| ServerAddress::Address(Address::Unix(path)));
    }
    if let Ok(address) = written.parse::<SocketAddr>() {
        return match (address.port(), address.ip().is_unspecified()) {
            (0, _) => Err(format!("the port must be 1 to 65535, is 0 in {written:?}")),
            (_, true) => Err(format!("{written:?} is every address, a server has one")),
            _ => Ok(ServerAddress::Address(Address::Tcp(address))),
        };
    }
    let port = written.strip_prefix(':').unwrap_or(written);
    if let Ok(port) = port.parse::<u16>() {
        let hint = format!(", did you mean \"127.0.0.1:{port}\"?");
        return Err(format!("must be {SERVER_FORMS}, is {written:?}{hint}"));
    }
    let name = written.rsplit_once(':').and_then(|(host, port)| {
        let port = port.parse().ok().filter(|&port| port != 0)?;
        Some(ServerAddress::Name { host: host_name(host).ok()?, port })
    });
    name.ok_or_else(|| {
        let hint = missing_port_hint(written);
        format!("must be {SERVER_FORMS}, is {written:?}{hint}")
    })
}

fn missing_port_hint(written: &str) -> String {
    match written.parse::<IpAddr>() {
        Ok(IpAddr::V6(_)) => format!(", did you mean \"[{written}]:PORT\"?"),
        Ok(IpAddr::V4(_)) => format!(", did you mean \"{written}:PORT\"?"),
        Err(_) => String::new(),
    }
}

/// Where a daemon of this host listens.
pub(super) fn socket_path(written: &str) -> Result<PathBuf, String> {
    unix_path(written.strip_prefix("unix:").unwrap_or(written))
}

fn unix_path(path: &str) -> Result<PathBuf, String> {
    let length = path.len();
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        return Err(format!("the path of a unix socket must be absolute, is {path:?}"));
    }
    if length > UNIX_PATH_MAX_BYTES {
        let limit = format!("at most {UNIX_PATH_MAX_BYTES} bytes");
        return Err(format!("the path of a unix socket must have {limit}, has {length}"));
    }
    Ok(PathBuf::from(path))
}

/// A host of a route: exact, or the suffix `.example.com` of a wildcard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum HostPattern {
    Exact(String),
    Wildcard(String),
}

/// `Chat.Example.com.` is `chat.example.com`; `*.example.com` is every name below it.
pub(super) fn host_pattern(written: &str) -> Result<HostPattern, String> {
    if written == "*" {
        return Err("\"*\" is what the listener's own \"pool\" is for".to_owned());
    }
    if let Some(base) = written.strip_prefix("*.") {
        return host_name(base).map(|base| HostPattern::Wildcard(format!(".{base}")));
    }
    if written.contains('*') {
        return Err(format!("a wildcard must be a leading \"*.\", is {written:?}"));
    }
    let bracketed = written.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(Ok(address)) = bracketed.map(str::parse::<Ipv6Addr>) {
        return Ok(HostPattern::Exact(format!("[{address}]")));
    }
    if written.parse::<Ipv4Addr>().is_ok() {
        return Ok(HostPattern::Exact(written.to_owned()));
    }
    host_name(written).map(HostPattern::Exact)
}

/// A DNS name, lower case and without its trailing dot.
fn host_name(written: &str) -> Result<String, String> {
    if !written.is_ascii() {
        let form = "must be in its ASCII form (\"xn--…\")";
        return Err(format!("an internationalised host {form}, is {written:?}"));
    }
    if let Some((host, port)) = written.rsplit_once(':')
        && port.bytes().all(|b| b.is_ascii_digit())
    {
        return Err(format!("must be a host without a port, is {written:?}: write {host:?}"));
    }
    let host = written.strip_suffix('.').unwrap_or(written).to_ascii_lowercase();
    let label = |label: &str| {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        (1..=LABEL_MAX_BYTES).contains(&label.len()) && label.bytes().all(legal)
    };
    // A name that ends in a number is a mistyped address (RFC 3696 section 2).
    let ends_in_number =
        host.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if host.len() > HOST_MAX_BYTES || ends_in_number || !host.split('.').all(label) {
        return Err(format!("must be a host name, is {written:?}"));
    }
    Ok(host)
}

/// `10.0.0.0/8`, `2001:db8::/32`, or one address.
pub(super) fn network(written: &str) -> Result<IpNet, String> {
    if let Ok(address) = written.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let network: IpNet = written
        .parse()
        .map_err(|_| format!("must be an IP network (10.0.0.0/8) or address, is {written:?}"))?;
    if network != network.trunc() {
        let (length, meant) = (network.prefix_len(), network.trunc());
        return Err(format!("{written:?} has bits set behind /{length}, write \"{meant}\""));
    }
    Ok(network)
}

/// An address of this host to connect from.
pub(super) fn source_address(written: &str) -> Result<IpAddr, String> {
    match written.parse::<IpAddr>() {
        Ok(ip) if !ip.is_unspecified() && !ip.is_multicast() => Ok(ip.to_canonical()),
        _ => Err(format!("must be an IP address of this host, is {written:?}")),
    }
}

/// A listener's or pool's name.
pub(super) fn name(written: &str) -> Result<(), String> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    check_name(written, legal, "letters, digits, \"_\", \"-\" and \".\"")
}

/// A server's id; a dot would end a sid prefix too early.
pub(super) fn server_id(written: &str) -> Result<(), String> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    check_name(written, legal, "letters, digits, \"_\" and \"-\"")
}

fn check_name(written: &str, legal: impl Fn(u8) -> bool, allowed: &str) -> Result<(), String> {
    if (1..=NAME_MAX_BYTES).contains(&written.len()) && written.bytes().all(legal) {
        return Ok(());
    }
    Err(format!("must be 1 to {NAME_MAX_BYTES} {allowed}, is {written:?}"))
}

/// A cookie's or header's name: a token (RFC 9110 section 5.6.2, RFC 6265 section 4.1.1).
pub(super) fn token(written: &str) -> Result<(), String> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !written.is_empty() && written.bytes().all(legal) {
        return Ok(());
    }
    Err(format!("must be a token (letters, digits, !#$%&'*+-.^_`|~), is {written:?}"))
}

/// A query parameter's name, compared byte by byte with what stands in the URL.
pub(super) fn query_name(written: &str) -> Result<(), String> {
    let legal = |b: u8| b.is_ascii_graphic() && !b"&=#?;+".contains(&b);
    if !written.is_empty() && written.bytes().all(legal) {
        return Ok(());
    }
    Err(format!("must be a parameter name as it stands in a URL, is {written:?}"))
}

/// A request path without query.
pub(super) fn request_path(written: &str) -> Result<(), String> {
    let legal = |b: u8| b.is_ascii_graphic() && !b"?#".contains(&b);
    if written.starts_with('/') && written.bytes().all(legal) {
        return Ok(());
    }
    Err(format!("must be a path such as \"/socket.io/\", is {written:?}"))
}

/// What a request asks for: a path, perhaps with a query.
pub(super) fn request_target(written: &str) -> Result<(), String> {
    let legal = |b: u8| b.is_ascii_graphic() && b != b'#';
    if written.starts_with('/') && written.bytes().all(legal) {
        return Ok(());
    }
    Err(format!("must be a path such as \"/health\" or \"/health?full=1\", is {written:?}"))
}

/// The value of a Host header.
pub(super) fn host_field(written: &str) -> Result<(), String> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    if !written.is_empty() && written.bytes().all(legal) {
        return Ok(());
    }
    Err(format!("must be a host, perhaps with a port, is {written:?}"))
}

/// `204`, or `200-399` with both ends.
pub(super) fn status_range(written: &str) -> Result<RangeInclusive<u16>, String> {
    let code = |text: &str| {
        let is_number = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
        let code = if is_number { text.parse().ok() } else { None };
        code.filter(|code| (100..=599).contains(code))
    };
    let (from, to) = written.split_once('-').unwrap_or((written, written));
    match (code(from), code(to)) {
        (Some(from), Some(to)) if from <= to => Ok(from..=to),
        _ => Err(format!("must be a status code or a range such as \"200-399\", is {written:?}")),
    }
}

/// An ALPN protocol name.
pub(super) fn alpn(written: &str) -> Result<(), String> {
    if (1..=ALPN_MAX_BYTES).contains(&written.len()) {
        return Ok(());
    }
    Err(format!("must have 1 to {ALPN_MAX_BYTES} bytes, has {}", written.len()))
}

/// What follows the value in Set-Cookie (RFC 6265bis section 4.1.1), separated by `;`.
pub(super) fn cookie_attributes(written: &str) -> Result<(), String> {
    const KNOWN: [&str; 9] = [
        "Path",
        "Domain",
        "Max-Age",
        "Expires",
        "SameSite",
        "Secure",
        "HttpOnly",
        "Partitioned",
        "Priority",
    ];
    if !written.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        return Err(format!("must be printable ASCII, is {written:?}"));
    }
    for attribute in written.split(';').map(str::trim).filter(|_| !written.is_empty()) {
        let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        let known = KNOWN.iter().find(|known| known.eq_ignore_ascii_case(name));
        let right = match known {
            None => {
                let near = suggestion(name, KNOWN);
                return Err(format!("{name:?} is no cookie attribute{near}"));
            }
            Some(&"Path") => value.starts_with('/'),
            Some(&"Max-Age") => value.parse::<i64>().is_ok(),
            Some(&"SameSite") => {
                ["lax", "strict", "none"].contains(&value.to_ascii_lowercase().as_str())
            }
            Some(&("Secure" | "HttpOnly" | "Partitioned")) => !attribute.contains('='),
            Some(_) => !value.is_empty(),
        };
        if !right {
            return Err(format!("{attribute:?} is not what a browser understands"));
        }
    }
    // Browsers drop the cookie otherwise (RFC 6265bis section 5.7), and stickiness with it.
    let has = |wanted: &str| {
        let mut all = written.split(';').map(str::trim);
        all.any(|attribute| attribute.eq_ignore_ascii_case(wanted))
    };
    if !has("Secure") && (has("SameSite=None") || has("Partitioned")) {
        return Err("SameSite=None and Partitioned need Secure".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses() {
        for written in ["127.0.0.1:80", "[::]:80", "[::1]:0", "unix:/run/x.sock"] {
            assert_eq!(listen_address(written).unwrap().to_string(), written);
        }
        let long = format!("unix:/{}", "x".repeat(107));
        for written in ["80", ":80", "*:80", "localhost:80", "::1", "unix:x", "unix:", "", &long] {
            assert!(listen_address(written).is_err(), "{written}");
        }
        assert!(listen_address(":80").unwrap_err().contains("\"0.0.0.0:80\""));
        assert!(listen_address(&long).unwrap_err().ends_with("at most 107 bytes, has 108"));
    }

    #[test]
    fn passed_sockets_go_by_name() {
        for written in ["systemd:web", "systemd:ringway.socket", "[::]:80", "unix:/run/x.sock"] {
            assert_eq!(bind(written).unwrap().to_string(), written);
        }
        let long = format!("systemd:{}", "x".repeat(256));
        for written in ["systemd:", "systemd:a:b", "systemd:\u{e9}", &long] {
            let said = bind(written).unwrap_err();
            assert!(said.starts_with("the name of passed sockets must have 1 to 255"), "{said}");
        }
        assert!(bind("localhost:80").unwrap_err().contains("unix:/PATH or systemd:NAME"));
    }

    #[test]
    fn server_addresses() {
        for written in ["10.0.0.1:80", "[::1]:80", "unix:/run/x.sock", "app-1.local:8080"] {
            assert_eq!(server_address(written).unwrap().to_string(), written);
        }
        let name = ServerAddress::Name { host: "app".to_owned(), port: 80 };
        assert_eq!(server_address("APP.:80"), Ok(name));
        for written in ["80", "app", "app:0", "app:70000", "1.2.3:80", "0.0.0.0:80", "1.2.3.4:0"] {
            assert!(server_address(written).is_err(), "{written}");
        }
    }

    #[test]
    fn hosts() {
        let exact = |host: &str| Ok(HostPattern::Exact(host.to_owned()));
        assert_eq!(host_pattern("Chat.Example.com."), exact("chat.example.com"));
        assert_eq!(host_pattern("10.0.0.1"), exact("10.0.0.1"));
        assert_eq!(host_pattern("[::1]"), exact("[::1]"));
        assert_eq!(host_pattern("*.A.b"), Ok(HostPattern::Wildcard(".a.b".to_owned())));
        let label = "x".repeat(64);
        for written in ["*", "a.*.b", "*a.b", "*.", "a:80", "a..b", "bücher.de", "", "a b", &label]
        {
            assert!(host_pattern(written).is_err(), "{written}");
        }
    }

    #[test]
    fn networks() {
        assert_eq!(network("10.0.0.1").unwrap().to_string(), "10.0.0.1/32");
        assert_eq!(network("2001:db8::/32").unwrap().to_string(), "2001:db8::/32");
        assert!(network("10.0.0.1/8").unwrap_err().ends_with("write \"10.0.0.0/8\""));
        assert!(network("10.0.0.0/33").is_err() && network("x").is_err());
    }

    #[test]
    fn users_and_groups() {
        assert_eq!(account("www-data"), Ok(Account::Name("www-data".to_owned())));
        assert_eq!(account("65534"), Ok(Account::Number(65_534)));
        for written in ["", "a b", "a:b", "a\0", "\n"] {
            let error = account(written).unwrap_err();
            assert!(error.starts_with("must be a name or a number"), "{error}");
        }
    }

    #[test]
    fn sources() {
        assert_eq!(source_address("10.0.0.1").unwrap().to_string(), "10.0.0.1");
        assert_eq!(source_address("::1").unwrap().to_string(), "::1");
        for written in ["10.0.0.1:80", "10.0.0.0/8", "0.0.0.0", "::", "224.0.0.1", "eth0", ""] {
            assert!(source_address(written).is_err(), "{written}");
        }
    }

    #[test]
    fn status_codes() {
        assert_eq!(status_range("204"), Ok(204..=204));
        assert_eq!(status_range("200-399"), Ok(200..=399));
        for written in ["", "20", "99", "600", "399-200", "200-", "-200", "+20", "200 - 299"] {
            assert!(status_range(written).is_err(), "{written}");
        }
    }

    #[test]
    fn what_a_check_asks_for() {
        assert!(request_target("/health?full=1").is_ok() && request_target("/a b").is_err());
        assert!(request_target("health").is_err() && request_target("/a\r\nb").is_err());
        assert!(host_field("[::1]:80").is_ok() && host_field("a.b:80").is_ok());
        assert!(host_field("").is_err() && host_field("a\r\nb").is_err());
    }

    #[test]
    fn attributes_of_a_cookie() {
        let right = ["", "Path=/; HttpOnly; SameSite=Lax", "secure;samesite=none", "Max-Age=-1"];
        for written in right {
            assert_eq!(cookie_attributes(written), Ok(()), "{written}");
        }
        let wrong = [
            "Path=x",
            "HttpOnly=1",
            "SameSite=no",
            "SameSite=None",
            "a\r\nb",
            "Max-Age=x",
            "Path=/;",
        ];
        for written in wrong {
            assert!(cookie_attributes(written).is_err(), "{written}");
        }
        assert!(cookie_attributes("HttpOnyl").unwrap_err().contains("did you mean \"HttpOnly\"?"));
    }
}
