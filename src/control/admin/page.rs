//! The status page: one document, put together of the files in `page/`, which loads nothing else.
//!
//! It holds no data, so anyone may have it; what it shows it asks of `/v1/`. Its policy lets run
//! exactly the script and the styles that are built in, by their hashes, and lets them speak to
//! nobody but ringway.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const MARKUP: &str = include_str!("page/page.html");

const STYLE: &str = include_str!("page/style.css");

/// In reading order. They are one module: what one declares, all see.
const SCRIPT: &str = concat!(
    include_str!("page/start.js"),
    include_str!("page/ask.js"),
    include_str!("page/figures.js"),
    include_str!("page/charts.js"),
    include_str!("page/servers.js"),
    include_str!("page/sessions.js"),
    include_str!("page/words.js"),
);

/// Where they belong in the markup.
const PLACES: [(&str, &str); 2] = [("{style}", STYLE), ("{script}", SCRIPT)];

static PAGE: LazyLock<String> = LazyLock::new(|| {
    let put = |page: String, (place, text): (&str, &str)| page.replacen(place, text, 1);
    PLACES.into_iter().fold(MARKUP.to_owned(), put)
});

/// Content Security Policy, level 3.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let mut policy = String::from("default-src 'none'; connect-src 'self'; img-src data:");
    for (kind, text) in [("script-src", SCRIPT), ("style-src", STYLE)] {
        let hash = STANDARD.encode(Sha256::digest(text));
        let _ = write!(policy, "; {kind} 'sha256-{hash}'");
    }
    policy.push_str("; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    HeaderValue::from_str(&policy).expect("a policy is visible ASCII")
});

pub(super) async fn page() -> impl IntoResponse {
    let fixed = |name: HeaderName, value: &'static str| (name, HeaderValue::from_static(value));
    let head = [
        (CONTENT_SECURITY_POLICY, POLICY.clone()),
        fixed(CONTENT_TYPE, "text/html; charset=utf-8"),
        // A page of another version would speak to another API.
        fixed(CACHE_CONTROL, "no-cache"),
        fixed(REFERRER_POLICY, "no-referrer"),
        fixed(X_CONTENT_TYPE_OPTIONS, "nosniff"),
        fixed(X_FRAME_OPTIONS, "DENY"),
    ];
    (head, PAGE.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of the page: what is read at a glance is not an application.
    const MAX_BYTES: usize = 60 * 1024;

    #[test]
    fn the_page_is_small_and_whole() {
        assert!(PAGE.len() <= MAX_BYTES, "{} bytes", PAGE.len());
        for (place, text) in PLACES {
            assert!(!PAGE.contains(place), "{place} is left");
            assert!(PAGE.contains(text), "{place} is not all there");
        }
    }

    #[test]
    fn nothing_in_it_needs_a_laxer_policy() {
        // An end tag within would cut it short, and its hash would be of something else.
        assert!(!SCRIPT.contains("</script") && !STYLE.contains("</style"));
        for words in [" style=\"", " onclick=", "javascript:", "http://", "https://", "@import"] {
            let allowed = "http://www.w3.org/2000/svg";
            assert!(!PAGE.replace(allowed, "").contains(words), "{words}");
        }
    }

    #[test]
    fn what_peers_send_cannot_become_markup() {
        for words in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!SCRIPT.contains(words), "{words}");
        }
    }
}
