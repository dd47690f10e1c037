//! A network of its own for a test: an empty network namespace with loopback, and settings that
//! would disturb others. Needs root, and iproute2.

use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};

/// Runs a test there. Sockets belong to the namespace of the thread that makes them, and threads
/// and processes start where the one is that starts them.
#[track_caller]
pub(crate) fn alone(settings: &'static [(&str, &str)], test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace, which root can make");
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.expect("ip is installed").success(), "loopback is up");
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
