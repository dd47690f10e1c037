//! The servers one session has been sent to already. A plain value: no lock, no clock.

use super::ServerIndex;

/// How many servers fit without an allocation: `connect_tries` ends at 16.
const INLINE: usize = 16;

/// A small set of servers.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    first: [u16; INLINE],
    /// How many of `first` mean something.
    used: u8,
    more: Vec<u16>,
}

impl Tried {
    /// Adds a server; adding it again changes nothing.
    pub fn insert(&mut self, server: ServerIndex) {
        if self.contains(server) {
            return;
        }
        match self.first.get_mut(usize::from(self.used)) {
            Some(free) => {
                *free = server.0;
                self.used += 1;
            }
            None => self.more.push(server.0),
        }
    }

    /// Takes a server out.
    pub fn remove(&mut self, server: ServerIndex) {
        let used = usize::from(self.used);
        if let Some(at) = self.first[..used].iter().position(|&tried| tried == server.0) {
            self.first[at] = self.more.pop().unwrap_or_else(|| {
                self.used -= 1;
                self.first[used - 1]
            });
        } else {
            self.more.retain(|&tried| tried != server.0);
        }
    }

    /// Whether the server is in the set.
    pub fn contains(&self, server: ServerIndex) -> bool {
        self.first[..usize::from(self.used)].contains(&server.0) || self.more.contains(&server.0)
    }

    /// How many servers are in the set.
    pub fn len(&self) -> usize {
        usize::from(self.used) + self.more.len()
    }

    /// Whether nothing was tried yet.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_each_server_once_beyond_its_inline_room_too() {
        let mut tried = Tried::default();
        assert!(tried.is_empty());
        for index in (0..40).chain(0..40) {
            assert_eq!(tried.contains(ServerIndex(index)), tried.len() > usize::from(index));
            tried.insert(ServerIndex(index));
        }
        assert_eq!(tried.len(), 40);
        assert!(!tried.contains(ServerIndex(40)));
        for index in [3, 39, 15, 3].into_iter().chain(4..39) {
            tried.remove(ServerIndex(index));
            assert!(!tried.contains(ServerIndex(index)));
        }
        assert!((0..3).all(|index| tried.contains(ServerIndex(index))));
        assert_eq!(tried.len(), 3);
    }

    #[test]
    fn sixteen_servers_need_no_allocation() {
        let mut tried = Tried::default();
        (0..16).for_each(|index| tried.insert(ServerIndex(index)));
        assert_eq!(tried.more.capacity(), 0);
    }
}
