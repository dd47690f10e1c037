//! What costs time without the kernel: first bytes, picking a server, the learned table, timers,
//! and the steps of a session. No sockets: `make bench-core` runs it anywhere.

mod peek;
mod pool;
mod session;

use criterion::{criterion_group, criterion_main};

/// Largest head the listeners accept by default.
const HEAD_MAX: usize = 32 * 1024;

criterion_group!(
    benches,
    peek::heads,
    peek::hellos,
    peek::proxy_headers,
    peek::sids,
    pool::pick,
    pool::learned,
    session::timer,
    session::relay,
    session::life,
);
criterion_main!(benches);
