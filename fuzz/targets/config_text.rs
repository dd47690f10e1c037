//! The text of a configuration: never a panic, every problem in one line with something to say,
//! and a configuration that is taken once is taken again.

use ringway::config;

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match config::parse(text) {
        Ok(checked) => {
            assert!(!checked.config.listeners.is_empty() && !checked.config.pools.is_empty());
            for listener in &checked.config.listeners {
                assert!(usize::from(listener.pool.0) < checked.config.pools.len());
                for pool in listener.routes.pools() {
                    assert!(usize::from(pool.0) < checked.config.pools.len());
                }
            }
            let again = config::parse(text).expect("it was taken before");
            assert_eq!(again, checked);
            let _ = ringway::cli::summary(&checked.config);
        }
        Err(problems) => {
            assert!(!problems.0.is_empty());
            for problem in &problems.0 {
                assert!(!problem.message.is_empty(), "{problem}");
                assert!(!problem.to_string().contains('\n'), "{problem:?}");
            }
        }
    }
}
