//! A reload that is under way: read on a thread that may wait, and put in force when that is done.
//! Who asks meanwhile gets another one, since what was read may be older than what was asked for.

use std::mem;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::info;

use crate::supervisor::{Denied, Prepared, Refused, Supervisor};

/// Who waits for what becomes of a reload; none does behind a signal.
pub(super) type Answer = Option<oneshot::Sender<Result<u64, Denied>>>;

/// See the head of the file.
#[derive(Default)]
pub(super) struct Reloading {
    task: Option<JoinHandle<Result<Prepared, Refused>>>,
    /// Who asked for the one that is under way.
    asked: Vec<Answer>,
    /// Who asked since it began.
    next: Vec<Answer>,
}

impl Reloading {
    /// Somebody wants one.
    pub(super) fn ask(&mut self, supervisor: &Supervisor, answer: Answer) {
        if self.task.is_some() {
            return self.next.push(answer);
        }
        let service = supervisor.service();
        service.reloading();
        let Some(again) = supervisor.again() else {
            let text = "there is no configuration to read again";
            info!("{text}");
            service.reloaded(None, supervisor.shared());
            return tell(answer, Err(Denied::conflict(text)));
        };
        self.asked.push(answer);
        self.task = Some(spawn_blocking(move || Prepared::new(&again)));
    }

    /// Ready when what is being prepared is; never where nothing is.
    pub(super) async fn prepared(&mut self) -> Result<Prepared, Refused> {
        match &mut self.task {
            Some(task) => task.await.expect("reading a configuration does not panic"),
            None => std::future::pending().await,
        }
    }

    /// What was prepared has come to this.
    pub(super) fn finish(&mut self, supervisor: &Supervisor, result: &Result<u64, Denied>) {
        self.task = None;
        mem::take(&mut self.asked).into_iter().for_each(|answer| tell(answer, result.clone()));
        mem::take(&mut self.next).into_iter().for_each(|answer| self.ask(supervisor, answer));
    }
}

/// Who asked may have gone.
fn tell(answer: Answer, result: Result<u64, Denied>) {
    if let Some(answer) = answer {
        let _ = answer.send(result);
    }
}
