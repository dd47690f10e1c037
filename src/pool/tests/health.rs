//! Whom a pool chooses when not every server is up.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::config::{Check, Eject, Health};

const EJECT: Eject = Eject { failures: 3, base_ms: 1_000, max_ms: 60_000, max_percent: 50 };
const NOW_MS: u64 = 1_000_000;
const BALANCES: [Balance; 4] =
    [Balance::RoundRobin, Balance::LeastConn, Balance::RandomTwo, Balance::Hash];

fn spec(balance: Balance, sticky: Sticky, strict: bool) -> config::Pool {
    let pool = pool_of(balance, sticky, strict, &FOUR);
    let health = Health {
        check: Check::Tcp,
        interval_ms: 5_000,
        fast_interval_ms: 1_000,
        timeout_ms: 2_000,
        jitter_percent: 10,
        rise: 2,
        fall: 3,
        port: None,
        send_proxy: None,
    };
    config::Pool { health: Some(health), eject: Some(EJECT), ..pool.spec().clone() }
}

fn specs(servers: &[(&str, u16, bool)]) -> Vec<ServerSpec> {
    let server = |(&(id, weight, backup), port): (&(&str, u16, bool), u16)| ServerSpec {
        address: Address::Tcp(([127, 0, 0, 1], port).into()),
        id: id.to_owned(),
        weight,
        backup,
        max_connections: None,
        duty: Duty::Ready,
    };
    servers.iter().zip(8881..).map(server).collect()
}

fn watched(balance: Balance, servers: &[(&str, u16, bool)]) -> Pool {
    Pool::new(&spec(balance, Sticky::None, false), specs(servers))
}

fn eject(pool: &Pool, server: u16, now_ms: u64) {
    for _ in 0..EJECT.failures {
        pool.failed(ServerIndex(server), Failure::Refused, now_ms);
    }
}

fn take_down(pool: &Pool, server: u16) {
    pool.judge(ServerIndex(server), Verdict::Down, NOW_MS);
}

/// Where this many clients without a key go, one after the other, and leave.
fn shares(pool: &Pool, clients: u32, tried: &Tried, now_ms: u64) -> Vec<u32> {
    let mut shares = vec![0; pool.servers().len()];
    for number in 0..clients {
        let (key, random) = (keyless(pool), ring::mixed(number.into()));
        let pick = pool.pick(&key, client(number), tried, random, now_ms).expect("a server");
        shares[usize::from(pick.server.0)] += 1;
        pool.release(pick.server);
    }
    shares
}

fn chosen(pool: &Pool, tried_servers: &[u16], now_ms: u64) -> Vec<u16> {
    let shares = shares(pool, 200, &tried(tried_servers), now_ms);
    (0..).zip(shares).filter(|&(_, share)| share > 0).map(|(server, _)| server).collect()
}

#[test]
fn who_is_down_is_not_chosen_until_it_is_up() {
    for balance in BALANCES {
        let pool = watched(balance, &FOUR);
        assert_eq!(chosen(&pool, &[], NOW_MS), [0, 1, 2, 3], "{balance:?}");
        take_down(&pool, 1);
        take_down(&pool, 3);
        take_down(&pool, 0);
        assert_eq!(chosen(&pool, &[], NOW_MS), [2], "{balance:?}, however few are left");
        assert_eq!(pool.condition(NOW_MS), Condition::default());
        pool.judge(ServerIndex(3), Verdict::Up, NOW_MS);
        assert_eq!(chosen(&pool, &[], NOW_MS), [2, 3], "{balance:?}");
    }
}

#[test]
fn who_is_ejected_is_not_chosen_for_a_while() {
    for balance in BALANCES {
        let pool = watched(balance, &FOUR);
        eject(&pool, 1, NOW_MS);
        assert_eq!(pool.ejection(ServerIndex(1)), Some((Failure::Refused, 1_000)));
        assert_eq!(chosen(&pool, &[], NOW_MS + 999), [0, 2, 3], "{balance:?}");
        assert_eq!(chosen(&pool, &[], NOW_MS + 1_000), [0, 1, 2, 3], "{balance:?}");
    }
}

#[test]
fn with_more_than_its_share_ejected_a_pool_panics() {
    for balance in BALANCES {
        let pool = watched(balance, &FOUR);
        let panic = |now_ms| pool.condition(now_ms).panic;
        eject(&pool, 0, NOW_MS);
        eject(&pool, 1, NOW_MS);
        assert_eq!(panic(NOW_MS), None, "half of it is not more than half");
        assert_eq!(chosen(&pool, &[], NOW_MS), [2, 3], "{balance:?}");
        eject(&pool, 2, NOW_MS + 500);
        assert_eq!(panic(NOW_MS + 999), Some(Panic::Ejected));
        assert_eq!(chosen(&pool, &[], NOW_MS + 999), [0, 1, 2, 3], "{balance:?}");
        assert_eq!(panic(NOW_MS + 1_000), None);
        assert_eq!(chosen(&pool, &[], NOW_MS + 1_000), [0, 1, 3], "{balance:?}");
    }
}

#[test]
fn panic_goes_by_weight_and_leaves_out_who_is_down() {
    let pool = watched(Balance::RoundRobin, &[("a", 3, false), ("b", 1, false), ("c", 1, false)]);
    eject(&pool, 0, NOW_MS);
    assert_eq!(pool.condition(NOW_MS).panic, Some(Panic::Ejected), "three of five");
    let pool = watched(Balance::RoundRobin, &FOUR);
    take_down(&pool, 0);
    take_down(&pool, 1);
    eject(&pool, 2, NOW_MS);
    assert_eq!(pool.condition(NOW_MS).panic, None, "one of two");
    eject(&pool, 3, NOW_MS);
    assert_eq!(pool.condition(NOW_MS).panic, Some(Panic::Ejected), "two of two");
    assert_eq!(chosen(&pool, &[], NOW_MS), [2, 3], "what checks say stands");
}

#[test]
fn with_all_of_them_down_all_count() {
    for balance in BALANCES {
        let pool = watched(balance, &[("a", 1, false), ("b", 1, false), ("c", 1, true)]);
        take_down(&pool, 0);
        take_down(&pool, 1);
        assert_eq!(pool.condition(NOW_MS), Condition { panic: None, on_backups: true });
        take_down(&pool, 2);
        let panic = Some(Panic::Down);
        assert_eq!(pool.condition(NOW_MS), Condition { panic, on_backups: false });
        assert_eq!(chosen(&pool, &[], NOW_MS), [0, 1], "{balance:?}");
        assert_eq!(chosen(&pool, &[0, 1], NOW_MS), [2], "{balance:?}");
    }
}

#[test]
fn backups_take_over_and_hand_back() {
    for balance in BALANCES {
        let pool = watched(balance, &[("a", 1, false), ("b", 1, true), ("c", 1, true)]);
        assert_eq!(chosen(&pool, &[], NOW_MS), [0], "{balance:?}");
        take_down(&pool, 0);
        assert_eq!(chosen(&pool, &[], NOW_MS), [1, 2], "{balance:?}");
        take_down(&pool, 1);
        assert_eq!(chosen(&pool, &[], NOW_MS), [2], "{balance:?}");
        pool.judge(ServerIndex(0), Verdict::Up, NOW_MS);
        assert_eq!(pool.condition(NOW_MS), Condition::default());
        assert_eq!(chosen(&pool, &[], NOW_MS), [0], "{balance:?}");
        eject(&pool, 0, NOW_MS);
        assert_eq!(chosen(&pool, &[], NOW_MS), [2], "{balance:?}: an ejected one is relieved too");
    }
}

#[test]
fn rather_an_ejected_server_than_none_but_never_one_that_is_down() {
    for balance in BALANCES {
        let pool = watched(balance, &FOUR);
        eject(&pool, 1, NOW_MS);
        take_down(&pool, 0);
        assert_eq!(chosen(&pool, &[2], NOW_MS), [3], "{balance:?}");
        assert_eq!(chosen(&pool, &[2, 3], NOW_MS), [1], "{balance:?}");
        let pick = pool.pick(&keyless(&pool), client(1), &tried(&[1, 2, 3]), 0, NOW_MS);
        assert_eq!(pick, Err(NoPick::NoServer), "{balance:?}");
    }
}

#[test]
fn the_only_server_of_a_pool_is_never_ejected() {
    let pool = watched(Balance::RoundRobin, &FOUR[..1]);
    eject(&pool, 0, NOW_MS);
    assert_eq!(pool.servers()[0].standing(NOW_MS), Standing::Up { since_ms: 0 });
}

#[test]
fn without_a_rule_nobody_is_ejected() {
    let spec = config::Pool { eject: None, ..spec(Balance::RoundRobin, Sticky::None, false) };
    let pool = Pool::new(&spec, specs(&FOUR));
    eject(&pool, 0, NOW_MS);
    assert_eq!(chosen(&pool, &[], NOW_MS), [0, 1, 2, 3]);
}

#[test]
fn a_slow_start_grows_to_a_whole_share() {
    let slow = |balance, servers: &[(&str, u16, bool)]| {
        let spec = config::Pool { slow_start_ms: 10_000, ..spec(balance, Sticky::None, false) };
        let pool = Pool::new(&spec, specs(servers));
        take_down(&pool, 0);
        pool.judge(ServerIndex(0), Verdict::Up, NOW_MS);
        pool
    };
    for balance in BALANCES {
        let pool = slow(balance, &FOUR);
        let share = |after_ms| shares(&pool, 4_000, &tried(&[]), NOW_MS + after_ms)[0];
        let at = [0, 3_000, 6_000, 10_000].map(share);
        let (low, high) = (at[0], at[3]);
        assert!(low > 20 && low < 300, "{balance:?}: {at:?}");
        assert!(at.windows(2).all(|pair| pair[0] < pair[1]), "{balance:?}: {at:?}");
        assert!(high > 600, "{balance:?}: {at:?}");
        // Where all of them are new, nobody is left over.
        let alone = slow(balance, &FOUR[..1]);
        assert_eq!(shares(&alone, 100, &tried(&[]), NOW_MS), [100], "{balance:?}");
    }
}

#[test]
fn keys_go_on_from_a_server_that_is_not_up_and_come_back() {
    let rules = [
        (Sticky::Source, ""),
        (Sticky::Cookie { name: "id".into(), learn: None }, "id=7"),
        (insert(), "insert"),
        (Sticky::Cookie { name: "id".into(), learn: Some(LEARN) }, "id=7"),
    ];
    for (rule, cookie) in rules {
        let make = |strict| {
            let pool = Pool::new(&spec(Balance::RoundRobin, rule.clone(), strict), specs(&FOUR));
            let cookie = match cookie {
                "insert" => pool.cookie_for(ServerIndex(2)).unwrap().split(';').next().unwrap(),
                cookie => cookie,
            };
            let cookie = cookie.to_owned();
            let held = pool.learn(b"7", ServerIndex(2), NOW_MS);
            held.into_iter().for_each(|held| pool.let_go(held, NOW_MS));
            (pool, cookie)
        };
        let visit = |pool: &Pool, cookie: &str, now_ms| {
            let request = head("/", &[("cookie", cookie)]);
            let key = pool.key(Some(&request), client(1));
            let pick = pool.pick(&key, client(1), &tried(&[]), 0, now_ms)?;
            pool.release(pick.server);
            Ok((pick.server.0, pick.how))
        };
        let (pool, cookie) = make(false);
        let (strict, _) = make(true);
        let (owner, how) = visit(&pool, &cookie, NOW_MS).unwrap();
        assert_eq!(how, How::Kept, "{rule:?}");
        for leave_out in [take_down, |pool: &Pool, owner| eject(pool, owner, NOW_MS)] {
            leave_out(&pool, owner);
            leave_out(&strict, owner);
            let (next, how) = visit(&pool, &cookie, NOW_MS).unwrap();
            assert_ne!(next, owner, "{rule:?}");
            assert_eq!(how, How::Redispatched, "{rule:?}");
            assert_eq!(visit(&strict, &cookie, NOW_MS), Err(NoPick::KeyLost), "{rule:?}");
            for pool in [&pool, &strict] {
                pool.judge(ServerIndex(owner), Verdict::Up, NOW_MS);
            }
            // Behind the ejection, in the second round.
            let later_ms = NOW_MS + u64::from(EJECT.base_ms);
            assert_eq!(visit(&pool, &cookie, later_ms), Ok((owner, How::Kept)), "{rule:?}");
            assert_eq!(visit(&strict, &cookie, later_ms), Ok((owner, How::Kept)), "{rule:?}");
        }
    }
}

#[test]
fn hashed_keys_of_one_that_is_down_go_to_backups_only_for_want_of_others() {
    let servers = [("a", 1, false), ("b", 1, false), ("c", 1, true)];
    let pool = Pool::new(&spec(Balance::RoundRobin, Sticky::Source, false), specs(&servers));
    let visit = || {
        let key = pool.key(None, client(1));
        let pick = pool.pick(&key, client(1), &tried(&[]), 0, NOW_MS).unwrap();
        pool.release(pick.server);
        (pick.server.0, pick.how)
    };
    let (owner, _) = visit();
    take_down(&pool, owner);
    assert_eq!(visit(), (1 - owner, How::Redispatched));
    take_down(&pool, 1 - owner);
    assert_eq!(visit(), (2, How::Redispatched));
    take_down(&pool, 2);
    assert_eq!(visit(), (owner, How::Kept), "all of them count");
}

#[test]
fn health_outlives_a_configuration_that_asks_for_it() {
    let mut peers = Peers::default();
    let watched = spec(Balance::RoundRobin, Sticky::None, false);
    let unwatched = config::Pool { health: None, eject: None, ..watched.clone() };
    let first = Pool::succeeding(None, &watched, specs(&FOUR), &mut peers, 0, 1);
    take_down(&first, 0);
    eject(&first, 1, NOW_MS);
    let second = Pool::succeeding(Some(&first), &watched, specs(&FOUR[..3]), &mut peers, 0, 1);
    assert_eq!(chosen(&second, &[], NOW_MS), [2]);
    let third = Pool::succeeding(Some(&second), &unwatched, specs(&FOUR), &mut peers, 0, 1);
    assert_eq!(chosen(&third, &[], NOW_MS), [0, 1, 2, 3]);
}

#[test]
fn choices_stay_exact_while_standings_change() {
    for balance in BALANCES {
        let pool = watched(balance, &FOUR);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let (pool, done) = (&pool, &done);
            let changes = scope.spawn(move || {
                let mut now_ms = NOW_MS;
                while !done.load(Ordering::Relaxed) {
                    now_ms += 1;
                    take_down(pool, 0);
                    pool.failed(ServerIndex(1), Failure::TimedOut, now_ms);
                    pool.judge(ServerIndex(0), Verdict::Up, now_ms);
                }
            });
            let clients: Vec<_> = (0..4_u32)
                .map(|thread| {
                    scope.spawn(move || {
                        for number in 0..5_000 {
                            let random = ring::mixed(u64::from(number * 4 + thread));
                            let key = keyless(pool);
                            let none = Tried::default();
                            let pick = pool.pick(&key, client(number), &none, random, NOW_MS);
                            pool.release(pick.expect("two are always up").server);
                        }
                    })
                })
                .collect();
            clients.into_iter().for_each(|client| client.join().expect("no panic"));
            done.store(true, Ordering::Relaxed);
            changes.join().expect("no panic");
        });
        assert_eq!(live(&pool), [0; 4], "{balance:?}: who was reserved was released");
    }
}
