//! Engine.IO by polling: a handshake, messages that come back, and 400 for a sid of another server.
//!
//! A GET is answered at once, with what was posted before or a NOOP packet: long polling is about
//! waiting, and waiting costs a balancer nothing.

use std::collections::HashMap;

/// The Engine.IO sessions of one server, each with the messages that wait for its next GET.
pub(super) struct Sessions {
    server: usize,
    waiting: HashMap<String, Vec<u8>>,
}

impl Sessions {
    pub(super) fn new(server: usize) -> Self {
        Self { server, waiting: HashMap::new() }
    }

    /// The body of the answer; `None` for a sid this server did not give out.
    pub(super) fn answer(&mut self, sid: Option<&str>, post: bool, body: &[u8]) -> Option<Vec<u8>> {
        let Some(sid) = sid else {
            let sid = format!("{}x{:018}", self.server, self.waiting.len());
            let text = format!(
                "0{{\"sid\":\"{sid}\",\"upgrades\":[],\"pingInterval\":25000,\
                 \"pingTimeout\":20000,\"maxPayload\":1000000}}"
            );
            self.waiting.insert(sid, Vec::new());
            return Some(text.into_bytes());
        };
        let waiting = self.waiting.get_mut(sid)?;
        if post {
            waiting.extend_from_slice(body);
            return Some(b"ok".to_vec());
        }
        let message = std::mem::take(waiting);
        // A NOOP packet, where nothing was posted.
        Some(if message.is_empty() { b"6".to_vec() } else { message })
    }
}

/// A parameter of the query of a target.
pub(super) fn parameter<'a>(target: &'a str, name: &str) -> Option<&'a str> {
    let (_, query) = target.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}
