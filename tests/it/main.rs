//! The real program over real sockets, with real programs at both ends.
//!
//! Every test starts its own ringway on a free port; `make test` installs the programs it talks to.

mod harness;

mod nginx;
mod postgres;
mod redis;
mod relay;
mod socketio;
mod websocket;
