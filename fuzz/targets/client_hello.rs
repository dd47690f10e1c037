//! A ClientHello, split: one verdict however it is split.

use ringway::peek::client_hello::{HelloPeeked, HelloScanner};

/// The first byte says where the rest is split.
pub(crate) fn run(data: &[u8]) {
    let Some((&step, bytes)) = data.split_first() else { return };
    let max = 1024 + usize::from(step) * 16;
    let whole = HelloScanner::default().scan(bytes, max);
    let mut scanner = HelloScanner::default();
    let mut split = HelloPeeked::Incomplete;
    let mut length = 0;
    while length < bytes.len() && split == HelloPeeked::Incomplete {
        length = (length + 1 + usize::from(step) % 64).min(bytes.len());
        split = scanner.scan(&bytes[..length], max);
    }
    if bytes.is_empty() {
        return;
    }
    assert_eq!(split, whole, "the same however it is split");
    let HelloPeeked::Hello(hello) = whole else { return };
    assert!(hello.end <= bytes.len() && hello.end <= max);
    if let Some(sni) = hello.sni {
        assert!(!sni.is_empty() && !sni.ends_with('.'), "{sni:?}");
        assert!(!sni.bytes().any(|byte| byte.is_ascii_uppercase() || byte <= b' '), "{sni:?}");
    }
}
