//! ringway: a Layer-4 TCP load balancer for Linux on io_uring.

pub mod cli;
pub mod config;
pub mod peek;
