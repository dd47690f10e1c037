//! Every server address there ever was in this process, each with a number of its own for ever.
//!
//! Engines connect to numbers, and learned keys lead to them, so that both mean the same whatever
//! configuration is in force. Grows with addresses that were never seen before, and never shrinks.

use hashbrown::HashMap;

use crate::config::Address;
use crate::sys::PeerId;

/// See the head of the file.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    addresses: Vec<Address>,
    numbers: HashMap<Address, PeerId>,
}

impl Peers {
    /// The number of an address, now and ever after.
    ///
    /// # Panics
    /// At four billion addresses.
    pub fn number(&mut self, address: &Address) -> PeerId {
        if let Some(&known) = self.numbers.get(address) {
            return known;
        }
        let number = PeerId(u32::try_from(self.addresses.len()).expect("addresses fit in memory"));
        self.addresses.push(address.clone());
        self.numbers.insert(address.clone(), number);
        number
    }

    /// All addresses from that number on, in the order of their numbers.
    pub fn from(&self, first: usize) -> &[Address] {
        &self.addresses[first..]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }
}
