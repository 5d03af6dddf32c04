//! Runs the tasks of one process in an order that depends on the seed alone.
//!
//! Tokio wakes the receivers of a watch channel in an order from a generator that cannot be seeded. So this executor
//! polls all tasks of a process within one task of Tokio. Tasks that are awake are polled in the order of their
//! numbers, each once, before those woken meanwhile. A paused process polls no task.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Wake, Waker, ready},
};

use thalweg_types::seam::{Spawner, TaskFuture, TaskHandle};

use super::gate::Gate;

/// The tasks of a process.
pub(super) struct Executor {
    gate: Arc<Gate>,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    last: u64,
    /// All tasks by number; `None` while a task is being polled.
    live: BTreeMap<u64, Option<TaskFuture>>,
    /// Tasks to poll in this round, and in the next one.
    now: BTreeSet<u64>,
    next: BTreeSet<u64>,
    driver: Option<Waker>,
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Executor")
    }
}

impl Executor {
    /// Tasks that are not polled before `drive`.
    pub(super) fn new(gate: Arc<Gate>) -> Arc<Self> {
        Arc::new(Self { gate, tasks: Mutex::default() })
    }

    /// Starts to poll tasks. Call it on the host, once.
    #[allow(clippy::disallowed_methods, reason = "this is the seam")]
    pub(super) fn drive(self: &Arc<Self>) {
        tokio::spawn(Driver(self.clone()));
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, task: u64) {
        let driver = {
            let mut tasks = self.tasks();
            tasks.next.insert(task);
            tasks.driver.take()
        };
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    pub(super) fn start_task(self: &Arc<Self>, future: TaskFuture) -> Task {
        let number = {
            let mut tasks = self.tasks();
            tasks.last += 1;
            let number = tasks.last;
            tasks.live.insert(number, Some(future));
            number
        };
        self.wake(number);
        Task { executor: Arc::downgrade(self), number }
    }

    /// Takes the next task to poll.
    fn take(&self, context: &Context<'_>) -> Option<(u64, TaskFuture)> {
        let mut tasks = self.tasks();
        loop {
            if tasks.now.is_empty() {
                tasks.now = std::mem::take(&mut tasks.next);
            }
            let Some(number) = tasks.now.pop_first() else {
                tasks.driver = Some(context.waker().clone());
                return None;
            };
            // The task may have ended after it was woken.
            if let Some(future) = tasks.live.get_mut(&number).and_then(Option::take) {
                return Some((number, future));
            }
        }
    }
}

/// Polls one task per turn, so that each gets Tokio's whole cooperative budget.
struct Driver(Arc<Executor>);

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        ready!(self.0.gate.poll(context));
        let Some((number, mut future)) = self.0.take(context) else { return Poll::Pending };
        let waker = Waker::from(Arc::new(TaskWaker { executor: Arc::downgrade(&self.0), number }));
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            future.as_mut().poll(&mut Context::from_waker(&waker))
        }));
        let ended = {
            let mut tasks = self.0.tasks();
            // A task that was aborted while it was polled is no longer in the map.
            match (tasks.live.get_mut(&number), polled) {
                (Some(place), Ok(Poll::Pending)) => {
                    *place = Some(future);
                    None
                }
                _ => {
                    tasks.live.remove(&number);
                    Some(future)
                }
            }
        };
        // Dropping a task may wake or abort others, so no lock is held here.
        drop(ended);
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Driver {
    /// The process has ended. Its tasks hold references to the executor, so only this can drop them.
    fn drop(&mut self) {
        let ended = std::mem::take(&mut self.0.tasks().live);
        drop(ended);
        self.0.gate.close_sockets();
    }
}

struct TaskWaker {
    executor: Weak<Executor>,
    number: u64,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(executor) = self.executor.upgrade() {
            executor.wake(self.number);
        }
    }
}

/// Handle of a started task.
#[derive(Debug)]
pub(super) struct Task {
    executor: Weak<Executor>,
    number: u64,
}

impl TaskHandle for Task {
    fn abort(&self) {
        let Some(executor) = self.executor.upgrade() else { return };
        let ended = executor.tasks().live.remove(&self.number);
        drop(ended);
    }

    fn is_finished(&self) -> bool {
        self.executor.upgrade().is_none_or(|executor| !executor.tasks().live.contains_key(&self.number))
    }
}

/// The spawner that components of a simulated process get.
#[derive(Debug)]
pub(super) struct ProcessSpawner(pub(super) Arc<Executor>);

impl Spawner for ProcessSpawner {
    fn spawn(&self, _name: &str, task: TaskFuture) -> Box<dyn TaskHandle> {
        Box::new(self.0.start_task(task))
    }
}
