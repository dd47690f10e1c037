//! Limits on sessions and connects, and who waits.

use super::*;

/// Servers with these limits; 0: none.
fn limited(balance: Balance, sticky: Sticky, limits: &[u32]) -> Pool {
    let spec = pool_of(balance, sticky, false, &FOUR).spec().clone();
    Pool::new(&spec, specs(limits))
}

fn specs(limits: &[u32]) -> Vec<ServerSpec> {
    let server = |(&limit, port): (&u32, u16)| ServerSpec {
        address: Address::Tcp(([127, 0, 0, 1], port).into()),
        id: format!("s{port}"),
        weight: 1,
        backup: false,
        max_connections: (limit > 0).then_some(limit),
        duty: Duty::Ready,
    };
    limits.iter().zip(1..).map(server).collect()
}

fn with_connects(limit: u32) -> Pool {
    let pool = limited(Balance::RoundRobin, Sticky::None, &[0, 0]);
    let spec = config::Pool { connects_in_flight_max: Some(limit), ..pool.spec().clone() };
    Pool::new(&spec, specs(&[0, 0]))
}

fn attempt(pool: &Pool, random: u64) -> Result<Pick, NoPick> {
    let client = Some(Ipv4Addr::from(u32::try_from(random % 1_000).unwrap()).into());
    pool.pick(&pool.key(None, client), client, &Tried::default(), random, 0)
}

const FULL: Result<Pick, NoPick> = Err(NoPick::Full { server: None });
const BALANCES: [Balance; 4] =
    [Balance::RoundRobin, Balance::LeastConn, Balance::RandomTwo, Balance::Hash];

#[test]
fn limits_are_exact_over_all_threads_whatever_the_balance() {
    for balance in BALANCES {
        let pool = limited(balance, Sticky::None, &[7, 40, 1, 100]);
        let picked: u32 = thread::scope(|scope| {
            let pool = &pool;
            let pick = move |thread: u64| {
                let picks = (0..100).map(move |at| attempt(pool, mixed(thread * 1_000 + at)));
                picks.filter(Result::is_ok).map(|_| 1).sum::<u32>()
            };
            let threads: Vec<_> = (0..8).map(|number| scope.spawn(move || pick(number))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        let live: Vec<u32> = pool.servers().iter().map(Server::live).collect();
        assert_eq!((picked, live), (148, vec![7, 40, 1, 100]), "{balance:?}");
        assert_eq!(attempt(&pool, 0), FULL);
    }
}

#[test]
fn limits_hold_while_sessions_come_and_go() {
    for balance in BALANCES {
        let pool = limited(balance, Sticky::None, &[2, 1, 3]);
        thread::scope(|scope| {
            for number in 0..8 {
                let pool = &pool;
                scope.spawn(move || {
                    for at in 0..2_000 {
                        let Ok(pick) = attempt(pool, mixed(number * 10_000 + at)) else { continue };
                        let limit = [2, 1, 3][usize::from(pick.server.0)];
                        assert!(pool.server(pick.server).live() <= limit);
                        pool.connect_over();
                        pool.release(pick.server);
                    }
                });
            }
        });
        assert!(pool.servers().iter().all(|server| server.live() == 0));
        assert_eq!(pool.connecting(), 0);
    }
}

#[test]
fn a_full_server_is_waited_for_by_who_has_its_key() {
    let pool = limited(Balance::RoundRobin, Sticky::Source, &[1, 1]);
    let client = Some(IpAddr::from(Ipv4Addr::new(10, 0, 0, 1)));
    let pick = || pool.pick(&pool.key(None, client), client, &Tried::default(), 0, 0);
    let first = pick().unwrap();
    assert_eq!(first.how, How::Kept);
    assert_eq!(pick(), Err(NoPick::Full { server: Some(first.server) }));
    let other = pool.pick(&pool.key(None, NOBODY), NOBODY, &Tried::default(), 0, 0).unwrap();
    assert_ne!(other.server, first.server, "without a key any server will do");
    pool.release(first.server);
    assert_eq!(pick().unwrap().server, first.server);
}

#[test]
fn a_learned_key_of_a_full_server_is_not_held() {
    let pool = limited(Balance::RoundRobin, socketio(None), &[1, 1]);
    let held = pool.learn(b"0123456789", ServerIndex(0), 0).unwrap();
    let key = pool.key(Some(&head("/socket.io/?EIO=4&sid=0123456789", &[])), NOBODY);
    let pick = |now_ms| pool.pick(&key, NOBODY, &Tried::default(), 0, now_ms);
    let first = pick(0).unwrap();
    assert_eq!(pick(0), Err(NoPick::Full { server: Some(ServerIndex(0)) }));
    pool.let_go(held, 0);
    pool.let_go(first.held.unwrap(), 0);
    assert_eq!(pool.sweep(10_000_000), 1, "nobody holds it any more");
}

#[test]
fn full_is_not_down() {
    let spec = pool_of(Balance::RoundRobin, Sticky::None, false, &FOUR).spec().clone();
    let mut servers = specs(&[1, 1]);
    servers[1].backup = true;
    let pool = Pool::new(&spec, servers);
    assert_eq!(attempt(&pool, 0).unwrap().server, ServerIndex(0));
    assert_eq!(attempt(&pool, 0), FULL);
    let mut tried = Tried::default();
    tried.insert(ServerIndex(0));
    let pick = || pool.pick(&pool.key(None, NOBODY), NOBODY, &tried, 0, 0);
    assert_eq!(pick().unwrap().server, ServerIndex(1));
    assert_eq!(pick(), FULL);
    tried.insert(ServerIndex(1));
    let none = pool.pick(&pool.key(None, NOBODY), NOBODY, &tried, 0, 0);
    assert_eq!(none, Err(NoPick::NoServer));
}

#[test]
fn connects_in_flight_are_counted_until_they_are_over() {
    let pool = with_connects(2);
    let [one, other] = [0, 1].map(|at| attempt(&pool, at).unwrap());
    assert!(one.in_flight && other.in_flight);
    assert_eq!(attempt(&pool, 2), FULL);
    pool.commit(one.server, 0, 0);
    pool.connect_over();
    assert_eq!(pool.connecting(), 1);
    assert!(attempt(&pool, 3).is_ok());
    // Nothing is in flight of a pick that comes to nothing.
    pool.connect_over();
    let mut tried = Tried::default();
    [0, 1].into_iter().for_each(|server| tried.insert(ServerIndex(server)));
    let none = pool.pick(&pool.key(None, NOBODY), NOBODY, &tried, 0, 0);
    assert_eq!((none, pool.connecting()), (Err(NoPick::NoServer), 1));
}

#[test]
fn the_first_of_the_queue_look_as_far_as_there_is_room_for_all_in_front() {
    let pool = limited(Balance::RoundRobin, Sticky::None, &[2]);
    let picks = [0, 1].map(|at| attempt(&pool, at).unwrap());
    let tickets: Vec<Ticket> = (0..8).map(|_| pool.join(None).unwrap()).collect();
    assert_eq!(pool.join(None), None, "eight may wait");
    let looks = || tickets.iter().map(|ticket| pool.look(ticket, 0)).collect::<Vec<_>>();
    let (near, far) = (Look::Again { in_ms: 16 }, Look::Again { in_ms: 32 });
    // The first looks by itself.
    assert_eq!(looks(), [Look::Pick, near, near, near, far, far, far, far]);
    picks.iter().for_each(|pick| pool.release(pick.server));
    assert_eq!(looks(), [Look::Pick, Look::Pick, near, near, far, far, far, far]);
    tickets.into_iter().for_each(|ticket| pool.leave(ticket));
    assert_eq!(pool.waiting(), 0);
}

#[test]
fn who_waits_for_a_full_server_holds_up_nobody_who_waits_for_others() {
    let pool = limited(Balance::RoundRobin, Sticky::None, &[1, 1]);
    let _full = attempt(&pool, 0).unwrap();
    let kept = [0, 1].map(|_| pool.join(Some(ServerIndex(0))).unwrap());
    let [one, other] = [0, 1].map(|_| pool.join(None).unwrap());
    let again = Look::Again { in_ms: 16 };
    assert_eq!(pool.look(&kept[1], 0), again, "behind one for the same");
    assert_eq!([&one, &other].map(|ticket| pool.look(ticket, 0)), [Look::Pick, again]);
    pool.wait_for(&one, Some(ServerIndex(1)));
    assert_eq!(pool.look(&other, 0), Look::Pick);
    kept.into_iter().chain([one, other]).for_each(|ticket| pool.leave(ticket));
}

#[test]
fn queue_counts_and_limits_are_those_of_the_pool_before() {
    let before = limited(Balance::RoundRobin, Sticky::None, &[1]);
    let mut peers = Peers::default();
    let succeed = |limit: u32, peers: &mut Peers| {
        Pool::succeeding(Some(&before), before.spec(), specs(&[limit]), peers, 0, 1)
    };
    let _live = attempt(&before, 0).unwrap();
    let ticket = before.join(None).unwrap();
    let after = succeed(2, &mut peers);
    assert_eq!((after.waiting(), after.connecting()), (1, 1));
    // The limit is the new one for sessions of the old edition too.
    assert!(attempt(&before, 1).is_ok());
    assert_eq!((attempt(&before, 2), attempt(&after, 2)), (FULL, FULL));
    let lifted = succeed(0, &mut peers);
    assert!(attempt(&before, 3).is_ok() && attempt(&lifted, 3).is_ok());
    lifted.leave(ticket);
    assert_eq!(before.waiting(), 0);
}
