//! wrk, for what it is good at: many requests on connections that stay.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Aim;
use crate::meter::Meter;
use crate::{Result, process};

/// Has wrk print its own counts as JSON, and nothing rounded.
const SCRIPT: &str = r#"done = function(s, latency, requests)
  local e = s.errors
  print(string.format('\n{"requests":%d,"bytes":%d,"errors":%d}', s.requests, s.bytes,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"#;

/// Requests answered in one run: whole seconds, connecting included, since wrk starts with that.
/// `size` is the length of each answer's body, and the bytes that wrk received must fit it.
pub(crate) fn run(
    aim: &Aim,
    meter: &mut Meter,
    cores: &[usize],
    size: u64,
    scratch: &Path,
) -> Result<u64> {
    let script = scratch.join("wrk.lua");
    fs::write(&script, SCRIPT)?;
    let seconds = aim.length.as_secs().max(1);
    let threads = cores.len().to_string();
    let mut command = process::command(cores, "wrk")?;
    command.args(["-t", &threads, "-c", &aim.clients.to_string(), "-d", &format!("{seconds}s")]);
    command.arg("-s").arg(&script).arg(format!("http://{}/{size}", aim.target));
    meter.start()?;
    let output = command.output()?;
    meter.stop()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with('{'));
    let counts: Value = match line {
        Some(line) if output.status.success() => serde_json::from_str(line)?,
        _ => return Err(format!("wrk: {text}{}", String::from_utf8_lossy(&output.stderr)).into()),
    };
    let number = |key: &str| counts[key].as_u64().unwrap_or(0);
    let (requests, bytes) = (number("requests"), number("bytes"));
    if number("errors") > 0 || requests == 0 {
        return Err(format!("wrk: {text}").into());
    }
    // Heads are below 512 bytes, and each connection has at most one answer that is not whole.
    let least = requests * size;
    let most = (requests + aim.clients as u64) * (size + 512);
    if !(least..=most).contains(&bytes) {
        return Err(format!("wrk: {requests} answers of {size} bytes in {bytes} bytes").into());
    }
    Ok(requests)
}
