//! Writes ticks at a steady rate, in a thread of its own, through any loss of the broker.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use super::{Row, TICKS};
use crate::topics::{Writer, Written};

/// Rows are written in groups, this often.
const EVERY: Duration = Duration::from_millis(20);

/// The writer of a run.
pub(crate) struct Feed {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Feed {
    /// Begins to write the rows of a seed.
    pub(crate) fn start(servers: &str, seed: u64, rows_per_second: u64) -> Self {
        let writer = Writer::new(servers);
        let is_over = Arc::new(AtomicBool::new(false));
        let asked = is_over.clone();
        #[allow(clippy::disallowed_methods, reason = "a test writes beside what it does")]
        let thread = std::thread::spawn(move || {
            let group = rows_per_second * u64::try_from(EVERY.as_millis()).expect("it is short") / 1000;
            let mut rows = 0;
            while !asked.load(Ordering::Relaxed) {
                for row in (rows..rows + group).map(|id| Row::draw(seed, id)) {
                    let json = row.json();
                    let (key, value) = (Some(row.symbol.as_str()), Some(json.as_bytes()));
                    writer.send(TICKS, &Written { key, value, ..Written::default() });
                }
                rows += group;
                std::thread::sleep(EVERY);
            }
            writer.flush();
            rows
        });
        Self { is_over, thread: Some(thread) }
    }

    /// Stops, and waits until all rows are written. Returns how many they are.
    pub(crate) fn finish(mut self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().expect("it runs").join().expect("the writer has not panicked")
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}
