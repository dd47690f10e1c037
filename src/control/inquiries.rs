//! Asking workers about their sessions, and having sessions closed.
//!
//! Workers answer over a channel and ring the control thread's mailbox; whoever reads that hands
//! the answers on ([`Inquiries::hand_on`]), since a worker must wake no task. A worker that has
//! ended, or is silent for two seconds, is waited for no longer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use crate::worker::inquiry::{
    Answer, Ask, Cursor, Filter, Inquiry, Pace, Reply, SessionId, View, Why,
};
use crate::worker::{Order, Orders};

/// Seconds for which a worker may be silent.
const SILENCE_S: u64 = 2;

/// Sessions, in the order of workers and slots.
#[derive(Debug, Default)]
pub struct Page {
    /// Those that fit.
    pub sessions: Vec<View>,
    /// Where to go on, if there may be more.
    pub next: Option<Cursor>,
    /// Workers that did not answer.
    pub silent: Vec<usize>,
}

/// What was closed, or will be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closing {
    /// Sessions.
    pub matched: u64,
    /// Workers that did not answer.
    pub silent: Vec<usize>,
}

/// See the head of the file.
#[derive(Clone)]
pub struct Inquiries(Arc<Inner>);

struct Inner {
    /// By worker.
    orders: Vec<Orders>,
    answers_to: Sender<Answer>,
    tickets: AtomicU64,
    waiting: Mutex<HashMap<u64, UnboundedSender<Answer>>>,
}

/// A question on its way; nobody waits for answers behind its drop.
struct Question<'i> {
    inner: &'i Inner,
    ticket: u64,
    receiver: UnboundedReceiver<Answer>,
    /// Workers whose last answer has not come.
    pending: Vec<usize>,
}

impl Inner {
    /// No panic can leave it half changed, so a poisoned one is as good as any.
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, UnboundedSender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn question(&self) -> Question<'_> {
        let ticket = self.tickets.fetch_add(1, Relaxed);
        let (sender, receiver) = unbounded_channel();
        self.waiting().insert(ticket, sender);
        Question { inner: self, ticket, receiver, pending: Vec::new() }
    }
}

impl Question<'_> {
    /// Asks a worker, unless it has ended.
    fn ask(&mut self, worker: usize, filter: &Arc<Filter>, ask: Ask) {
        let Some(orders) = self.inner.orders.get(worker) else { return };
        let (ticket, sender) = (self.ticket, self.inner.answers_to.clone());
        let filter = Arc::clone(filter);
        let inquiry = Inquiry { filter, ask, reply: Some(Reply { ticket, sender }) };
        if orders.give(Order::Inquire(inquiry)) {
            self.pending.push(worker);
        }
    }

    /// The next answer; `None`: those that are pending are silent, or nobody is.
    async fn next(&mut self) -> Option<Answer> {
        if self.pending.is_empty() {
            return None;
        }
        let next = timeout(Duration::from_secs(SILENCE_S), self.receiver.recv()).await;
        let answer = next.ok().flatten()?;
        if answer.is_last {
            self.pending.retain(|&worker| worker != answer.worker);
        }
        Some(answer)
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.inner.waiting().remove(&self.ticket);
    }
}

impl Inquiries {
    /// Of the workers that take these orders; the answers come in where the second end is.
    pub fn new(orders: Vec<Orders>) -> (Self, Receiver<Answer>) {
        let (answers_to, answers) = channel();
        let (tickets, waiting) = (AtomicU64::new(0), Mutex::default());
        (Self(Arc::new(Inner { orders, answers_to, tickets, waiting })), answers)
    }

    /// Hands all answers there are to those who wait for them; when the mailbox was rung for.
    pub fn hand_on(&self, answers: &Receiver<Answer>) {
        for answer in answers.try_iter() {
            let waiting = self.0.waiting();
            if let Some(asker) = waiting.get(&answer.ticket) {
                // It may have given up.
                let _ = asker.send(answer);
            }
        }
    }

    /// Sessions that fit, so many at most, from `after` on. What begins or ends meanwhile may be
    /// among them or not. It ends with a worker that is silent.
    pub async fn sessions(
        &self,
        filter: Filter,
        after: Option<Cursor>,
        limit: usize,
        tcp_info: bool,
    ) -> Page {
        let (filter, inner) = (Arc::new(filter), &*self.0);
        let mut page = Page::default();
        let mut at = after.unwrap_or_default();
        while at.worker < inner.orders.len() {
            let left = limit - page.sessions.len();
            if left == 0 || !page.silent.is_empty() {
                page.next = Some(at);
                break;
            }
            let next = Cursor { worker: at.worker + 1, index: 0 };
            if filter.worker.is_some_and(|only| only != at.worker) {
                at = next;
                continue;
            }
            let mut question = inner.question();
            question.ask(at.worker, &filter, Ask::Show { from: at.index, limit: left, tcp_info });
            let mut rest = None;
            while let Some(answer) = question.next().await {
                page.sessions.extend(answer.sessions);
                rest = answer.next;
            }
            page.silent.append(&mut question.pending);
            at = rest.map_or(next, |index| Cursor { index, ..at });
        }
        page
    }

    /// A session, with what the kernel knows of its connections; `None`: it is over, or its worker
    /// is silent.
    pub async fn session(&self, id: SessionId) -> Option<View> {
        let mut question = self.0.question();
        question.ask(id.worker, &Arc::default(), Ask::ShowOne(id.slot));
        question.next().await?.sessions.pop()
    }

    /// Closes a session; false: it is over, or its worker is silent.
    pub async fn close(&self, id: SessionId) -> bool {
        let mut question = self.0.question();
        question.ask(id.worker, &Arc::default(), Ask::CloseOne(id.slot));
        question.next().await.is_some_and(|answer| answer.matched > 0)
    }

    /// Closes sessions that fit, so many a second, all workers together. Says how many as soon as
    /// all are found; those that begin later are not among them.
    pub async fn close_all(&self, filter: Filter, per_s: u32, now_us: u64) -> Closing {
        let filter = Arc::new(filter);
        let pace = Arc::new(Pace::new(per_s, now_us));
        let mut question = self.0.question();
        for worker in 0..self.0.orders.len() {
            if filter.worker.is_none_or(|only| only == worker) {
                let ask = Ask::Close { why: Why::Killed, pace: Arc::clone(&pace) };
                question.ask(worker, &filter, ask);
            }
        }
        let mut matched = 0;
        while let Some(answer) = question.next().await {
            matched += answer.matched;
        }
        Closing { matched, silent: std::mem::take(&mut question.pending) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::mailbox::Mailbox;

    /// Orders to workers that somebody plays.
    fn workers(count: usize) -> (Inquiries, Receiver<Answer>, Vec<Receiver<Order>>) {
        let mailbox = Mailbox::new().unwrap();
        let (mut orders, mut received) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (sender, receiver) = channel();
            orders.push(Orders::new(sender, mailbox.clone()));
            received.push(receiver);
        }
        let (inquiries, answers) = Inquiries::new(orders);
        (inquiries, answers, received)
    }

    fn inquiry(orders: &Receiver<Order>) -> Option<Inquiry> {
        match orders.try_recv() {
            Ok(Order::Inquire(inquiry)) => Some(inquiry),
            _ => None,
        }
    }

    fn answer(inquiry: &Inquiry, worker: usize, matched: u64, is_last: bool) {
        let Reply { ticket, sender } = inquiry.reply.as_ref().unwrap();
        let (ticket, sessions, next) = (*ticket, Vec::new(), None);
        sender.send(Answer { ticket, worker, sessions, matched, next, is_last }).unwrap();
    }

    /// Runs what asks beside what answers.
    fn run<T>(asks: impl Future<Output = T>, answers: impl Future<Output = ()>) -> T {
        let builder = &mut tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().build().unwrap();
        runtime.block_on(async {
            let (said, ()) = tokio::join!(asks, answers);
            said
        })
    }

    #[test]
    fn whoever_asks_may_be_moved_between_threads() {
        fn moves(_: &impl Send) {}
        let (inquiries, _answers, _received) = workers(1);
        let id = "0-1-1".parse().unwrap();
        moves(&inquiries.sessions(Filter::default(), None, 1, false));
        moves(&inquiries.session(id));
        moves(&inquiries.close(id));
        moves(&inquiries.close_all(Filter::default(), 1, 0));
    }

    #[test]
    fn a_worker_that_has_ended_is_not_waited_for() {
        let (inquiries, _answers, received) = workers(2);
        drop(received);
        let page = run(inquiries.sessions(Filter::default(), None, 10, false), async {});
        assert!(page.sessions.is_empty() && page.next.is_none() && page.silent.is_empty());
        let id = "0-1-1".parse().unwrap();
        assert!(!run(inquiries.close(id), async {}));
        let id = "7-1-1".parse().unwrap();
        assert!(run(inquiries.session(id), async {}).is_none(), "there is no such worker");
    }

    #[test]
    fn a_silent_worker_is_named_and_nobody_is_left_waiting() {
        let (inquiries, answers, received) = workers(2);
        let plays = async {
            tokio::task::yield_now().await;
            let inquiry = inquiry(&received[1]).unwrap();
            answer(&inquiry, 1, 3, false);
            answer(&inquiry, 1, 4, true);
            inquiries.hand_on(&answers);
        };
        let closing = run(inquiries.close_all(Filter::default(), 10, 0), plays);
        assert_eq!(closing, Closing { matched: 7, silent: vec![0] });
        assert!(inquiries.0.waiting().is_empty());
    }

    #[test]
    fn a_worker_is_asked_only_if_it_is_meant() {
        let (inquiries, answers, received) = workers(3);
        let plays = async {
            tokio::task::yield_now().await;
            assert!(inquiry(&received[0]).is_none() && inquiry(&received[2]).is_none());
            answer(&inquiry(&received[1]).unwrap(), 1, 0, true);
            inquiries.hand_on(&answers);
        };
        let filter = Filter { worker: Some(1), ..Filter::default() };
        let page = run(inquiries.sessions(filter, None, 10, false), plays);
        assert!(page.silent.is_empty() && page.next.is_none());
    }

    #[test]
    fn a_list_ends_with_a_silent_worker_and_can_go_on_behind_it() {
        let (inquiries, answers, received) = workers(2);
        let page = run(inquiries.sessions(Filter::default(), None, 10, false), async {});
        assert_eq!((page.silent, page.next), (vec![0], Some(Cursor { worker: 1, index: 0 })));
        let plays = async {
            tokio::task::yield_now().await;
            answer(&inquiry(&received[1]).unwrap(), 1, 0, true);
            inquiries.hand_on(&answers);
        };
        let page = run(inquiries.sessions(Filter::default(), page.next, 10, false), plays);
        assert!(page.silent.is_empty() && page.next.is_none());
    }
}
