//! Where connections go: exact shares over all workers, weights, backups, counts.

use crate::harness::{HttpServer, Peer, Ringway, Server, both_cores, eventually, many_descriptors};

/// Opens `count` connections, a hundred at a time so that no backlog overflows: the clients, and
/// what each server accepted.
fn open(lb: &Ringway, servers: &[Server], count: usize) -> (Vec<Peer>, Vec<Vec<Peer>>) {
    let mut clients = Vec::with_capacity(count);
    let mut accepted: Vec<Vec<Peer>> = servers.iter().map(|_| Vec::new()).collect();
    while clients.len() < count {
        clients.extend((0..100.min(count - clients.len())).map(|_| lb.client()));
        eventually("as many server connections as clients", || {
            for (server, accepted) in servers.iter().zip(&mut accepted) {
                accepted.extend(std::iter::from_fn(|| server.try_accept()));
            }
            let total: usize = accepted.iter().map(Vec::len).sum();
            (total == clients.len()).then_some(())
        });
    }
    (clients, accepted)
}

fn shares(accepted: &[Vec<Peer>]) -> Vec<usize> {
    accepted.iter().map(Vec::len).collect()
}

#[test]
fn four_thousand_idle_connections_are_a_thousand_to_each_of_four_servers() {
    let _turn = both_cores();
    many_descriptors(10_000);
    let servers: Vec<_> = (0..4).map(|_| Server::listen()).collect();
    let lb = Ringway::to(servers.iter().map(Server::address)).with(["--peek", "none"]).start();
    let (mut clients, accepted) = open(&lb, &servers, 4_000);
    assert_eq!(shares(&accepted), [1_000; 4]);
    for client in clients.iter_mut().step_by(97) {
        client.send(b"still here");
    }
    let sent = clients.len().div_ceil(97);
    eventually("every byte of idle connections", || {
        let heard = accepted.iter().flatten().filter(|peer| peer.is_readable()).count();
        (heard == sent).then_some(())
    });
}

#[test]
fn weights_are_kept_exactly() {
    let servers: Vec<_> = (0..3).map(|_| Server::listen()).collect();
    let to = servers.iter().zip([1, 2, 3]).map(|(s, w)| format!("{},weight={w}", s.address()));
    let lb = Ringway::to(to).with(["--peek", "none"]).start();
    let (_clients, accepted) = open(&lb, &servers, 60);
    assert_eq!(shares(&accepted), [10, 20, 30]);
}

#[test]
fn least_conn_fills_up_the_server_that_lost_its_connections() {
    let servers: Vec<_> = (0..3).map(|_| Server::listen()).collect();
    let lb = Ringway::to(servers.iter().map(Server::address))
        .with(["--peek", "none", "--balance", "least_conn"])
        .start();
    let (mut clients, mut accepted) = open(&lb, &servers, 30);
    assert_eq!(shares(&accepted), [10; 3]);
    accepted[1].clear();
    eventually("ten ends at clients", || {
        clients.retain(|client| !client.is_ended());
        (clients.len() == 20).then_some(())
    });
    eventually("ten sessions ended", || (lb.sessions().len() == 10).then_some(()));
    let (_more, accepted) = open(&lb, &servers, 10);
    assert_eq!(shares(&accepted), [0, 10, 0]);
}

#[test]
fn random_two_leaves_no_server_far_behind() {
    let servers: Vec<_> = (0..4).map(|_| Server::listen()).collect();
    let lb = Ringway::to(servers.iter().map(Server::address))
        .with(["--peek", "none", "--balance", "random_two"])
        .start();
    let (_clients, accepted) = open(&lb, &servers, 200);
    let shares = shares(&accepted);
    assert!(shares.iter().all(|share| (40..=60).contains(share)), "{shares:?}");
}

#[test]
fn hash_keeps_a_source_address_at_its_server() {
    let servers: Vec<_> = (1..=4).map(|n| HttpServer::named(&format!("s{n}"))).collect();
    let lb = Ringway::to(servers.iter().map(HttpServer::address))
        .with(["--peek", "none", "--balance", "hash"])
        .start();
    let mut seen = std::collections::BTreeSet::new();
    for n in 1..=20 {
        let source = format!("127.0.7.{n}");
        let ask = || {
            let mut client = Peer::connect_from(&source, lb.address());
            client.send(crate::harness::get("/", &["Connection: close"]));
            let name = client.response().text();
            let address = client.address();
            drop(client);
            // An open session counts towards the bound on load, which comes before the hash.
            lb.session_of(address);
            name
        };
        let name = ask();
        assert_eq!(ask(), name, "{source}");
        seen.insert(name);
    }
    assert!(seen.len() > 1, "all at {seen:?}");
}

#[test]
fn a_backup_serves_only_when_no_other_server_can() {
    let backup = HttpServer::named("backup");
    let to_backup = format!("{},backup", backup.address());
    {
        let server = HttpServer::named("first");
        let lb =
            Ringway::to([server.address(), to_backup.clone()]).with(["--peek", "http"]).start();
        for _ in 0..6 {
            assert_eq!(lb.get("/", &[]).text(), "first");
        }
    }
    let (_held, closed) = crate::harness::closed_port();
    let lb = Ringway::to([closed, to_backup]).with(["--peek", "http"]).start();
    for _ in 0..6 {
        assert_eq!(lb.get("/", &[]).text(), "backup");
    }
}
