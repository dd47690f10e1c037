//! The one written form of a host, under which routes look it up.
//!
//! Never resolves a name and never decodes one.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// Lower case, without port and one trailing dot, of `authority` = host [":" port] as in a Host
/// field or an absolute-form target (RFC 9110 section 7.2, RFC 3986 section 3.2). An IPv6 literal
/// keeps its brackets. User information is refused (RFC 9110 section 4.2.4), as is an empty host.
pub(super) fn normalise(authority: &[u8]) -> Result<Cow<'_, str>, &'static str> {
    let authority = std::str::from_utf8(authority).map_err(|_| "host has an invalid byte")?;
    let (host, port) = if authority.starts_with('[') {
        let close = authority.find(']').ok_or("host has an open bracket")?;
        let literal = &authority[1..close];
        literal.parse::<Ipv6Addr>().map_err(|_| "host is no IPv6 address")?;
        authority.split_at(close + 1)
    } else {
        let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        if !host.bytes().all(is_name_byte) {
            return Err("host has an invalid byte");
        }
        (host.strip_suffix('.').unwrap_or(host), port)
    };
    if host.is_empty() {
        return Err("host is empty");
    }
    // Some readers take off one dot, some all.
    if host.ends_with('.') {
        return Err("host ends in two dots");
    }
    check_port(port)?;
    Ok(lower(host))
}

/// Bytes of a reg-name (RFC 3986 section 3.2.2).
pub(super) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)
}

fn lower(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// `port` is empty or begins with a colon; digits may be missing behind it (RFC 3986 3.2.3).
fn check_port(port: &str) -> Result<(), &'static str> {
    let Some(digits) = port.strip_prefix(':') else {
        return if port.is_empty() { Ok(()) } else { Err("host has an invalid port") };
    };
    let valid = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits.is_empty() || digits.parse::<u16>().is_ok());
    if valid { Ok(()) } else { Err("host has an invalid port") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_lower_case_without_port_and_trailing_dot() {
        for (authority, expected) in [
            ("example.com", "example.com"),
            ("EXAMPLE.com.", "example.com"),
            ("example.com:80", "example.com"),
            ("example.com.:8080", "example.com"),
            ("example.com:", "example.com"),
            ("127.0.0.1:8881", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[2001:DB8::1]:443", "[2001:db8::1]"),
            ("[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]"),
            ("a_b", "a_b"),
            ("a%20b", "a%20b"),
        ] {
            assert_eq!(normalise(authority.as_bytes()).as_deref(), Ok(expected), "{authority}");
        }
    }

    #[test]
    fn hosts_that_no_two_readers_agree_on_are_refused() {
        for authority in [
            "",
            ".",
            "a..",
            "a..:80",
            ":80",
            "a b",
            "a/b",
            "user@a",
            "user:pw@a",
            "a:b",
            "a:65536",
            "a:-1",
            "a:+1",
            "a:1:2",
            "[::1",
            "[]",
            "[::1]x",
            "[::1]:x",
            "[1.2.3.4]",
            "::1",
            "a\\b",
            "a?b",
            "a#b",
            "ü.de",
            "a\tb",
            "a\"b",
            "<a>",
            "a]",
        ] {
            assert!(normalise(authority.as_bytes()).is_err(), "{authority}");
        }
        assert!(normalise(b"a\xff").is_err());
    }
}
