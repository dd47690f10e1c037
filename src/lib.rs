//! ringway: a Layer-4 TCP load balancer for Linux on io_uring.

pub mod config;
pub mod demo;
pub mod peek;
pub mod pool;
