//! The replay clock, for tables with a replay column: event time that passes `speed` times as fast as real time.
//!
//! All replayed sources of an attempt on a node share one clock, so their order in event time is kept. It starts at
//! the job's `replay.start`. Without that, it starts at the earliest first record of these sources, once each of them
//! has read one or reported that it has none now. A node only knows its own records, so a job that is replayed on
//! several nodes must set its start; otherwise its deployment is refused.

use std::{sync::Arc, time::Duration};

use arrow::{
    array::{Array, RecordBatch},
    compute::cast,
    datatypes::{DataType, TimeUnit, TimestampMicrosecondType},
    error::ArrowError,
};
use parking_lot::Mutex;
use thalweg_types::seam::Clock;
use tokio::sync::watch;

/// The shortest wait, so that rows close in time are released together.
const GRAIN: Duration = Duration::from_millis(2);
/// The longest wait before the clock is checked again.
const WAIT_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
struct Running {
    /// Event time at the start, in microseconds.
    origin_micros: i64,
    /// Real time at the start, on the monotonic clock.
    started: Duration,
}

#[derive(Debug)]
struct Waiting {
    /// Sources that have not reported their first record.
    sources: usize,
    earliest_micros: Option<i64>,
}

/// The replay clock of one attempt on one node.
#[derive(Debug)]
pub(crate) struct ReplayClock {
    clock: Arc<dyn Clock>,
    speed: f64,
    start_micros: Option<i64>,
    waiting: Mutex<Waiting>,
    running: watch::Sender<Option<Running>>,
}

impl ReplayClock {
    /// Creates a stopped clock for `sources` source subtasks.
    pub(crate) fn new(clock: Arc<dyn Clock>, speed: f64, start_micros: Option<i64>, sources: usize) -> Self {
        let waiting = Mutex::new(Waiting { sources, earliest_micros: None });
        Self { clock, speed, start_micros, waiting, running: watch::Sender::new(None) }
    }

    /// Takes the time of a source's first record, or `None` if it has none now. Call it once per source.
    pub(crate) fn on_first(&self, micros: Option<i64>) {
        let mut waiting = self.waiting.lock();
        waiting.sources = waiting.sources.saturating_sub(1);
        self.offer(&mut waiting, micros);
    }

    /// Takes the first record of a source that had none before. It starts the clock if no other source had one
    /// either.
    pub(crate) fn on_later(&self, micros: Option<i64>) {
        self.offer(&mut self.waiting.lock(), micros);
    }

    fn offer(&self, waiting: &mut Waiting, micros: Option<i64>) {
        waiting.earliest_micros = waiting.earliest_micros.into_iter().chain(micros).min();
        let origin = self.start_micros.or(waiting.earliest_micros);
        if let Some(origin_micros) = origin
            && (waiting.sources == 0 || self.start_micros.is_some())
        {
            let started = self.clock.monotonic();
            self.running.send_if_modified(|running| {
                let starts = running.is_none();
                running.get_or_insert(Running { origin_micros, started });
                starts
            });
        }
    }

    /// The event time now, in microseconds; `None` before the start.
    pub(crate) fn now_micros(&self) -> Option<i64> {
        let running = (*self.running.borrow())?;
        let elapsed = self.clock.monotonic().saturating_sub(running.started);
        let passed = (elapsed.as_secs_f64() * self.speed * 1e6).min(9e18);
        Some(running.origin_micros.saturating_add(passed as i64))
    }

    /// Waits until the clock shows `micros`, or for at most `WAIT_MAX`. The caller checks again.
    pub(crate) async fn wait_for(&self, micros: i64) {
        let mut running = self.running.subscribe();
        let Some(now) = self.now_micros() else {
            let _ = tokio::time::timeout(WAIT_MAX, running.wait_for(Option::is_some)).await;
            return;
        };
        let missing = micros.saturating_sub(now).max(0) as f64 / 1e6 / self.speed;
        let wait = Duration::try_from_secs_f64(missing).unwrap_or(WAIT_MAX);
        tokio::time::sleep(wait.clamp(GRAIN, WAIT_MAX)).await;
    }
}

/// The times of a batch's rows, in microseconds. NULL becomes the smallest time, so that such rows are never held
/// back.
pub(crate) fn times_micros(batch: &RecordBatch, column: usize) -> Result<Vec<i64>, ArrowError> {
    use arrow::array::AsArray;
    let micros = cast(batch.column(column), &DataType::Timestamp(TimeUnit::Microsecond, None))?;
    let micros = micros.as_primitive::<TimestampMicrosecondType>();
    if micros.null_count() == 0 {
        return Ok(micros.values().to_vec());
    }
    Ok(micros.iter().map(|time| time.unwrap_or(i64::MIN)).collect())
}

/// Parses `replay.start`, a timestamp as in SQL, to microseconds since the Unix epoch.
pub(crate) fn parse_start(text: &str) -> Result<i64, ArrowError> {
    let nanos = arrow::compute::kernels::cast_utils::string_to_timestamp_nanos(text)?;
    Ok(nanos.div_euclid(1000))
}
