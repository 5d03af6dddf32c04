//! One line on standard error with the progress of a job, rewritten in place. It is shown only on a terminal.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use thalweg_types::{
    job::{JobOverview, SubtaskOverview},
    seam::Clock,
};

use crate::output::{grouped, watermark_text};

/// The metrics of a job, summed over its subtasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Records read by sources.
    pub records_in: u64,
    /// Records that reached sinks.
    pub records_out: u64,
    /// The lowest watermark of the sinks, in microseconds.
    pub watermark: i64,
    /// Late records.
    pub late: u64,
    /// Malformed records.
    pub dead_letters: u64,
    /// Rows that could not be evaluated.
    pub failed: u64,
}

impl Totals {
    /// Sums a job's subtasks.
    #[must_use]
    pub fn of(job: &JobOverview) -> Self {
        let all = || job.subtasks.iter();
        let sum = |pick: fn(&SubtaskOverview) -> u64| all().map(pick).sum::<u64>();
        let watermarks = all().filter(|subtask| subtask.is_sink).map(|subtask| subtask.metrics.watermark);
        Self {
            records_in: sum(|subtask| if subtask.is_source { subtask.metrics.records_in } else { 0 }),
            records_out: sum(|subtask| if subtask.is_sink { subtask.metrics.records_out } else { 0 }),
            watermark: watermarks.min().unwrap_or(i64::MIN),
            late: sum(|subtask| subtask.metrics.late_records),
            dead_letters: sum(|subtask| subtask.metrics.dead_letters),
            failed: sum(|subtask| subtask.metrics.failed_rows),
        }
    }
}

/// The rate becomes 0 after this time without new records.
const STILL_AFTER: Duration = Duration::from_secs(3);

/// The progress line of a job.
#[derive(Debug)]
pub struct ProgressLine {
    is_shown: bool,
    is_drawn: bool,
    /// The time and the number of records at the last change.
    previous: Option<(Duration, u64)>,
    rate: u64,
}

impl ProgressLine {
    /// Creates a line that is shown only on a terminal.
    #[must_use]
    pub fn new(is_quiet: bool) -> Self {
        Self { is_shown: !is_quiet && io::stderr().is_terminal(), is_drawn: false, previous: None, rate: 0 }
    }

    /// Whether the line is shown, so that the job's state is needed.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.is_shown
    }

    /// Draws the line for the job's state.
    pub fn draw(&mut self, job: &JobOverview, clock: &dyn Clock) {
        if !self.is_shown {
            return;
        }
        let totals = Totals::of(job);
        let rate = self.rate(totals.records_in, clock.monotonic());
        // If the terminal is gone, the job still goes on.
        let _ = write!(
            io::stderr(),
            "\r\x1b[2K\x1b[?7l{}  in {} ({}/s)  out {}  watermark {}  lag {}{}\x1b[?7h",
            job.status,
            grouped(totals.records_in),
            grouped(rate),
            grouped(totals.records_out),
            watermark_text(totals.watermark),
            lag_text(totals.watermark, clock.unix_time()),
            side_output_counts(totals),
        );
        self.is_drawn = true;
    }

    /// Removes the line. Call it before anything else is printed.
    pub fn clear(&mut self) {
        if self.is_drawn {
            let _ = write!(io::stderr(), "\r\x1b[2K");
            self.is_drawn = false;
        }
    }

    /// Records per second since the last change, since nodes report their counters less often than the line is drawn.
    fn rate(&mut self, records_in: u64, now: Duration) -> u64 {
        let Some((then, before)) = self.previous else {
            self.previous = Some((now, records_in));
            return 0;
        };
        let elapsed = now.saturating_sub(then);
        if records_in != before {
            let per_second = u128::from(records_in.saturating_sub(before)) * 1000 / elapsed.as_millis().max(1);
            self.rate = u64::try_from(per_second).unwrap_or(u64::MAX);
            self.previous = Some((now, records_in));
        } else if elapsed > STILL_AFTER {
            self.rate = 0;
        }
        self.rate
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The counters of side outputs, without those that are 0.
#[must_use]
pub fn side_output_counts(totals: Totals) -> String {
    let mut text = String::new();
    for (count, what) in [(totals.late, "late"), (totals.dead_letters, "malformed"), (totals.failed, "failed")] {
        if count > 0 {
            text.push_str(&format!("  {what} {}", grouped(count)));
        }
    }
    text
}

/// How far a watermark in microseconds is behind the clock, in one unit.
fn lag_text(watermark: i64, unix_time: Duration) -> String {
    if matches!(watermark, i64::MIN | i64::MAX) {
        return "-".to_owned();
    }
    let now = i64::try_from(unix_time.as_micros()).unwrap_or(i64::MAX);
    let seconds = now.saturating_sub(watermark).max(0) / 1_000_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_lasts_between_counts_and_ends_when_nothing_comes() {
        let mut line = ProgressLine::new(true);
        let rates = [(0, 0), (1000, 500), (1250, 500), (2000, 1500), (5001, 1500)]
            .map(|(millis, records)| line.rate(records, Duration::from_millis(millis)));
        assert_eq!(rates, [0, 500, 500, 1000, 0]);
    }

    #[test]
    fn lag_is_told_in_the_largest_unit() {
        let lag = |seconds: i64| lag_text(0, Duration::from_secs(seconds.unsigned_abs()));
        assert_eq!([0, 119, 120, 7200, 200_000].map(lag), ["0 s", "119 s", "2 min", "2 h", "2 d"]);
        assert_eq!(lag_text(i64::MAX, Duration::ZERO), "-");
        assert_eq!(lag_text(5_000_000, Duration::ZERO), "0 s", "a watermark may be ahead of the clock");
    }
}
