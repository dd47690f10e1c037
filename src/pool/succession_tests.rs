//! A pool that takes the place of another.

use super::*;
use crate::config::{Address, Learn, Sticky};
use crate::peek::http_head::{Body, Field};

const LEARN: Learn = Learn { ttl_s: 120, max_entries: 1_000 };

/// Servers by the last part of their address, and their weights.
fn servers(ports: &[(u16, u16)]) -> Vec<ServerSpec> {
    let server = |&(port, weight): &(u16, u16)| ServerSpec {
        address: Address::Tcp(([10, 0, 0, 1], port).into()),
        id: format!("s{port}"),
        weight,
        backup: false,
        max_connections: None,
        duty: Duty::Ready,
    };
    ports.iter().map(server).collect()
}

fn spec(balance: Balance, sticky: &Sticky) -> config::Pool {
    let text = r#"{"listeners": [{"bind": "127.0.0.1:1"}], "pools": {"p": {"servers": ["a:1"]}}}"#;
    let pool = config::parse(text).unwrap().config.pools.remove(0);
    config::Pool { balance, sticky: sticky.clone(), ..pool }
}

fn socketio() -> Sticky {
    Sticky::SocketIo { path: "/socket.io/".into(), secret: None, learn: LEARN }
}

fn cookie(name: &str) -> Sticky {
    Sticky::Cookie { name: name.into(), learn: Some(LEARN) }
}

/// Picks without a key and leaves the session open: the port.
fn open(pool: &Pool) -> u16 {
    let key = pool.key(None, None);
    let pick = pool.pick(&key, None, &Tried::default(), 0, 0).unwrap();
    port(pool, pick.server)
}

fn port(pool: &Pool, server: ServerIndex) -> u16 {
    let Address::Tcp(address) = pool.server(server).address else { panic!() };
    address.port()
}

/// Where a request with this cookie goes, and why; its session ends at once.
fn visit(pool: &Pool, cookie: &str) -> (u16, How) {
    let fields = vec![Field { name: "cookie", value: cookie.as_bytes() }];
    visit_with(pool, "/", fields)
}

fn visit_with(pool: &Pool, target: &str, fields: Vec<Field<'_>>) -> (u16, How) {
    let (host, body) = (None, Body::None);
    let (method, minor_version, websocket, start, end) = ("GET", 1, false, 0, 0);
    let head =
        RequestHead { method, target, minor_version, fields, host, body, websocket, start, end };
    let pick = pool.pick(&pool.key(Some(&head), None), None, &Tried::default(), 0, 0).unwrap();
    pool.release(pick.server);
    pick.held.into_iter().for_each(|held| pool.let_go(held, 0));
    (port(pool, pick.server), pick.how)
}

#[test]
fn counts_go_on_under_both_pools() {
    let (spec, mut peers) = (spec(Balance::LeastConn, &Sticky::None), Peers::default());
    let before = Pool::succeeding(None, &spec, servers(&[(1, 1), (2, 1)]), &mut peers, 0, 1);
    assert_eq!([open(&before), open(&before)], [1, 2]);
    let servers = servers(&[(3, 1), (2, 1), (1, 1)]);
    let after = Pool::succeeding(Some(&before), &spec, servers, &mut peers, 0, 1);
    assert_eq!(open(&after), 3, "the only one without a session");
    assert_eq!(after.servers().iter().map(Server::live).collect::<Vec<_>>(), [1, 1, 1]);
    before.release(ServerIndex(0));
    assert_eq!(after.servers()[2].live(), 0, "the same server, by its address");
}

#[test]
fn turns_go_on_where_they_were() {
    let (spec, mut peers) = (spec(Balance::RoundRobin, &Sticky::None), Peers::default());
    let all = [(1, 1), (2, 1), (3, 1), (4, 1)];
    let mut pool = Pool::succeeding(None, &spec, servers(&all), &mut peers, 0, 1);
    let mut turns = [0; 5];
    for _ in 0..400 {
        turns[usize::from(open(&pool))] += 1;
        pool = Pool::succeeding(Some(&pool), &spec, servers(&all), &mut peers, 0, 1);
    }
    assert_eq!(turns, [0, 100, 100, 100, 100]);
    assert_eq!(peers.len(), 4, "addresses are known once");
}

#[test]
fn learned_keys_lead_to_the_same_address_wherever_it_stands() {
    let (spec, mut peers) = (spec(Balance::RoundRobin, &cookie("id")), Peers::default());
    let before = Pool::succeeding(None, &spec, servers(&[(1, 1), (2, 1)]), &mut peers, 0, 1);
    let held = before.learn(b"7", ServerIndex(1), 0).unwrap();
    let after =
        Pool::succeeding(Some(&before), &spec, servers(&[(2, 9), (1, 1)]), &mut peers, 1, 1);
    assert_eq!(visit(&after, "id=7"), (2, How::Kept));
    before.let_go(held, 0);
    assert_eq!(after.sweep(120_000), 1, "one table");
}

#[test]
fn a_server_that_is_gone_stays_while_keys_lead_to_it_and_gets_nobody_else() {
    let (spec, mut peers) = (spec(Balance::RoundRobin, &cookie("id")), Peers::default());
    let before = Pool::succeeding(None, &spec, servers(&[(1, 1), (2, 1)]), &mut peers, 0, 1);
    let held = before.learn(b"7", ServerIndex(1), 0).unwrap();
    let mut after = Pool::succeeding(Some(&before), &spec, servers(&[(1, 1)]), &mut peers, 0, 1);
    assert_eq!(visit(&after, "id=7"), (2, How::Kept));
    assert_eq!([open(&after), open(&after), open(&after)], [1, 1, 1]);
    after = Pool::succeeding(Some(&after), &spec, servers(&[(1, 1)]), &mut peers, 0, 1);
    assert_eq!(visit(&after, "id=7"), (2, How::Kept), "through any number of editions");
    before.let_go(held, 0);
    after.sweep(120_000);
    after = Pool::succeeding(Some(&after), &spec, servers(&[(1, 1)]), &mut peers, 0, 1);
    assert_eq!(after.servers().len(), 1, "nothing leads there any more");
}

#[test]
fn a_sid_that_names_a_server_leads_to_it_while_it_has_sessions() {
    let (spec, mut peers) = (spec(Balance::RoundRobin, &socketio()), Peers::default());
    let before = Pool::succeeding(None, &spec, servers(&[(1, 1), (2, 1)]), &mut peers, 0, 1);
    assert_eq!([open(&before), open(&before)], [1, 2]);
    let after = Pool::succeeding(Some(&before), &spec, servers(&[(1, 1)]), &mut peers, 0, 1);
    let sid = |pool: &Pool| visit_with(pool, "/socket.io/?EIO=4&sid=s2.abc", Vec::new());
    assert_eq!(sid(&after), (2, How::Kept));
    before.release(ServerIndex(1));
    let last = Pool::succeeding(Some(&after), &spec, servers(&[(1, 1)]), &mut peers, 0, 1);
    assert_eq!(sid(&last), (1, How::Redispatched));
}

#[test]
fn keys_of_another_kind_are_forgotten() {
    let (spec_before, mut peers) = (spec(Balance::RoundRobin, &cookie("id")), Peers::default());
    let before = Pool::succeeding(None, &spec_before, servers(&[(1, 1), (2, 1)]), &mut peers, 0, 1);
    let held = before.learn(b"7", ServerIndex(1), 0).unwrap();
    for sticky in [cookie("other"), socketio(), Sticky::None] {
        let spec = spec(Balance::RoundRobin, &sticky);
        let after = Pool::succeeding(Some(&before), &spec, servers(&[(1, 1)]), &mut peers, 0, 1);
        assert_eq!((after.learned(), after.servers().len()), (0, 1), "{sticky:?}");
    }
    before.let_go(held, 0);
}
