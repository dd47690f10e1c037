//! A pool as sessions see it.

mod health;
mod limits;

use std::net::{IpAddr, Ipv4Addr};
use std::thread;

use super::ring::mixed;
use super::*;
use crate::config::{Address, Forwarded, Learn, Sticky, Timeouts};
use crate::peek::http_head::{Body, Field};

const NOBODY: Option<IpAddr> = None;
const LEARN: Learn = Learn { ttl_s: 120, max_entries: 1_000 };

fn pool_of(balance: Balance, sticky: Sticky, strict: bool, servers: &[(&str, u16, bool)]) -> Pool {
    let spec = config::Pool {
        name: "chat".into(),
        balance,
        sticky,
        strict,
        send_proxy: None,
        forwarded: Forwarded::Off,
        servers: Vec::new(),
        source_addresses: Vec::new(),
        connect_timeout_ms: 2_000,
        connect_tries: 3,
        max_connections_per_server: None,
        connects_in_flight_max: None,
        queue_max: 8,
        queue_timeout_ms: 5_000,
        timeouts: Timeouts::default(),
        health: None,
        eject: None,
        slow_start_ms: 0,
        on_down: config::OnDown::Keep,
    };
    let server = |(&(id, weight, backup), port): (&(&str, u16, bool), u16)| ServerSpec {
        address: Address::Tcp(([127, 0, 0, 1], port).into()),
        id: id.to_owned(),
        weight,
        backup,
        max_connections: None,
        duty: Duty::Ready,
    };
    Pool::new(&spec, servers.iter().zip(8881..).map(server).collect())
}

const FOUR: [(&str, u16, bool); 4] =
    [("s1", 1, false), ("s2", 1, false), ("s3", 1, false), ("s4", 1, false)];

fn balanced(balance: Balance, weights: &[u16]) -> Pool {
    let ids: Vec<String> = (0..weights.len()).map(|at| format!("s{at}")).collect();
    let servers: Vec<_> = ids.iter().zip(weights).map(|(id, &w)| (id.as_str(), w, false)).collect();
    pool_of(balance, Sticky::None, false, &servers)
}

fn sticky(sticky: Sticky) -> Pool {
    pool_of(Balance::RoundRobin, sticky, false, &FOUR)
}

fn strict(sticky: Sticky) -> Pool {
    pool_of(Balance::RoundRobin, sticky, true, &FOUR)
}

fn socketio(secret: Option<&str>) -> Sticky {
    let secret = secret.map(str::to_owned);
    Sticky::SocketIo { path: "/socket.io/".into(), secret, learn: LEARN }
}

fn insert() -> Sticky {
    let attributes = "Path=/; HttpOnly; SameSite=Lax".into();
    Sticky::Insert { name: "srv".into(), attributes, secret: "secret".into() }
}

fn head<'b>(target: &'b str, fields: &[(&'b str, &'b str)]) -> RequestHead<'b> {
    let field = |&(name, value): &(&'b str, &'b str)| Field { name, value: value.as_bytes() };
    RequestHead {
        method: "GET",
        target,
        minor_version: 1,
        fields: fields.iter().map(field).collect(),
        host: None,
        body: Body::None,
        websocket: false,
        start: 0,
        end: 0,
    }
}

fn tried(servers: &[u16]) -> Tried {
    let mut tried = Tried::default();
    servers.iter().for_each(|&server| tried.insert(ServerIndex(server)));
    tried
}

fn client(number: u32) -> Option<IpAddr> {
    Some(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)))
}

fn keyless(pool: &Pool) -> Key {
    pool.key(None, None)
}

/// Picks without a key and leaves the session open.
fn open(pool: &Pool, client: Option<IpAddr>, random: u64) -> u16 {
    let key = pool.key(None, client);
    pool.pick(&key, client, &Tried::default(), random, 0).unwrap().server.0
}

fn live(pool: &Pool) -> Vec<u32> {
    pool.servers().iter().map(Server::live).collect()
}

/// Picks for a request, ends the session at once, says where it went and why.
fn visit(pool: &Pool, head: &RequestHead<'_>, tried: &Tried) -> Result<(u16, How), NoPick> {
    let key = pool.key(Some(head), client(1));
    let pick = pool.pick(&key, client(1), tried, 0, 0)?;
    pool.release(pick.server);
    pick.held.into_iter().for_each(|held| pool.let_go(held, 0));
    Ok((pick.server.0, pick.how))
}

#[test]
fn round_robin_is_exact_over_threads() {
    let pool = balanced(Balance::RoundRobin, &[1, 1, 1, 1]);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..10_000).for_each(|_| assert!(open(&pool, NOBODY, 0) < 4)));
        }
    });
    assert_eq!(live(&pool), [20_000; 4]);
}

#[test]
fn four_thousand_idle_sessions_are_a_thousand_each() {
    for balance in [Balance::RoundRobin, Balance::LeastConn] {
        let pool = balanced(balance, &[1, 1, 1, 1]);
        (0..4_000).for_each(|_| assert!(open(&pool, NOBODY, 0) < 4));
        assert_eq!(live(&pool), [1_000; 4], "{balance:?}");
    }
}

#[test]
fn least_conn_is_exact_over_threads_and_evens_out_what_ends() {
    let pool = balanced(Balance::LeastConn, &[4, 2, 1, 1]);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..5_000).for_each(|_| assert!(open(&pool, NOBODY, 0) < 4)));
        }
    });
    assert_eq!(live(&pool), [20_000, 10_000, 5_000, 5_000]);
    (0..900).for_each(|_| pool.release(ServerIndex(2)));
    (0..900).for_each(|_| assert_eq!(open(&pool, NOBODY, 0), 2));
}

#[test]
fn least_conn_takes_turns_among_equals() {
    let pool = balanced(Balance::LeastConn, &[1, 1, 1]);
    let mut turns = [0; 3];
    for _ in 0..300 {
        let server = open(&pool, NOBODY, 0);
        pool.release(ServerIndex(server));
        turns[usize::from(server)] += 1;
    }
    assert_eq!(turns, [100; 3]);
}

#[test]
fn random_two_stays_near_even_and_near_weight() {
    for (weights, sessions) in [(vec![1; 10], 10_000_u32), (vec![3, 2, 1], 6_000), (vec![1, 1], 2)]
    {
        let pool = balanced(Balance::RandomTwo, &weights);
        for number in 0..u64::from(sessions) {
            open(&pool, NOBODY, ring::mixed(number));
        }
        let sum: u32 = weights.iter().map(|&weight| u32::from(weight)).sum();
        for (live, weight) in live(&pool).into_iter().zip(weights) {
            let ideal = sessions * u32::from(weight) / sum;
            assert!(live.abs_diff(ideal) <= 10, "weight {weight}: {live} of {ideal}");
        }
    }
}

#[test]
fn random_two_with_one_server_takes_it() {
    assert_eq!(open(&balanced(Balance::RandomTwo, &[1]), NOBODY, 7), 0);
}

#[test]
fn hash_keeps_a_client_while_there_is_room() {
    let pool = balanced(Balance::Hash, &[1; 8]);
    for number in 0..200 {
        let first = open(&pool, client(number), 0);
        pool.release(ServerIndex(first));
        let second = open(&pool, client(number), 0);
        pool.release(ServerIndex(second));
        assert_eq!(first, second);
    }
}

#[test]
fn hash_never_loads_a_server_beyond_a_quarter_above_its_share() {
    for weights in [vec![1; 10], vec![4, 2, 1]] {
        let pool = balanced(Balance::Hash, &weights);
        let sum: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        for sessions in 1..=2_000_u64 {
            // One client in two is always the same one.
            open(&pool, client(u32::try_from(sessions % 2 * sessions).unwrap()), 0);
            for (live, &weight) in live(&pool).into_iter().zip(&weights) {
                let bound = (sessions * u64::from(weight) * 5).div_ceil(sum * 4);
                assert!(u64::from(live) <= bound, "{live} of {sessions} at weight {weight}");
            }
        }
    }
}

#[test]
fn hash_with_threads_loses_no_count() {
    let pool = balanced(Balance::Hash, &[1; 4]);
    thread::scope(|scope| {
        for thread in 0..8 {
            let pool = &pool;
            scope.spawn(move || {
                (0..2_000).for_each(|n| assert!(open(pool, client(n * thread), 0) < 4));
            });
        }
    });
    assert_eq!(live(&pool).iter().sum::<u32>(), 16_000);
}

#[test]
fn hash_without_an_address_is_round_robin() {
    let pool = balanced(Balance::Hash, &[1; 4]);
    let servers: Vec<u16> = (0..4).map(|_| open(&pool, NOBODY, 0)).collect();
    assert_eq!(servers, [0, 1, 2, 3]);
}

#[test]
fn backups_serve_when_every_other_server_was_tried() {
    use Balance::{Hash, LeastConn, RandomTwo, RoundRobin};
    for balance in [RoundRobin, LeastConn, RandomTwo, Hash] {
        let servers = [("a", 1, false), ("b", 256, true), ("c", 1, false)];
        let pool = pool_of(balance, Sticky::None, false, &servers);
        let pick = |tried: &Tried, random| {
            pool.pick(&keyless(&pool), client(9), tried, random, 0).map(|pick| pick.server.0)
        };
        for random in 0..50 {
            assert_ne!(pick(&tried(&[]), random), Ok(1), "{balance:?}");
            assert_eq!(pick(&tried(&[0]), random), Ok(2), "{balance:?}");
            assert_eq!(pick(&tried(&[0, 2]), random), Ok(1), "{balance:?}");
            assert_eq!(pick(&tried(&[2, 1, 0]), random), Err(NoPick::NoServer), "{balance:?}");
        }
    }
}

#[test]
fn a_pool_of_backups_only_uses_them() {
    for sticky in [Sticky::None, Sticky::Source] {
        let pool = pool_of(Balance::RoundRobin, sticky, false, &[("a", 1, true), ("b", 1, true)]);
        assert!(open(&pool, client(1), 0) < 2);
    }
}

#[test]
fn counts_follow_a_session() {
    let pool = balanced(Balance::RoundRobin, &[1]);
    let server = ServerIndex(open(&pool, NOBODY, 0));
    pool.commit(server, 0, 0);
    assert_eq!((pool.servers()[0].live(), pool.servers()[0].total()), (1, 1));
    pool.release(server);
    assert_eq!((pool.servers()[0].live(), pool.servers()[0].total()), (0, 1));
}

#[test]
fn keys_are_read_where_the_rule_looks() {
    let cookie = |learn| Sticky::Cookie { name: "id".into(), learn };
    let header = Sticky::Header { name: "x-user".into() };
    let query = Sticky::Query { name: "room".into() };
    let plain = head("/", &[]);
    let cookies = head("/", &[("Cookie", "a=b; id=7")]);
    let empty_cookie = head("/", &[("cookie", "id=")]);
    let tenant = head("/", &[("X-User", "ann")]);
    let room = head("/?a=b&room=7", &[]);
    let rows = [
        (Sticky::None, &cookies, KeyKind::None),
        (Sticky::Source, &plain, KeyKind::Source),
        (cookie(None), &cookies, KeyKind::Cookie),
        (cookie(None), &plain, KeyKind::None),
        (cookie(None), &empty_cookie, KeyKind::None),
        (cookie(Some(LEARN)), &cookies, KeyKind::Cookie),
        (insert(), &cookies, KeyKind::None),
        (header.clone(), &tenant, KeyKind::Header),
        (header, &plain, KeyKind::None),
        (query.clone(), &room, KeyKind::Query),
        (query, &plain, KeyKind::None),
    ];
    for (rule, head, expected) in rows {
        let pool = sticky(rule.clone());
        assert_eq!(pool.key(Some(head), client(1)).kind, expected, "{rule:?}");
        if rule != Sticky::Source {
            assert_eq!(pool.key(None, client(1)).kind, KeyKind::None, "{rule:?}");
        }
        assert_eq!(pool.key(None, NOBODY).kind, KeyKind::None, "{rule:?}");
    }
}

#[test]
fn socketio_keys_by_path_and_parameters() {
    let rows = [
        ("/socket.io/?EIO=4&transport=polling", KeyKind::Handshake),
        ("/socket.io?EIO=4&transport=polling", KeyKind::Handshake),
        ("/socket.io/?token=x&EIO=4", KeyKind::Handshake),
        ("http://chat.example.com/socket.io/?EIO=4", KeyKind::Handshake),
        ("/socket.io/?EIO=4&sid=", KeyKind::Handshake),
        ("/socket.io/?EIO=4&transport=polling&sid=abc", KeyKind::Sid),
        ("/socket.io/?sid=abc", KeyKind::Sid),
        ("/socket.io/socket.io.js", KeyKind::None),
        ("/socket.io/", KeyKind::None),
        ("/?EIO=4&sid=abc", KeyKind::None),
        ("/other/socket.io/?EIO=4", KeyKind::None),
        ("*", KeyKind::None),
    ];
    let pool = sticky(socketio(None));
    for (target, expected) in rows {
        assert_eq!(pool.key(Some(&head(target, &[])), NOBODY).kind, expected, "{target}");
    }
}

#[test]
fn a_client_address_and_its_mapped_form_are_one_source() {
    let pool = sticky(Sticky::Source);
    let key = |address: &str| pool.key(None, Some(address.parse().unwrap()));
    assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
    assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
}

#[test]
fn hashed_keys_stay_and_move_on_only_from_a_tried_server() {
    let rules = [
        Sticky::Source,
        Sticky::Cookie { name: "id".into(), learn: None },
        Sticky::Header { name: "x-user".into() },
        Sticky::Query { name: "id".into() },
    ];
    for rule in rules {
        let request = head("/?id=7", &[("cookie", "id=7"), ("x-user", "7")]);
        let pool = sticky(rule.clone());
        let (owner, how) = visit(&pool, &request, &tried(&[])).unwrap();
        assert_eq!(how, How::Kept);
        for _ in 0..9 {
            assert_eq!(visit(&pool, &request, &tried(&[])), Ok((owner, How::Kept)));
        }
        let (next, how) = visit(&pool, &request, &tried(&[owner])).unwrap();
        assert_ne!(next, owner);
        assert_eq!(how, How::Redispatched);
        let refused = visit(&strict(rule), &request, &tried(&[owner]));
        assert_eq!(refused, Err(NoPick::KeyLost));
        let nobody = visit(&pool, &request, &tried(&[0, 1, 2, 3]));
        assert_eq!(nobody, Err(NoPick::NoServer));
    }
}

#[test]
fn keys_are_not_bent_by_load() {
    let pool = pool_of(Balance::Hash, Sticky::Source, false, &FOUR);
    let owner = open(&pool, client(1), 0);
    (0..1_000).for_each(|_| assert_eq!(open(&pool, client(1), 0), owner));
}

#[test]
fn an_inserted_cookie_leads_back_to_its_server() {
    let (pool, again) = (sticky(insert()), sticky(insert()));
    for server in 0..4 {
        let cookie = pool.cookie_for(ServerIndex(server)).unwrap();
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(pair.len(), "srv=".len() + 16);
        let request = head("/", &[("cookie", pair)]);
        assert_eq!(visit(&again, &request, &tried(&[])), Ok((server, How::Kept)));
        assert_eq!(again.key(Some(&request), NOBODY).kind, KeyKind::Insert);
    }
    assert_eq!(sticky(Sticky::None).cookie_for(ServerIndex(0)), None);
}

#[test]
fn an_inserted_cookie_that_cannot_be_honoured() {
    let (pool, strict) = (sticky(insert()), strict(insert()));
    let mine = pool.cookie_for(ServerIndex(2)).unwrap().split("; ").next().unwrap();
    let rows = [
        (None, vec![], Ok(How::Balanced), Ok(How::Balanced)),
        (Some("srv=0123456789abcdef"), vec![], Ok(How::Redispatched), Err(NoPick::KeyLost)),
        (Some(mine), vec![], Ok(How::Kept), Ok(How::Kept)),
        (Some(mine), vec![1], Ok(How::Kept), Ok(How::Kept)),
        (Some(mine), vec![2], Ok(How::Redispatched), Err(NoPick::KeyLost)),
        (Some(mine), vec![0, 1, 2, 3], Err(NoPick::NoServer), Err(NoPick::KeyLost)),
    ];
    for (cookie, servers, redispatching, refusing) in rows {
        let fields: Vec<_> = cookie.iter().map(|&cookie| ("cookie", cookie)).collect();
        let (request, tried) = (head("/", &fields), tried(&servers));
        let how = |pool| visit(pool, &request, &tried).map(|(_, how)| how);
        assert_eq!(how(&pool), redispatching, "{cookie:?} {servers:?}");
        assert_eq!(how(&strict), refusing, "{cookie:?} {servers:?}");
    }
}

#[test]
fn a_sid_prefix_leads_to_its_server_without_a_table() {
    let token = tokens::token("secret", "s3");
    let rows = [
        (None, "s3.Xy-_".to_owned(), Ok((2, How::Kept))),
        (None, format!("{token}.Xy"), Err(NoPick::KeyLost)),
        (Some("secret"), format!("{token}.Xy"), Ok((2, How::Kept))),
        (Some("secret"), "s3.Xy".to_owned(), Err(NoPick::KeyLost)),
        (Some("other"), format!("{token}.Xy"), Err(NoPick::KeyLost)),
        (None, "s3".to_owned(), Err(NoPick::KeyLost)),
    ];
    for (secret, sid, expected) in rows {
        let pool = strict(socketio(secret));
        let target = format!("/socket.io/?EIO=4&sid={sid}");
        assert_eq!(visit(&pool, &head(&target, &[]), &tried(&[])), expected, "{secret:?} {sid}");
        if expected.is_ok() {
            assert_eq!(pool.learn(sid.as_bytes(), ServerIndex(2), 0), None);
            assert_eq!(pool.learned(), 0, "a sid that says it all needs no entry");
        }
    }
}

#[test]
fn an_address_is_an_id_though_it_has_dots_and_comes_encoded() {
    let servers = [("127.0.0.1:8881", 1, false), ("127.0.0.1:8882", 1, false)];
    let pool = pool_of(Balance::RoundRobin, socketio(None), false, &servers);
    for sid in ["127.0.0.1:8882.abc", "127.0.0.1%3A8882.abc", "127.0.0.1%3a8882.a%2"] {
        let target = format!("/socket.io/?EIO=4&sid={sid}");
        assert_eq!(visit(&pool, &head(&target, &[]), &tried(&[])), Ok((1, How::Kept)), "{sid}");
    }
}

#[test]
fn a_learned_sid_leads_back_until_its_time_is_over() {
    let (pool, strict) = (sticky(socketio(None)), strict(socketio(None)));
    for (pool, lost) in [(&pool, Ok(How::Redispatched)), (&strict, Err(NoPick::KeyLost))] {
        let request = head("/socket.io/?EIO=4&sid=a%2Bb", &[]);
        let how = |servers: &[u16], now_ms| {
            let key = pool.key(Some(&request), NOBODY);
            let pick = pool.pick(&key, NOBODY, &tried(servers), 0, now_ms)?;
            assert!((pick.how == How::Kept) == (pick.server.0 == 3 && pick.held.is_some()));
            pick.held.into_iter().for_each(|held| pool.let_go(held, now_ms));
            Ok(pick.how)
        };
        assert_eq!(how(&[], 0), lost, "not learned yet");
        let handshake = pool.learn(b"a+b", ServerIndex(3), 0).unwrap();
        assert_eq!(how(&[], 1_000_000), Ok(How::Kept), "held");
        assert_eq!(how(&[3], 1_000_000), lost, "tried");
        pool.let_go(handshake, 1_000_000);
        assert_eq!(how(&[], 1_119_999), Ok(How::Kept), "within its time, which starts again");
        assert_eq!((pool.sweep(1_239_998), pool.learned()), (0, 1));
        assert_eq!(how(&[], 1_239_999), lost, "expired");
        assert_eq!(pool.learned(), 0);
    }
}

#[test]
fn a_learned_cookie_leads_back_and_an_unknown_one_is_balanced() {
    let pool = strict(Sticky::Cookie { name: "id".into(), learn: Some(LEARN) });
    let request = head("/", &[("cookie", "id=\"7\"")]);
    assert_eq!(visit(&pool, &request, &tried(&[])), Ok((0, How::Balanced)));
    let key = pool.learn(b"\"7\"", ServerIndex(2), 0).unwrap();
    assert_eq!(visit(&pool, &request, &tried(&[])), Ok((2, How::Kept)));
    assert_eq!(visit(&pool, &request, &tried(&[2])), Err(NoPick::KeyLost));
    pool.let_go(key, 0);
}

#[test]
fn handshakes_take_turns_of_their_own() {
    let pool = sticky(socketio(None));
    let (page, handshake) = (head("/", &[]), head("/socket.io/?EIO=4", &[]));
    for visitor in 0..8 {
        for _ in 0..7 {
            visit(&pool, &page, &tried(&[])).unwrap();
        }
        assert_eq!(visit(&pool, &handshake, &tried(&[])), Ok((visitor % 4, How::Balanced)));
    }
}

#[test]
fn a_pool_without_a_table_learns_nothing() {
    let pool = sticky(Sticky::Source);
    assert_eq!(pool.learn(b"x", ServerIndex(0), 0), None);
    assert_eq!((pool.learned(), pool.sweep(u64::MAX)), (0, 0));
}

#[test]
fn one_id_with_several_addresses_is_several_servers() {
    let servers = [("a", 1, false), ("web", 1, false), ("web", 1, false)];
    let pool = pool_of(Balance::RoundRobin, Sticky::Source, false, &servers);
    let ids: Vec<&str> = pool.servers().iter().map(|server| &*server.id).collect();
    assert_eq!(ids, ["a", "web@127.0.0.1:8882", "web@127.0.0.1:8883"]);
    (0..300).for_each(|number| assert!(open(&pool, client(number), 0) < 3));
    assert!(live(&pool).iter().all(|&live| live > 50), "{:?}", live(&pool));
}

#[test]
fn what_is_kept_of_a_key_is_found_by_its_text() {
    let learn = Some(Learn { ttl_s: 10, max_entries: 10 });
    let name = || "n".to_owned();
    let insert = Sticky::Insert { name: name(), secret: "s".into(), attributes: String::new() };
    let rows = [
        (Sticky::Source, "192.0.2.1"),
        (Sticky::Cookie { name: name(), learn: None }, "abc"),
        (Sticky::Cookie { name: name(), learn }, "abc"),
        (insert, "abc"),
        (Sticky::Header { name: name() }, "abc"),
        (Sticky::Query { name: name() }, "abc"),
        (socketio(None), "abc"),
        (socketio(None), "s3.abc"),
    ];
    for (rule, text) in rows {
        let said = format!("{rule:?}");
        let pool = sticky(rule);
        let target = format!("/socket.io/?EIO=4&sid={text}&n={text}");
        let cookie = format!("n={text}");
        let request = head(&target, &[("cookie", &cookie), ("n", text)]);
        let key = pool.key(Some(&request), Some([192, 0, 2, 1].into()));
        assert_eq!(pool.key_hash(text.as_bytes()), Some(key.hash), "{said}");
        assert!(key.hash != 0 && pool.key_hash(b"192.0.2.2") != Some(key.hash), "{said}");
    }
    assert_eq!(sticky(Sticky::None).key_hash(b"abc"), None);
    assert_eq!(sticky(Sticky::Source).key_hash(b"abc"), None, "no address");
}

#[test]
fn a_key_is_small() {
    assert!(size_of::<Key>() <= 32);
    assert_eq!(size_of::<Option<LearnedKey>>(), 8);
    assert!(size_of::<Tried>() <= 64);
}
