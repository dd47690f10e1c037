//! What is to be told of sessions, on its way to the control thread: collected, and handed over in
//! batches of one edition each.
//!
//! Never waits: a batch that finds the channel full is lost, and counted.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};

use super::inquiry::SessionId;
use super::shared::{LocalEdition, Shared};
use super::{Engine, Worker};
use crate::log::{Batch, Began, Entry, Record, is_sampled};
use crate::session::{About, CloseReason};
use crate::slots::SlotId;
use crate::sys::mailbox::Mailbox;

/// Records handed over at once.
const RECORDS_BATCH: usize = 64;

/// Microseconds a record may wait for others.
const RECORDS_WAIT_US: u64 = 50_000;

/// Where a worker's log records go.
pub struct Records {
    /// To the control thread, which never blocks a worker: a full channel loses the batch.
    pub sender: SyncSender<Batch>,
    /// Wakes it.
    pub mailbox: Mailbox,
}

/// Records that wait for others.
pub(super) struct Collected {
    worker: usize,
    shared: Arc<Shared>,
    to: Records,
    entries: Vec<Entry>,
    /// Of all of them.
    edition: Rc<LocalEdition>,
    /// When the first of them came.
    since_us: u64,
}

impl Collected {
    pub(super) fn new(
        worker: usize,
        shared: Arc<Shared>,
        to: Records,
        edition: Rc<LocalEdition>,
    ) -> Self {
        let entries = Vec::with_capacity(RECORDS_BATCH);
        Self { worker, shared, to, entries, edition, since_us: 0 }
    }

    /// When they are to be handed over, whether others come or not.
    pub(super) fn due_us(&self) -> Option<u64> {
        (!self.entries.is_empty()).then_some(self.since_us + RECORDS_WAIT_US)
    }

    pub(super) fn are_due(&self, now_us: u64) -> bool {
        self.entries.len() >= RECORDS_BATCH || self.due_us().is_some_and(|due_us| due_us <= now_us)
    }

    /// Adds one; those of another edition are handed over before.
    fn add(&mut self, edition: &Rc<LocalEdition>, entry: Entry, now_us: u64) {
        if !Rc::ptr_eq(&self.edition, edition) {
            self.hand_over();
            self.edition = Rc::clone(edition);
        }
        if self.entries.is_empty() {
            self.since_us = now_us;
        }
        self.entries.push(entry);
    }

    /// Whatever there is goes to the control thread.
    pub(super) fn hand_over(&mut self) {
        if self.entries.is_empty() {
            return;
        }
        let entries = std::mem::replace(&mut self.entries, Vec::with_capacity(RECORDS_BATCH));
        let batch = Batch { worker: self.worker, edition: Arc::clone(&self.edition.0), entries };
        match self.to.sender.try_send(batch) {
            Ok(()) => self.wake(),
            Err(TrySendError::Full(lost) | TrySendError::Disconnected(lost)) => {
                self.shared.counters[self.worker].lose_lines(lost.entries.len());
            }
        }
    }

    /// There is something for the control thread.
    pub(super) fn wake(&self) {
        self.to.mailbox.ring();
    }
}

impl<E: Engine> Worker<E> {
    /// Told where the access log wants to know when a session has its server.
    pub(super) fn begun(&mut self, id: SlotId) {
        let Some(seat) = self.slots.find(id) else { return };
        let Some(log) = &seat.edition.config.access_log else { return };
        let about = seat.session.about();
        let has_server = about.place.is_some_and(|place| place.connected);
        let name = SessionId { worker: self.number, slot: id };
        if log.start && has_server && is_sampled(name, log.sample_one_in) {
            let began = Began { id, about: about.copy(), at_us: self.now_us };
            self.records.add(&seat.edition, Entry::Began(began), self.now_us);
        }
    }

    /// Told where there is an access log: each session that failed, and of the others a share.
    pub(super) fn ended(
        &mut self,
        id: SlotId,
        edition: &Rc<LocalEdition>,
        about: About,
        reason: CloseReason,
    ) {
        let Some(log) = &edition.config.access_log else { return };
        let name = SessionId { worker: self.number, slot: id };
        if reason.is_error() || is_sampled(name, log.sample_one_in) {
            let duration_us = self.now_us - about.accepted_us;
            let ended = Record { id, about, reason, duration_us };
            self.records.add(edition, Entry::Ended(ended), self.now_us);
        }
    }
}
