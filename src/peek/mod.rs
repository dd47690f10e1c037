//! Readers of first bytes, in the order in which a connection meets them: PROXY header,
//! ClientHello or request head, the request's end, response head, Socket.IO id; and the editor of
//! heads that are still held.
//!
//! No socket, no clock: bytes in, verdict out, the same verdict however the bytes were split.
//! Nothing a peer sends can panic, and bytes that come one at a time cost no more than linear
//! time; the two readers that remember nothing look at 107 and 1024 bytes at most.

pub mod proxy_protocol;

pub mod client_hello;

pub mod http_head;
// What http_head and response_head stand on.
mod lines;
// What follows from a request's fields.
mod framing;
mod host;

pub mod body;
pub mod response_head;
pub mod sid;

pub mod edit;

#[cfg(test)]
mod splits;
