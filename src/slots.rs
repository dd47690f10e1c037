//! Places for tenants, each with the generation that tells it from the one before.
//!
//! No I/O, no clock. A late completion names slot and generation, so it finds a stranger and not
//! the next tenant.

use slab::Slab;

/// A place and which tenant of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotId {
    /// Place.
    pub index: u32,
    /// Tenant.
    pub generation: u16,
}

/// A slab whose places know their generation.
pub struct Slots<T> {
    slab: Slab<(u16, T)>,
    generation: u16,
    /// Places below this one have been taken at some time, none from it on.
    end: u32,
    limit: usize,
}

impl<T> Slots<T> {
    /// Room for `limit` tenants, reserved now: untouched pages cost nothing, and nothing is ever
    /// copied to grow.
    pub fn with_limit(limit: usize) -> Self {
        Self { slab: Slab::with_capacity(limit), generation: 0, end: 0, limit }
    }

    /// Whether the next insert would break the limit.
    pub fn is_full(&self) -> bool {
        self.slab.len() >= self.limit
    }

    /// Tenants now.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether nobody lives here.
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Most tenants.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Moves a tenant in. The caller has asked [`Slots::is_full`].
    pub fn insert(&mut self, tenant: T) -> SlotId {
        self.generation = self.generation.wrapping_add(1);
        let index = self.slab.insert((self.generation, tenant));
        let index = u32::try_from(index).expect("the limit is below 2^24");
        self.end = self.end.max(index + 1);
        SlotId { index, generation: self.generation }
    }

    /// No tenant has a place from this one on.
    pub fn end(&self) -> u32 {
        self.end
    }

    /// Who lives at a place now.
    pub fn at(&self, index: u32) -> Option<(SlotId, &T)> {
        let (generation, tenant) = self.slab.get(index as usize)?;
        Some((SlotId { index, generation: *generation }, tenant))
    }

    /// The tenant, unless it has moved out.
    pub fn find(&mut self, id: SlotId) -> Option<&mut T> {
        match self.slab.get_mut(id.index as usize) {
            Some((generation, tenant)) if *generation == id.generation => Some(tenant),
            _ => None,
        }
    }

    /// Moves a tenant out.
    pub fn remove(&mut self, id: SlotId) -> Option<T> {
        self.find(id)?;
        Some(self.slab.remove(id.index as usize).1)
    }

    /// Who lives here now.
    pub fn ids(&self) -> Vec<SlotId> {
        let id = |(index, (generation, _)): (usize, &(u16, T))| SlotId {
            index: u32::try_from(index).expect("the limit is below 2^24"),
            generation: *generation,
        };
        self.slab.iter().map(id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_name_finds_a_stranger() {
        let mut slots = Slots::with_limit(1);
        let first = slots.insert("first");
        assert!(slots.is_full());
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second");
        assert_eq!(second.index, first.index);
        assert_eq!(slots.find(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.find(second), Some(&mut "second"));
        assert_eq!(slots.ids(), [second]);
        assert_eq!((slots.end(), slots.at(0), slots.at(1)), (1, Some((second, &"second")), None));
    }
}
