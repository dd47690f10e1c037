//! The real program over real sockets, with real programs at both ends.
//!
//! Every test starts its own ringway on a free port; `make test` installs the programs it talks to.

mod harness;

mod answers;
mod balance;
mod bulk;
mod nginx;
mod postgres;
mod redis;
mod relay;
mod routes;
mod socketio;
mod websocket;
