//! One line a second at most about what there is not enough of, made of what workers count.

use std::fmt::Write;
use std::time::Duration;

use tracing::warn;

use crate::metrics::Lack;
use crate::worker::Shared;

/// Seconds between looks.
const LOOK_S: u64 = 1;

/// Looks for as long as ringway runs.
pub(super) async fn tell(shared: &Shared) {
    let mut before = [0; Lack::ALL.len()];
    loop {
        tokio::time::sleep(Duration::from_secs(LOOK_S)).await;
        if let Some(lacking) = since(&mut before, |lack| {
            shared.counters.iter().map(|worker| worker.lacked(lack)).sum()
        }) {
            warn!(%lacking, "held up");
        }
    }
}

/// What was lacking since the last look, and how often: `descriptors:3,ports:1`.
fn since(before: &mut [u64; Lack::ALL.len()], now: impl Fn(Lack) -> u64) -> Option<String> {
    let mut lacking = String::new();
    for (lack, before) in Lack::ALL.into_iter().zip(before) {
        let now = now(lack);
        if now > *before {
            let comma = if lacking.is_empty() { "" } else { "," };
            let _ = write!(lacking, "{comma}{}:{}", lack.as_str(), now - *before);
        }
        *before = now;
    }
    (!lacking.is_empty()).then_some(lacking)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_lacking_since_the_last_look_is_told() {
        let mut before = [0; Lack::ALL.len()];
        let now = |lack| match lack {
            Lack::Descriptors => 3,
            Lack::Ports => 1,
            _ => 0,
        };
        assert_eq!(since(&mut before, now).unwrap(), "descriptors:3,ports:1");
        assert_eq!(since(&mut before, now), None);
    }
}
