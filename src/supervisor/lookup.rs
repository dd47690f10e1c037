//! Server names to addresses, by the system's resolver, for as long as that takes; and whether this
//! host has the addresses that servers are to be connected to from.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};

use super::Failed;
use crate::config::{self, Address, Config, ServerAddress};
use crate::pool::ServerSpec;
use crate::sys::{socket, sources};

/// The servers of each pool, in the order of the configuration; a name becomes all its addresses.
///
/// # Errors
/// Every name that has no address, every address the kernel cannot take, and every source address
/// that is not this host's.
pub(super) fn look_up(config: &Config) -> Result<Vec<Vec<ServerSpec>>, Vec<Failed>> {
    let mut failures = Vec::new();
    let mut pools = Vec::with_capacity(config.pools.len());
    for pool in &config.pools {
        for &ip in &pool.source_addresses {
            if let Err(why) = sources::probe(ip) {
                failures.push(no_source(pool, ip, why));
            }
        }
        let mut servers = Vec::with_capacity(pool.servers.len());
        for server in &pool.servers {
            if let Err(failed) = look_up_server(pool, server, &mut servers) {
                failures.push(failed);
            }
        }
        pools.push(servers);
    }
    if failures.is_empty() { Ok(pools) } else { Err(failures) }
}

fn no_source(pool: &config::Pool, ip: IpAddr, why: io::Error) -> Failed {
    let why = match why.kind() {
        kind @ io::ErrorKind::AddrNotAvailable => {
            io::Error::new(kind, "this host does not have that address")
        }
        _ => why,
    };
    Failed { what: format!("pools.{}.source_addresses: {ip}", pool.name), why }
}

fn look_up_server(
    pool: &config::Pool,
    server: &config::Server,
    into: &mut Vec<ServerSpec>,
) -> Result<(), Failed> {
    let spec = |address| ServerSpec::new(server, address);
    let what = |how: &str| format!("pools.{}: server {} {how}", pool.name, server.address);
    match &server.address {
        ServerAddress::Address(address) => {
            socket::sock_addr(address)
                .map_err(|why| Failed { what: what("cannot be connected to"), why })?;
            into.push(spec(address.clone()));
        }
        ServerAddress::Name { host, port } => {
            let what = || what("cannot be looked up");
            let mut found: Vec<Address> = (host.as_str(), *port)
                .to_socket_addrs()
                .map_err(|why| Failed { what: what(), why })?
                .map(Address::Tcp)
                .collect();
            if found.is_empty() {
                let why = io::Error::new(io::ErrorKind::NotFound, "it has no address");
                return Err(Failed { what: what(), why });
            }
            found.sort_unstable();
            found.dedup();
            into.extend(found.into_iter().map(spec));
        }
    }
    Ok(())
}
