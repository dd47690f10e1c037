//! Which engine serves, and what is said of it.

use nix::errno::Errno;

use crate::harness::{HttpServer, Numbers, Ringway, Server, Setup};

/// The engine that the line `ready` names, and every warning about engines.
fn engine_and_warnings(lb: &Ringway) -> (String, Vec<String>) {
    let (ready, log) = (lb.event("ready"), lb.log());
    let warns = |line: &String| line.contains(" WARN ") && line.contains("io_uring");
    let warnings = log.into_iter().filter(warns);
    (ready["engine"].clone(), warnings.collect())
}

fn serves_by_epoll_and_says_why(errno: Errno, why: &str) {
    let (server, listening) = (HttpServer::named("s1"), Server::listen());
    let lb = Ringway::to([server.address()])
        .with(["--peek", "http", "--workers", "2"])
        .without_io_uring(errno)
        .start();
    for _ in 0..20 {
        assert_eq!(lb.get("/", &[]).text(), "s1");
    }
    let (engine, warnings) = engine_and_warnings(&lb);
    assert_eq!(engine, "epoll");
    let [warning] = &warnings[..] else { panic!("one line says it: {warnings:?}") };
    assert!(warning.contains(why) && warning.contains("epoll"), "{warning}");
    drop(lb);

    let lb =
        Ringway::to([listening.address()]).with(["--peek", "none"]).without_io_uring(errno).start();
    let (mut client, mut server) = (lb.client(), listening.accept());
    let writer = std::thread::spawn(move || {
        Numbers::seeded(1).write_to(&mut client, 8 << 20);
        client
    });
    Numbers::seeded(1).check_from(&mut server, 8 << 20);
    server.shutdown_write();
    writer.join().unwrap().expect_eof();
}

#[test]
fn epoll_serves_where_io_uring_is_not_permitted() {
    serves_by_epoll_and_says_why(Errno::EPERM, "io_uring is refused here");
}

#[test]
fn epoll_serves_where_the_kernel_has_no_io_uring() {
    serves_by_epoll_and_says_why(Errno::ENOSYS, "this kernel has no io_uring");
}

#[test]
fn who_asks_for_io_uring_gets_no_other() {
    let asking = |setup: Setup| setup.with(["--peek", "none", "--engine", "io_uring"]);
    let server = Server::listen();
    let refused = Ringway::to([server.address()]).without_io_uring(Errno::EPERM);
    let (status, said) = asking(refused).refused();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("io_uring is refused here"), "{said}");
    let lb = asking(Ringway::to([server.address()])).start();
    assert_eq!(engine_and_warnings(&lb), ("io_uring".to_owned(), Vec::new()));
}

#[test]
fn who_asks_for_epoll_gets_it_without_a_warning() {
    let server = HttpServer::named("s1");
    let lb = Ringway::to([server.address()]).with(["--peek", "http", "--engine", "epoll"]).start();
    assert_eq!(lb.get("/", &[]).text(), "s1");
    assert_eq!(engine_and_warnings(&lb), ("epoll".to_owned(), Vec::new()));
}

#[test]
fn io_uring_is_the_first_choice() {
    let server = HttpServer::named("s1");
    let lb = Ringway::to([server.address()]).with(["--peek", "http", "--engine", "auto"]).start();
    assert_eq!(lb.get("/", &[]).text(), "s1");
    assert_eq!(engine_and_warnings(&lb), ("io_uring".to_owned(), Vec::new()));
}
