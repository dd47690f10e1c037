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

/// The answers of one worker to one question; nobody waits for them behind its drop.
struct Answers<'i> {
    inner: &'i Inner,
    ticket: u64,
    receiver: UnboundedReceiver<Answer>,
}

impl Inner {
    /// No panic can leave it half changed, so a poisoned one is as good as any.
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, UnboundedSender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: the worker has ended.
    fn ask(&self, worker: usize, filter: &Arc<Filter>, ask: Ask) -> Option<Answers<'_>> {
        let orders = self.orders.get(worker)?;
        let ticket = self.tickets.fetch_add(1, Relaxed);
        let (sender, receiver) = unbounded_channel();
        self.waiting().insert(ticket, sender);
        let answers = Answers { inner: self, ticket, receiver };
        let reply = Some(Reply { ticket, sender: self.answers_to.clone() });
        let order = Order::Inquire(Inquiry { filter: Arc::clone(filter), ask, reply });
        orders.give(order).then_some(answers)
    }
}

impl Answers<'_> {
    /// `None`: the worker is silent.
    async fn next(&mut self) -> Option<Answer> {
        timeout(Duration::from_secs(SILENCE_S), self.receiver.recv()).await.ok().flatten()
    }
}

impl Drop for Answers<'_> {
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
    /// among them or not.
    pub async fn sessions(
        &self,
        filter: Filter,
        after: Option<Cursor>,
        limit: usize,
        tcp_info: bool,
    ) -> Page {
        let (filter, inner) = (Arc::new(filter), &*self.0);
        let mut page = Page::default();
        let after = after.unwrap_or_default();
        for worker in after.worker..inner.orders.len() {
            if filter.worker.is_some_and(|only| only != worker) {
                continue;
            }
            let from = if worker == after.worker { after.index } else { 0 };
            let left = limit - page.sessions.len();
            if left == 0 {
                page.next = Some(Cursor { worker, index: from });
                break;
            }
            let ask = Ask::Show { from, limit: left, tcp_info };
            let Some(mut answers) = inner.ask(worker, &filter, ask) else { continue };
            let last = loop {
                let Some(answer) = answers.next().await else { break None };
                page.sessions.extend(answer.sessions);
                if answer.is_last {
                    break Some(answer.next);
                }
            };
            match last {
                None => page.silent.push(worker),
                Some(Some(index)) => {
                    page.next = Some(Cursor { worker, index });
                    break;
                }
                Some(None) => {}
            }
        }
        page
    }

    /// A session, with what the kernel knows of its connections; `None`: it is over, or its worker
    /// is silent.
    pub async fn session(&self, id: SessionId) -> Option<View> {
        let mut answers = self.0.ask(id.worker, &Arc::default(), Ask::ShowOne(id.slot))?;
        answers.next().await?.sessions.pop()
    }

    /// Closes a session; false: it is over, or its worker is silent.
    pub async fn close(&self, id: SessionId) -> bool {
        let answers = self.0.ask(id.worker, &Arc::default(), Ask::CloseOne(id.slot));
        let Some(mut answers) = answers else { return false };
        answers.next().await.is_some_and(|answer| answer.matched > 0)
    }

    /// Closes sessions that fit, so many a second, all workers together. Says how many as soon as
    /// all are found; those that begin later are not among them.
    pub async fn close_all(&self, filter: Filter, per_s: u32, now_us: u64) -> Closing {
        let (filter, inner) = (Arc::new(filter), &*self.0);
        let pace = Arc::new(Pace::new(per_s, now_us));
        let workers = 0..inner.orders.len();
        let workers = workers.filter(|worker| filter.worker.is_none_or(|only| only == *worker));
        // All look at the same time.
        let asked: Vec<_> = workers
            .filter_map(|worker| {
                let ask = Ask::Close { why: Why::Killed, pace: Arc::clone(&pace) };
                Some((worker, inner.ask(worker, &filter, ask)?))
            })
            .collect();
        let mut closing = Closing::default();
        for (worker, mut answers) in asked {
            loop {
                let Some(answer) = answers.next().await else {
                    closing.silent.push(worker);
                    break;
                };
                closing.matched += answer.matched;
                if answer.is_last {
                    break;
                }
            }
        }
        closing
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

    /// Runs what asks beside what answers, on a clock that runs by itself when both wait.
    fn run<T>(asks: impl Future<Output = T>, answers: impl Future<Output = ()>) -> T {
        let builder = &mut tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().build().unwrap();
        runtime.block_on(async {
            let (said, ()) = tokio::join!(asks, answers);
            said
        })
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
}
