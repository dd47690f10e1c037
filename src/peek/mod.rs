//! Readers of first bytes: request head, response head, ClientHello, PROXY header.
//!
//! No socket, no clock: bytes in, verdict out, the same verdict however the bytes were split.

pub mod http_head;
