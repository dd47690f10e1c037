//! Scripts in Node and Python that stand for real peers.

use std::path::Path;

use serde_json::Value;

use super::Process;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// `tests/node/<script>` with these arguments.
pub(crate) fn node_script(script: &str, arguments: &[&str]) -> Process {
    let path = format!("{ROOT}/tests/node/{script}");
    assert!(
        Path::new(ROOT).join("tests/node/node_modules/socket.io").exists(),
        "Socket.IO is not installed: run tests/setup.sh, or make test"
    );
    Process::start(script, "node", &[&[path.as_str()], arguments].concat())
}

/// `tests/python/<script>` with these arguments.
pub(crate) fn python_script(script: &str, arguments: &[&str]) -> Process {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("tmp is in target");
    let python = target.join("python/bin/python");
    assert!(python.exists(), "python packages are missing: run tests/setup.sh, or make test");
    let path = format!("{ROOT}/tests/python/{script}");
    let python = python.to_str().expect("a path in UTF-8");
    Process::start(script, python, &[&[path.as_str()], arguments].concat())
}

/// The first line a script prints in JSON.
pub(crate) fn json_line(process: &mut Process) -> Value {
    process.line("a line in JSON", |line| serde_json::from_str(line).ok())
}

/// The port a script's server says it listens on.
pub(crate) fn port_of(process: &mut Process) -> u16 {
    let port = json_line(process)["port"].as_u64().expect("a port");
    u16::try_from(port).expect("a port fits")
}
