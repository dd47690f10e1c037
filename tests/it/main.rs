//! The real program over real sockets, with real programs at both ends.
//!
//! Every test starts its own ringway on a free port; `make test` installs the programs it talks to.

mod harness;

mod activation;
mod admin;
mod admin_access;
mod admin_docs;
mod admin_sessions;
mod answers;
mod balance;
mod bulk;
mod client_address;
mod closing;
mod confinement;
mod ctl;
mod dashboards;
mod doctor;
mod documents;
mod drain;
mod engine;
mod health;
mod limits;
mod logs;
mod many_sessions;
mod nginx;
mod one_request;
mod operation;
mod page;
mod postgres;
mod queue;
mod redis;
mod relay;
mod reload;
mod routes;
mod service;
mod slow_heads;
mod smuggling;
mod socketio;
mod sources;
mod splits;
mod sticky;
mod timeouts;
mod tls;
mod top;
mod translations;
mod websocket;
