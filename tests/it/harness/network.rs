//! A network of its own for a test: an empty network namespace with loopback, settings that would
//! disturb others, and perhaps servers in another network behind it. Needs root, and iproute2.

use std::process::Command;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

/// Runs a test there. Sockets belong to the namespace of the thread that makes them, and threads
/// and processes start where the one is that starts them.
#[track_caller]
pub(crate) fn alone(settings: &'static [(&str, &str)], test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(move || {
        leave();
        for (name, value) in settings {
            // Names lead to the namespace of the thread that opens them.
            std::fs::write(format!("/proc/sys/net/{name}"), value).expect("a setting");
        }
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// This thread gets an empty network with loopback.
fn leave() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace, which root can make");
    ip("link set lo up");
}

/// Runs ip(8) in the network of this thread.
#[track_caller]
pub(crate) fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.expect("ip is installed").success(), "ip {arguments}");
}

/// A network behind that of the thread that made it; it ends with this.
pub(crate) struct Behind {
    end: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Makes a network in which all of 10.0.0.0/8 is one host, and servers there, which listen when
/// this returns. What `serve` returns is kept as long as the network.
pub(crate) fn behind<T>(serve: impl FnOnce() -> T + Send + 'static) -> Behind {
    let (of_thread, thread_id) = mpsc::channel();
    let (linked, link) = mpsc::channel();
    let (ready, served) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        leave();
        of_thread.send(gettid()).expect("it waits");
        link.recv().expect("a link is made");
        ip("address add 192.168.99.2/24 dev back");
        ip("link set back up");
        ip("route add local 10.0.0.0/8 dev lo");
        let _kept = serve();
        ready.send(()).expect("it waits");
        // Until the other end is dropped.
        let _ = ended.recv();
    });
    let id = thread_id.recv().expect("the network is there");
    ip(&format!("link add front type veth peer name back netns {id}"));
    ip("address add 192.168.99.1/24 dev front");
    ip("link set front up");
    ip("route add 10.0.0.0/8 via 192.168.99.2");
    linked.send(()).expect("it waits");
    served.recv().expect("servers listen");
    Behind { end: Some(end), thread: Some(thread) }
}

impl Drop for Behind {
    fn drop(&mut self) {
        drop(self.end.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(ended, Some(Ok(()))), "the servers' thread ends");
    }
}
