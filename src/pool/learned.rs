//! The learned table: which server a sid or cookie value came from.
//!
//! Shared by all workers; a lock guards one of 64 shards and is held for one lookup, never across
//! anything else. Touched at a peek, at a first response and at the end of a session that holds a
//! key, never while relaying. Values are kept as hashes only. Time comes in as `now_ms`.

use std::hash::Hasher;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use hashbrown::hash_table::{Entry as Place, OccupiedEntry};
use siphash::sip::SipHasher13;

use crate::config::Learn;
use crate::sys::PeerId;

/// Locks: far more than workers that could want one at the same moment.
const SHARDS: usize = 64;

/// Entries compared to find one to evict from a shard: among 16, the oldest is nearly always in
/// the oldest fifth, and a client that floods the table cannot make learning slow.
const SAMPLE: usize = 16;

/// Buckets looked at to find those entries; a table that has shrunk may be mostly empty.
const SAMPLE_BUCKETS: usize = 256;

/// A session's hold on a learned key: while it lasts, the key does not expire. Given back with
/// [`super::Pool::let_go`], once, so it cannot be copied.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a key that is never let go never expires"]
pub struct LearnedKey(
    /// So that to hold none takes no room.
    NonZeroU64,
);

impl LearnedKey {
    fn new(hash: u64) -> Self {
        Self(NonZeroU64::new(hash).expect("Learned::hash gives no zero"))
    }
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    server: PeerId,
    /// Sessions that hold this key; none is ever taken from under them.
    live: u32,
    /// Means something only while `live` is 0.
    expires_ms: u64,
}

impl Entry {
    fn is_expired(&self, now_ms: u64) -> bool {
        self.live == 0 && self.expires_ms <= now_ms
    }
}

/// A learned key, as it was when somebody looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learnt {
    /// What is kept of it.
    pub hash: u64,
    /// Where it leads.
    pub server: PeerId,
    /// Sessions that hold it.
    pub live: u32,
    /// When it is forgotten, unless a session holds it.
    pub expires_ms: u64,
}

impl From<&Entry> for Learnt {
    fn from(&Entry { hash, server, live, expires_ms }: &Entry) -> Self {
        Self { hash, server, live, expires_ms }
    }
}

/// What a lookup found; `S` names a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<S> {
    /// The key was never learned, or is forgotten.
    Nothing,
    /// The key leads to a server that is not wanted now; it stays learned.
    Refused,
    /// The key leads to this server and is held from now on.
    Held(S, LearnedKey),
}

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Learned {
    shards: [Mutex<HashTable<Entry>>; SHARDS],
    /// Entries in all shards; may lead an insertion by a moment, never lag behind one.
    entries: AtomicUsize,
    /// As the configuration in force has it.
    max_entries: AtomicUsize,
    /// As the configuration in force has it.
    ttl_ms: AtomicU64,
    /// Keys the hash, so that a peer cannot aim at a bucket.
    seed: u64,
}

impl Learned {
    pub(super) fn new(learn: Learn, seed: u64) -> Self {
        let new = Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            entries: AtomicUsize::new(0),
            max_entries: AtomicUsize::new(0),
            ttl_ms: AtomicU64::new(0),
            seed,
        };
        new.limit(learn);
        new
    }

    /// Sets how many keys are kept, and how long from now on.
    pub(super) fn limit(&self, learn: Learn) {
        let max_entries = usize::try_from(learn.max_entries).unwrap_or(usize::MAX);
        self.max_entries.store(max_entries, Relaxed);
        self.ttl_ms.store(u64::from(learn.ttl_s) * 1_000, Relaxed);
    }

    fn expiry(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add(self.ttl_ms.load(Relaxed))
    }

    /// What is kept of a value; never 0.
    pub(super) fn hash(&self, bytes: impl Iterator<Item = u8>) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.seed, !self.seed);
        bytes.for_each(|byte| hasher.write_u8(byte));
        hasher.finish().max(1)
    }

    /// Looks a key up and holds it, if its server is wanted.
    pub(super) fn hold(
        &self,
        hash: u64,
        now_ms: u64,
        is_wanted: impl FnOnce(PeerId) -> bool,
    ) -> Found<PeerId> {
        let mut shard = self.shard(hash);
        let Ok(mut place) = shard.find_entry(hash, |entry| entry.hash == hash) else {
            return Found::Nothing;
        };
        if place.get().is_expired(now_ms) {
            place.remove();
            self.entries.fetch_sub(1, Relaxed);
            return Found::Nothing;
        }
        if !is_wanted(place.get().server) {
            return Found::Refused;
        }
        place.get_mut().live += 1;
        Found::Held(place.get().server, LearnedKey::new(hash))
    }

    /// Keeps a key, held once; a key learned again leads to its new server. In a table full of
    /// held keys it is not kept.
    pub(super) fn learn(&self, hash: u64, server: PeerId, now_ms: u64) -> Option<LearnedKey> {
        if self.relearn(hash, server) {
            return Some(LearnedKey::new(hash));
        }
        if !self.make_room(hash) {
            return None;
        }
        match self.shard(hash).entry(hash, |entry| entry.hash == hash, |entry| entry.hash) {
            // Learned by another worker since we looked.
            Place::Occupied(mut place) => {
                place.get_mut().server = server;
                place.get_mut().live += 1;
                self.entries.fetch_sub(1, Relaxed);
            }
            Place::Vacant(place) => {
                let expires_ms = self.expiry(now_ms);
                place.insert(Entry { hash, server, live: 1, expires_ms });
            }
        }
        Some(LearnedKey::new(hash))
    }

    /// Ends a hold; after the last one the key lives for its time and then expires.
    #[expect(clippy::needless_pass_by_value, reason = "a hold is given back once")]
    pub(super) fn let_go(&self, key: LearnedKey, now_ms: u64) {
        let hash = key.0.get();
        let mut shard = self.shard(hash);
        let entry = shard.find_mut(hash, |entry| entry.hash == hash);
        // A held entry is neither evicted nor swept, and a hold cannot be copied.
        let entry = entry.expect("a held key stays in the table");
        entry.live -= 1;
        if entry.live == 0 {
            entry.expires_ms = self.expiry(now_ms);
        }
    }

    /// What is known of a key, which is not held.
    pub(super) fn look(&self, hash: u64, now_ms: u64) -> Option<Learnt> {
        let shard = self.shard(hash);
        let entry = shard.find(hash, |entry| entry.hash == hash)?;
        (!entry.is_expired(now_ms)).then(|| entry.into())
    }

    /// So many keys, by shards and hashes, behind that of a hash. Each lock is held for as long as
    /// it takes to read one shard.
    pub(super) fn some(&self, after: Option<u64>, limit: usize) -> Vec<Learnt> {
        let mut found = Vec::new();
        let first = after.map_or(0, shard_of);
        for (number, shard) in self.shards.iter().enumerate().skip(first) {
            let is_behind = |hash: u64| number > first || after.is_none_or(|after| hash > after);
            let shard = locked(shard);
            let entries = shard.iter().filter(|entry| is_behind(entry.hash));
            let mut entries: Vec<Learnt> = entries.map(Learnt::from).collect();
            drop(shard);
            entries.sort_unstable_by_key(|entry| entry.hash);
            found.extend(entries.into_iter().take(limit - found.len()));
            if found.len() == limit {
                break;
            }
        }
        found
    }

    /// Drops what has expired and says how much that was.
    pub(super) fn sweep(&self, now_ms: u64) -> usize {
        let dropped = self.shards.iter().map(|shard| {
            let mut shard = locked(shard);
            let before = shard.len();
            shard.retain(|entry| !entry.is_expired(now_ms));
            let dropped = before - shard.len();
            // What a flood of keys has taken is given back once it is over.
            if shard.len() < shard.capacity() / 4 {
                shard.shrink_to_fit(|entry| entry.hash);
            }
            dropped
        });
        let dropped = dropped.sum();
        self.entries.fetch_sub(dropped, Relaxed);
        dropped
    }

    /// Whether any key leads to this server. Looks at all of them.
    pub(super) fn leads_to(&self, server: PeerId) -> bool {
        self.shards.iter().any(|shard| locked(shard).iter().any(|entry| entry.server == server))
    }

    /// Keys in the table now.
    pub(super) fn len(&self) -> usize {
        self.entries.load(Relaxed)
    }

    fn relearn(&self, hash: u64, server: PeerId) -> bool {
        let mut shard = self.shard(hash);
        let known = shard.find_mut(hash, |entry| entry.hash == hash);
        known.is_some_and(|entry| {
            entry.server = server;
            entry.live += 1;
            true
        })
    }

    /// Takes one of the `max_entries` for us, if need be from the entry closest to expiry in a
    /// sample of the key's own shard, or of the next shard that has one without a live session.
    fn make_room(&self, hash: u64) -> bool {
        let max_entries = self.max_entries.load(Relaxed);
        let below = |entries: usize| (entries < max_entries).then_some(entries + 1);
        if self.entries.fetch_update(Relaxed, Relaxed, below).is_ok() {
            return true;
        }
        let own = shard_of(hash);
        // An evicted entry's place in `entries` becomes ours.
        (0..SHARDS).any(|step| evict_one(&mut locked(&self.shards[(own + step) % SHARDS]), hash))
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, HashTable<Entry>> {
        locked(&self.shards[shard_of(hash)])
    }
}

/// Bits of the hash that neither the bucket (lowest) nor the tag (highest) is made of.
fn shard_of(hash: u64) -> usize {
    usize::try_from(hash >> 40).expect("24 bits") % SHARDS
}

/// No panic can leave a shard half changed, so a poisoned one is as good as any.
fn locked(shard: &Mutex<HashTable<Entry>>) -> MutexGuard<'_, HashTable<Entry>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the entry that expires first among a few behind a bucket chosen by `hash`.
fn evict_one(shard: &mut HashTable<Entry>, hash: u64) -> bool {
    let buckets = shard.num_buckets();
    if shard.is_empty() || buckets == 0 {
        return false;
    }
    let start = usize::try_from(hash % buckets as u64).expect("less than a usize");
    let sample = (0..buckets.min(SAMPLE_BUCKETS))
        .filter_map(|step| shard.get_bucket((start + step) % buckets))
        .take(SAMPLE)
        .filter(|entry| entry.live == 0);
    let Some(victim) = sample.min_by_key(|entry| entry.expires_ms) else {
        return false;
    };
    let victim = victim.hash;
    let place = shard.find_entry(victim, |entry| entry.hash == victim);
    place.map(OccupiedEntry::remove).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    const TTL_MS: u64 = 10_000;

    fn table(max_entries: u32) -> Learned {
        Learned::new(Learn { ttl_s: 10, max_entries }, 7)
    }

    fn server_of(found: Found<PeerId>) -> Option<u32> {
        match found {
            Found::Held(server, _) => Some(server.0),
            _ => None,
        }
    }

    fn learn_and_let_go(table: &Learned, value: u64, server: u32, now_ms: u64) -> u64 {
        let hash = table.hash(value.to_le_bytes().into_iter());
        let key = table.learn(hash, PeerId(server), now_ms).unwrap();
        table.let_go(key, now_ms);
        hash
    }

    #[test]
    fn a_key_outlives_its_last_session_by_its_time_and_no_longer() {
        for (later_ms, expected) in [(0, Some(3)), (TTL_MS - 1, Some(3)), (TTL_MS, None)] {
            let table = table(100);
            let hash = learn_and_let_go(&table, 1, 3, 500);
            assert_eq!(server_of(table.hold(hash, 500 + later_ms, |_| true)), expected);
        }
    }

    #[test]
    fn keys_are_listed_page_by_page_and_looked_at_without_a_hold() {
        let table = table(1_000);
        let mut hashes: Vec<u64> =
            (0..500).map(|value| learn_and_let_go(&table, value, 3, 500)).collect();
        let mut listed = Vec::new();
        let mut after = None;
        loop {
            let page = table.some(after, 7);
            after = page.last().map(|entry| entry.hash).or(after);
            listed.extend(page.iter().map(|entry| entry.hash));
            if page.len() < 7 {
                break;
            }
        }
        hashes.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, hashes);
        let found = table.look(hashes[0], 600).unwrap();
        assert_eq!((found.server, found.live), (PeerId(3), 0));
        assert_eq!(table.look(hashes[0], 500 + TTL_MS), None, "it has expired");
    }

    #[test]
    fn a_held_key_never_expires() {
        let table = table(100);
        let hash = table.hash(b"sid".iter().copied());
        let first = table.learn(hash, PeerId(1), 0).unwrap();
        let Found::Held(_, second) = table.hold(hash, u64::MAX, |_| true) else { panic!() };
        table.let_go(first, 0);
        assert_eq!(table.sweep(u64::MAX), 0);
        table.let_go(second, 50);
        assert_eq!(table.sweep(49 + TTL_MS), 0);
        assert_eq!(table.sweep(50 + TTL_MS), 1);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn a_key_whose_server_is_unwanted_stays() {
        let table = table(100);
        let hash = learn_and_let_go(&table, 1, 3, 0);
        assert_eq!(table.hold(hash, 0, |server| server.0 != 3), Found::Refused);
        assert_eq!(server_of(table.hold(hash, 0, |_| true)), Some(3));
    }

    #[test]
    fn a_key_learned_again_leads_to_its_new_server() {
        let table = table(100);
        let hash = learn_and_let_go(&table, 1, 3, 0);
        learn_and_let_go(&table, 1, 4, 1);
        assert_eq!(server_of(table.hold(hash, 2, |_| true)), Some(4));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_full_table_forgets_old_keys_for_new_ones_and_never_grows() {
        let table = table(640);
        for value in 0..6_400 {
            learn_and_let_go(&table, value, 1, value);
            assert!(table.len() <= 640);
        }
        let known = |values: std::ops::Range<u64>| {
            let hashes = values.map(|value| table.hash(value.to_le_bytes().into_iter()));
            hashes.filter(|&hash| table.hold(hash, 6_400, |_| true) != Found::Nothing).count()
        };
        assert_eq!(known(6_399..6_400), 1, "the newest is there");
        assert!(known(6_300..6_400) > 95, "what is new stays");
        assert!(known(0..3_200) < 5, "what is old goes");
    }

    #[test]
    fn a_table_full_of_held_keys_learns_nothing_more() {
        for max_entries in [0_u32, 1, 100] {
            let table = table(max_entries);
            let hash = |value: u32| table.hash(value.to_le_bytes().into_iter());
            let held: Vec<_> = (0..max_entries)
                .map(|value| table.learn(hash(value), PeerId(1), 0).unwrap())
                .collect();
            assert_eq!(table.learn(hash(1_000), PeerId(1), 0), None);
            for key in held {
                table.let_go(key, 0);
                assert!(max_entries > 0);
            }
            assert_eq!(table.learn(hash(1_000), PeerId(1), 0).is_some(), max_entries > 0);
            assert_eq!(table.len(), usize::try_from(max_entries).unwrap());
        }
    }

    #[test]
    fn threads_that_learn_hold_and_let_go_leave_an_empty_table() {
        let table = table(50);
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let table = &table;
                scope.spawn(move || {
                    for step in 0..20_000_u64 {
                        let hash = table.hash((step * 7 % 90).to_le_bytes().into_iter());
                        let key = table.learn(hash, PeerId(0), step).unwrap();
                        if let Found::Held(_, key) = table.hold(hash, step, |_| true) {
                            table.let_go(key, step + thread);
                        }
                        table.let_go(key, step);
                    }
                });
            }
        });
        let left = table.len();
        assert!(left <= 50);
        assert_eq!((table.sweep(u64::MAX), table.len()), (left, 0));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Learn(u8, u32),
        Hold(u8),
        LetGo(usize),
        Wait(u64),
        Sweep,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..6_u8, 0..4_u32).prop_map(|(value, server)| Step::Learn(value, server)),
            (0..6_u8).prop_map(Step::Hold),
            (0..8_usize).prop_map(Step::LetGo),
            (0..TTL_MS).prop_map(Step::Wait),
            Just(Step::Sweep),
        ];
        prop::collection::vec(step, 0..60)
    }

    /// What the table must do, in the plainest words: value to (server, live, last let go).
    #[derive(Default)]
    struct Model(HashMap<u8, (u32, u32, u64)>);

    impl Model {
        fn forget_expired(&mut self, now_ms: u64) {
            self.0.retain(|_, (_, live, since_ms)| *live > 0 || now_ms < *since_ms + TTL_MS);
        }
    }

    proptest! {
        #[test]
        fn any_sequence_does_what_the_model_does(steps in steps()) {
            let table = table(1_000);
            let (mut model, mut held, mut now_ms) = (Model::default(), Vec::new(), 0);
            for step in steps {
                model.forget_expired(now_ms);
                match step {
                    Step::Learn(value, server) => {
                        let hash = table.hash([value].into_iter());
                        held.push((value, table.learn(hash, PeerId(server), now_ms).unwrap()));
                        let entry = model.0.entry(value).or_insert((server, 0, now_ms));
                        (entry.0, entry.1) = (server, entry.1 + 1);
                    }
                    Step::Hold(value) => {
                        let hash = table.hash([value].into_iter());
                        let entry = model.0.get_mut(&value);
                        match table.hold(hash, now_ms, |_| true) {
                            Found::Held(server, key) => {
                                let entry = entry.expect("the model forgot it");
                                prop_assert_eq!(server.0, entry.0);
                                entry.1 += 1;
                                held.push((value, key));
                            }
                            found => prop_assert!(entry.is_none(), "found {:?}", found),
                        }
                    }
                    Step::LetGo(at) if !held.is_empty() => {
                        let (value, key) = held.swap_remove(at % held.len());
                        table.let_go(key, now_ms);
                        let entry = model.0.get_mut(&value).expect("held keys stay");
                        (entry.1, entry.2) = (entry.1 - 1, now_ms);
                    }
                    Step::LetGo(_) => {}
                    Step::Wait(ms) => now_ms += ms,
                    Step::Sweep => {
                        table.sweep(now_ms);
                        prop_assert_eq!(table.len(), model.0.len());
                    }
                }
            }
        }
    }
}
