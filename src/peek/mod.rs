//! Readers of first bytes, in the order in which a connection meets them: PROXY header,
//! ClientHello or request head, the request's end, response head, Socket.IO id; and the editor of
//! heads that are still held.
//!
//! No socket, no clock: bytes in, verdict out, the same verdict however the bytes were split.
//! Nothing a peer sends can panic, and bytes that come one at a time cost no more than linear
//! time (or are bounded to a few hundred).

pub mod proxy_protocol;

pub mod client_hello;

mod lines;

pub mod http_head;

mod framing;
mod host;

pub mod body;
pub mod response_head;
pub mod sid;

pub mod edit;

#[cfg(test)]
mod splits;
