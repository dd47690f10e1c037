//! Server names to addresses, by the system's resolver. Waits for as long as that does.

use std::io;
use std::net::ToSocketAddrs;

use super::Failed;
use crate::config::{self, Address, Config, ServerAddress};
use crate::pool::ServerSpec;
use crate::sys::socket;

/// The servers of each pool, in the order of the configuration; a name becomes all its addresses.
///
/// # Errors
/// Every name that has no address, and every address the kernel cannot take.
pub(super) fn look_up(config: &Config) -> Result<Vec<Vec<ServerSpec>>, Vec<Failed>> {
    let mut failures = Vec::new();
    let mut pools = Vec::with_capacity(config.pools.len());
    for pool in &config.pools {
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

fn look_up_server(
    pool: &config::Pool,
    server: &config::Server,
    into: &mut Vec<ServerSpec>,
) -> Result<(), Failed> {
    let (id, weight, backup) = (&server.id, server.weight, server.backup);
    let spec = |address| ServerSpec { address, id: id.clone(), weight, backup };
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
