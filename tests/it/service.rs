//! What a service manager hears of ringway's life, and what it does where a worker hangs.

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use ringway::sys::clock::machine_us;
use serde_json::{Value, json};

use crate::harness::{HttpServer, Manager, Ringway, Told, eventually};

/// The user of these tests: no account needs to be made for it.
const NOBODY: u32 = 65_534;

fn file(server: &str) -> Value {
    json!({
        "workers": 2,
        "drain_timeout_ms": 3000,
        "drain_window_ms": 2000,
        "listeners": [{"bind": "127.0.0.1:0", "peek": "http"}],
        "pools": {"site": {"servers": [server]}},
    })
}

#[test]
fn each_step_of_a_life_is_told() {
    let server = HttpServer::named("s1");
    let manager = Manager::at_a_path();
    // Another process is the one that is watched.
    let environment = [&manager.environment(), "WATCHDOG_USEC=20000", "WATCHDOG_PID=1"];
    let through = ["env"].into_iter().chain(environment);
    let mut lb = Ringway::configured(&file(&server.address())).through(through).start();

    let ready = manager.told();
    assert_eq!(ready.get("READY"), "1");
    assert_eq!(ready.get("STATUS"), "serving: 0 sessions, 1 of 1 servers up");
    assert_eq!(lb.get("/", &[]).text(), "s1", "clients are served by then");

    let before_us = machine_us();
    assert!(lb.reload(&file(&server.address())));
    let reloading = manager.told();
    assert_eq!(reloading.get("RELOADING"), "1");
    let at_us = reloading.number("MONOTONIC_USEC");
    assert!((before_us..=machine_us()).contains(&at_us), "{at_us} is behind {before_us}");
    assert_eq!(manager.told().get("READY"), "1");

    assert!(!lb.reload_text("{}"));
    assert_eq!(manager.told().get("RELOADING"), "1");
    let refused = manager.told();
    assert_eq!(refused.get("READY"), "1");
    let status = refused.get("STATUS");
    assert!(status.contains("; the last reload was refused: "), "{status}");

    assert!(lb.reload(&file(&server.address())));
    assert_eq!(manager.told().get("RELOADING"), "1");
    let status = manager.told().get("STATUS").to_owned();
    assert!(!status.contains("refused"), "{status}");

    lb.stop_with(Signal::SIGTERM);
    let stopping = manager.told();
    assert_eq!(stopping.get("STOPPING"), "1");
    assert!(stopping.number("EXTEND_TIMEOUT_USEC") > 5_000_000, "{stopping:?}");
    assert!(stopping.get("STATUS").starts_with("draining: "), "{stopping:?}");
    assert!(manager.so_far().is_none(), "and nothing else: it is not watched");
}

#[test]
fn an_abstract_socket_is_told_by_another_user_in_the_sandbox() {
    if !nix::unistd::Uid::effective().is_root() {
        println!("an_abstract_socket_is_told_by_another_user_in_the_sandbox: needs root");
        return;
    }
    let server = HttpServer::named("s1");
    let manager = Manager::at_a_name("abstract");
    let mut configuration = file(&server.address());
    configuration["user"] = json!(NOBODY);
    configuration["group"] = json!(NOBODY);
    let through = ["env", &manager.environment()];
    let mut lb = Ringway::configured(&configuration).through(through).start();
    assert_eq!(manager.told().get("READY"), "1");
    lb.stop();
    assert_eq!(manager.told().get("STOPPING"), "1");
}

#[test]
fn how_it_goes_is_told_when_it_changes() {
    let server = HttpServer::named("s1");
    let manager = Manager::at_a_path();
    let through = ["env", &manager.environment()];
    let lb = Ringway::to([server.address()]).through(through).start();
    assert_eq!(manager.told().get("STATUS"), "serving: 0 sessions, 1 of 1 servers up");
    let _client = lb.client();
    assert_eq!(manager.told().get("STATUS"), "serving: 1 sessions, 1 of 1 servers up");
}

#[test]
fn a_worker_that_hangs_ends_the_signs_of_life() {
    let server = HttpServer::named("s1");
    let manager = Manager::at_a_path();
    let through = ["env", &manager.environment(), "WATCHDOG_USEC=1000000"];
    let lb = Ringway::to([server.address()]).through(through).start();
    assert_eq!(manager.told().get("READY"), "1");
    for _ in 0..3 {
        assert_eq!(manager.told().get("WATCHDOG"), "1");
    }
    let threads = lb.threads();
    let worker = threads.iter().find(|thread| thread["Name"] == "worker-1").expect("a worker");
    let worker = Pid::from_raw(worker["Pid"].parse().expect("a number"));
    // Stops this thread and no other.
    ptrace::seize(worker, ptrace::Options::empty()).expect("a test may trace what it started");
    ptrace::interrupt(worker).expect("it runs");
    let is_late = || lb.lines("no answer") > lb.lines("answered");
    eventually("a worker that does not answer", || is_late().then_some(()));
    assert!(lb.said("no answer; the service manager ends ringway if none comes workers=[1]"));
    while manager.so_far().is_some() {}
    // As long as four signs would have taken.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let is_sign = |told: Told| told.find("WATCHDOG").is_some();
    assert!(!std::iter::from_fn(|| manager.so_far()).any(is_sign));
    ptrace::detach(worker, None).expect("it is stopped");
    eventually("a sign of life", || manager.so_far()?.find("WATCHDOG").map(drop));
    eventually("an answer", || (!is_late()).then_some(()));
}

#[test]
fn a_manager_that_is_not_there_is_no_reason_not_to_serve() {
    let server = HttpServer::named("s1");
    let through = ["env", "NOTIFY_SOCKET=/nowhere/notify"];
    let lb = Ringway::to([server.address()]).with(["--peek", "http"]).through(through).start();
    assert!(lb.said("WARN NOTIFY_SOCKET"));
    assert_eq!(lb.get("/", &[]).text(), "s1");
}
