//! ringway: a Layer-4 TCP load balancer for Linux on io_uring, or epoll where that is refused.
//!
//! ```text
//! kernel ─▶ sys (engine) ▶ worker ─▶ session::step
//!                                     accept ─▶ peek ─▶ route ─▶ connect ─▶ relay ─▶ close
//!                                               │        │         │
//!                                            parsers   sticky   balance
//! kernel ◀─ sys (engine) ◀ worker ◀──────── actions
//! ```
//!
//! Modules in reading order: what is asked for, how first bytes are read, how a server is chosen,
//! what becomes of a session, who moves the bytes, and what stands around it.

pub mod cli;
pub mod config;

pub mod peek;
pub mod pool;

pub mod admission;
pub mod edition;
pub mod hosts;
pub mod random;
pub mod session;
pub mod slots;
pub mod timer;

pub mod sys;
pub mod worker;

pub mod log;
pub mod metrics;

pub mod control;
pub mod supervisor;

pub mod ctl;
pub mod top;

pub mod doctor;

pub mod demo;
