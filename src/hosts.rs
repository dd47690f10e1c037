//! Host names seen by a worker, each kept once however many sessions name it.

use std::sync::Arc;

use hashbrown::HashSet;

/// Names kept for sharing. Clients choose names, so it is bounded; beyond it a name is its
/// session's own.
const SHARED_MAX: usize = 1024;

/// Shared names.
#[derive(Default)]
pub struct Hosts(HashSet<Arc<str>>);

impl Hosts {
    /// The one copy of `host`.
    pub fn intern(&mut self, host: &str) -> Arc<str> {
        if let Some(shared) = self.0.get(host) {
            return Arc::clone(shared);
        }
        let name: Arc<str> = Arc::from(host);
        if self.0.len() >= SHARED_MAX {
            self.0.retain(|name| Arc::strong_count(name) > 1);
        }
        if self.0.len() < SHARED_MAX {
            self.0.insert(Arc::clone(&name));
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_use_are_shared_and_others_make_room() {
        let mut hosts = Hosts::default();
        let kept = hosts.intern("kept");
        for number in 0..3 * SHARED_MAX {
            hosts.intern(&number.to_string());
        }
        assert!(hosts.0.len() <= SHARED_MAX);
        assert!(Arc::ptr_eq(&kept, &hosts.intern("kept")));
    }
}
