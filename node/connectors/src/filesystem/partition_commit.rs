//! When a partition is complete, and the file that says so.
//!
//! A writer remembers the partitions that it has got rows of, until they are complete: that is state of the job. Then
//! the next checkpoint has a marker among its committables, which is published behind all files of the checkpoint.
//!
//! | trigger | a partition is pending since | complete |
//! |---|---|---|
//! | `process-time` | rows of it were written | the delay after that |
//! | `partition-time` | rows of it came | when the watermark has passed its time and the delay |
//!
//! By `partition-time` one subtask has all rows of a partition, so its watermark says that no further ones come. Rows
//! that come nevertheless are written, and so is the marker, again. When the job goes on with another parallelism, a
//! pending partition goes where its rows go, by their key group. Another subtask may have a watermark that these rows,
//! still on their way, have not.
//!
//! A partition without a time is pending until the input ends, so a subtask remembers a bounded number of them. What is pending
//! counts as state.

use std::{collections::BTreeMap, time::Duration};

use arrow::{
    array::{Array as _, RecordBatch},
    datatypes::Schema,
    error::ArrowError,
};
use thalweg_functions::moment::Moment;
use thalweg_types::{KeyGroup, Watermark, connector};

use super::names::Marker;
use crate::{
    ConnectorError,
    json::{PlainColumn, timestamp::TimestampForm},
    options::Options,
};

const TRIGGER: &str = "sink.partition-commit.trigger";
const DELAY: &str = "sink.partition-commit.delay";

/// What the names of values begin with, as state; the directory follows. One tells when it is complete, the other one the
/// key group of its rows.
const DUE: &str = "due/";
const GROUP: &str = "group/";

/// A partition without a time is complete with the end of the input.
const NEVER: i64 = i64::MAX;
/// How many of these are remembered.
const TIMELESS_MAX: usize = 10_000;
/// About what a pending partition takes beside its directory, in memory.
const PENDING_BYTES: usize = 96;

/// The partitions of one writer that are not complete.
#[derive(Debug)]
pub(super) struct PartitionCommits {
    file: String,
    trigger: Trigger,
    /// By directory.
    pending: BTreeMap<String, Pending>,
    /// How many of these have no time.
    timeless: usize,
    /// Whether one was not remembered, which is told once.
    has_left_out: bool,
    /// About what the pending ones take in memory.
    bytes: usize,
    /// Complete with the next seal.
    complete: Vec<String>,
    /// Whether no further rows come behind the next seal.
    is_end: bool,
}

/// A partition that is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pending {
    /// When it is complete. By `process-time` in milliseconds since the Unix epoch, else in microseconds of event time.
    due: i64,
    /// The key group of its rows, if they are routed by one.
    group: Option<KeyGroup>,
}

#[derive(Debug)]
enum Trigger {
    ProcessTime { delay_millis: i64 },
    PartitionTime { delay_micros: i64, time: TimeExtractor, watermark: Watermark },
}

/// How the time of a partition follows from a row of it.
#[derive(Debug)]
struct TimeExtractor(Vec<TimePiece>);

#[derive(Debug)]
enum TimePiece {
    Text(String),
    /// The index of a column.
    Column(usize),
}

impl PartitionCommits {
    /// Those of a table; `None` if nothing says that its partitions are complete.
    pub(super) fn of_table(
        options: &Options<'_>,
        schema: &Schema,
        (is_partitioned, partition_by): (bool, &[usize]),
    ) -> Result<Option<Self>, ConnectorError> {
        let file = options.checked(|table| table.success_file(is_partitioned))?;
        let Some(file) = file.map(str::to_owned) else { return Ok(None) };
        let delay = options.duration(DELAY)?.unwrap_or_default();
        let trigger = if options.text(TRIGGER) == Some("partition-time") {
            let time = TimeExtractor::of_table(options, schema, partition_by)?;
            let delay_micros = i64::try_from(delay.as_micros()).unwrap_or(i64::MAX);
            Trigger::PartitionTime { delay_micros, time, watermark: Watermark::MIN }
        } else {
            Trigger::ProcessTime { delay_millis: millis(delay) }
        };
        Ok(Some(Self::new(file, trigger)))
    }

    fn new(file: String, trigger: Trigger) -> Self {
        let (pending, complete) = (BTreeMap::new(), Vec::new());
        Self { file, trigger, pending, timeless: 0, has_left_out: false, bytes: 0, complete, is_end: false }
    }

    /// Rows of these directories have come.
    pub(super) fn came(
        &mut self,
        rows: &RecordBatch,
        directories: &BTreeMap<String, Vec<u32>>,
        group_of: &dyn Fn(usize) -> Option<KeyGroup>,
    ) -> Result<(), ArrowError> {
        for (directory, rows_of) in directories {
            let Trigger::PartitionTime { delay_micros, time, .. } = &self.trigger else { return Ok(()) };
            if !self.pending.contains_key(directory) {
                let row = rows_of.first().map_or(0, |row| *row as usize);
                let at = time.of_row(rows, row)?;
                let due = at.map_or(NEVER, |at| at.saturating_add(*delay_micros));
                if due != NEVER || self.timeless < TIMELESS_MAX {
                    self.remember(directory.clone(), Pending { due, group: group_of(row) });
                } else if !std::mem::replace(&mut self.has_left_out, true) {
                    let file = &self.file;
                    tracing::warn!(
                        directory,
                        file,
                        "more than {TIMELESS_MAX} partitions have no time by 'partition.time-extractor.timestamp-pattern': no file tells that this one \
                         and further ones are complete"
                    );
                }
            }
        }
        Ok(())
    }

    fn remember(&mut self, directory: String, pending: Pending) {
        self.timeless += usize::from(pending.due == NEVER);
        self.bytes += directory.len() + PENDING_BYTES;
        self.pending.insert(directory, pending);
    }

    /// About what it remembers, in bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it must be told of the directories of rows that come.
    pub(super) fn follows_arrival(&self) -> bool {
        matches!(self.trigger, Trigger::PartitionTime { .. })
    }

    /// Rows of these directories are written now, by the wall clock.
    pub(super) fn written<'a>(&mut self, directories: impl Iterator<Item = &'a String>, now: Duration) {
        let Trigger::ProcessTime { delay_millis } = self.trigger else { return };
        let due = millis(now).saturating_add(delay_millis);
        for directory in directories {
            if !self.pending.contains_key(directory) {
                self.remember(directory.clone(), Pending { due, group: None });
            }
        }
    }

    pub(super) fn on_watermark(&mut self, to: Watermark) {
        if let Trigger::PartitionTime { watermark, .. } = &mut self.trigger {
            *watermark = to;
        }
    }

    /// The partitions that the next seal says to be complete, as far as that is known before what it holds.
    pub(super) fn completing(&mut self, is_end: bool) -> Vec<String> {
        self.is_end = is_end;
        if is_end {
            self.take_all();
        } else if let Trigger::PartitionTime { watermark, .. } = self.trigger {
            self.take_due(watermark.0);
        }
        self.complete.clone()
    }

    /// The markers of a seal.
    pub(super) fn seal(&mut self, now: Duration) -> Vec<Marker> {
        if self.is_end {
            // Rows that were held until the end have come with the seal.
            self.take_all();
        } else if matches!(self.trigger, Trigger::ProcessTime { .. }) {
            self.take_due(millis(now));
        }
        let mut complete = std::mem::take(&mut self.complete);
        complete.sort_unstable();
        complete.dedup();
        complete.into_iter().map(|directory| Marker { marker: self.file.clone(), directory }).collect()
    }

    fn take_all(&mut self) {
        self.complete.extend(std::mem::take(&mut self.pending).into_keys());
        (self.timeless, self.bytes) = (0, 0);
    }

    fn take_due(&mut self, now: i64) {
        let is_due = |pending: &Pending| pending.due <= now && pending.due != NEVER;
        let due = self.pending.iter().filter(|(_, pending)| is_due(pending));
        self.complete.extend(due.map(|(directory, _)| directory.clone()));
        self.pending.retain(|_, pending| !is_due(pending));
        self.bytes = self.pending.keys().map(|directory| directory.len() + PENDING_BYTES).sum();
    }

    /// What is pending, as state.
    pub(super) fn freeze(&self) -> BTreeMap<String, i64> {
        let mut frozen = BTreeMap::new();
        for (directory, Pending { due, group }) in &self.pending {
            frozen.insert(format!("{DUE}{directory}"), *due);
            if let Some(group) = group {
                frozen.insert(format!("{GROUP}{directory}"), group.0.into());
            }
        }
        frozen
    }

    /// Takes over what former writers had pending, without what is others' now. The earliest time counts. All that they
    /// remembered is, so that no file is lost that was to come.
    pub(super) fn restore(&mut self, former: &[BTreeMap<String, i64>], owns: &dyn Fn(KeyGroup) -> bool) {
        for values in former {
            for (name, due) in values {
                let Some(directory) = name.strip_prefix(DUE) else { continue };
                let group = values.get(&format!("{GROUP}{directory}"));
                let group = group.and_then(|group| u16::try_from(*group).ok()).map(KeyGroup);
                if !group.is_none_or(owns) {
                    continue;
                }
                match self.pending.get_mut(directory) {
                    Some(known) => {
                        self.timeless -= usize::from(known.due == NEVER && *due != NEVER);
                        known.due = known.due.min(*due);
                    }
                    None => self.remember(directory.to_owned(), Pending { due: *due, group }),
                }
            }
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl TimeExtractor {
    fn of_table(options: &Options<'_>, schema: &Schema, partition_by: &[usize]) -> Result<Self, ConnectorError> {
        let column = |index: &usize| Some((*index, schema.fields().get(*index)?.name().as_str()));
        let columns: Vec<(usize, &str)> = partition_by.iter().filter_map(column).collect();
        let names: Vec<&str> = columns.iter().map(|(_, name)| *name).collect();
        let pieces = options.checked(|table| table.partition_time(&names))?;
        let piece = |piece| match piece {
            connector::TimePiece::Text(text) => Some(TimePiece::Text(text)),
            connector::TimePiece::Column(name) => {
                columns.iter().find(|(_, known)| *known == name).map(|(index, _)| TimePiece::Column(*index))
            }
        };
        Ok(Self(pieces.into_iter().filter_map(piece).collect()))
    }

    /// Microseconds since the Unix epoch; `None` if the partition has no time.
    fn of_row(&self, rows: &RecordBatch, row: usize) -> Result<Option<i64>, ArrowError> {
        let mut text = Vec::new();
        for piece in &self.0 {
            match piece {
                TimePiece::Text(piece) => text.extend_from_slice(piece.as_bytes()),
                TimePiece::Column(index) => {
                    let Some(column) = rows.columns().get(*index).filter(|column| column.is_valid(row)) else {
                        return Ok(None);
                    };
                    PlainColumn::of(column, TimestampForm::Sql)?.write(row, &mut text);
                }
            }
        }
        let moment = std::str::from_utf8(&text).ok().and_then(Moment::read);
        Ok(moment.and_then(|at| at.seconds.checked_mul(1_000_000)?.checked_add(i64::from(at.nanos / 1000))))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{Int32Array, StringViewArray},
        datatypes::{DataType, Field},
    };

    use super::*;
    use crate::testing::sink;

    fn rows() -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("d", DataType::Int32, true),
            Field::new("day", DataType::Utf8View, true),
            Field::new("hour", DataType::Int32, true),
        ]);
        let days = StringViewArray::from(vec![Some("2026-01-01"), None, Some("x")]);
        let (d, hours) = (Int32Array::from(vec![1, 2, 3]), Int32Array::from(vec![9, 10, 11]));
        RecordBatch::try_new(schema.into(), vec![Arc::new(d), Arc::new(days), Arc::new(hours)]).expect("three columns")
    }

    fn extractor(pattern: &str, rows: &RecordBatch, partition_by: &[usize]) -> TimeExtractor {
        let table = sink("filesystem", &[("partition.time-extractor.timestamp-pattern", pattern)]);
        let options = Options::new(&table.table, &table.connector);
        TimeExtractor::of_table(&options, rows.schema_ref(), partition_by).expect("a pattern")
    }

    #[test]
    fn a_pending_partition_goes_where_its_rows_go() {
        let rows = rows();
        let new = || {
            let time = extractor("$day", &rows, &[1]);
            let trigger = Trigger::PartitionTime { delay_micros: 0, time, watermark: Watermark::MIN };
            PartitionCommits::new("_SUCCESS".to_owned(), trigger)
        };
        let directories = BTreeMap::from([("day=2026-01-01".to_owned(), vec![0]), ("day=x".to_owned(), vec![2])]);
        let mut former = new();
        former.came(&rows, &directories, &|row| Some(KeyGroup(row as u16))).expect("readable");
        // As it lies in checkpoints.
        let golden = [
            ("due/day=2026-01-01", 1_767_225_600_000_000),
            ("due/day=x", i64::MAX),
            ("group/day=2026-01-01", 0),
            ("group/day=x", 2),
        ];
        let golden: BTreeMap<String, i64> = golden.map(|(name, value)| (name.to_owned(), value)).into();
        assert_eq!(former.freeze(), golden);
        let state = [golden.clone(), golden];
        let restored = |owns: &dyn Fn(KeyGroup) -> bool| {
            let mut commits = new();
            commits.restore(&state, owns);
            commits
        };
        assert_eq!(restored(&|_| true).pending, former.pending);
        let (mut first, mut other) = (restored(&|group| group.0 == 0), restored(&|group| group.0 == 2));
        for commits in [&mut first, &mut other] {
            commits.on_watermark(Watermark(1_767_225_600_000_000));
        }
        assert_eq!((first.completing(false), first.pending.len()), (vec!["day=2026-01-01".to_owned()], 0));
        assert_eq!((other.completing(false), other.pending.len()), (Vec::new(), 1), "it has no time");

        // Without key groups, whoever is asked may have rows of it.
        let mut unrouted = new();
        unrouted.came(&rows, &directories, &|_| None).expect("readable");
        let mut commits = new();
        commits.restore(&[unrouted.freeze()], &|_| false);
        assert_eq!(commits.pending, unrouted.pending);
    }

    #[test]
    fn the_time_of_a_partition_is_a_text_of_its_columns() {
        let rows = rows();
        let times = |pattern: &str| -> Vec<Option<i64>> {
            let time = extractor(pattern, &rows, &[0, 1, 2]);
            (0..3).map(|row| time.of_row(&rows, row).expect("readable")).collect()
        };
        assert_eq!(times("$day"), [Some(1_767_225_600_000_000), None, None]);
        let hours = [Some(1_767_258_000_000_000), Some(1_767_261_600_000_000), Some(1_767_265_200_000_000)];
        assert_eq!(times("2026-01-01 $hour:00:00"), hours);
    }
}
