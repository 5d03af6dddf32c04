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
use thalweg_types::{KeyGroup, Watermark};

use super::names::Marker;
use crate::{
    ConnectorError,
    json::{PlainColumn, timestamp::TimestampForm},
    options::Options,
};

const POLICY: &str = "sink.partition-commit.policy.kind";
const FILE_NAME: &str = "sink.partition-commit.success-file.name";
const TRIGGER: &str = "sink.partition-commit.trigger";
const DELAY: &str = "sink.partition-commit.delay";
const TIME_PATTERN: &str = "partition.time-extractor.timestamp-pattern";

/// The longest name of a success file. File systems take 255 bytes, and it has a longer one before it is whole.
const NAME_BYTES_MAX: usize = 100;

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
        if options.text(POLICY).is_none() {
            return Ok(None);
        }
        if !is_partitioned {
            return Err(options.error(format!("option '{POLICY}' needs a table that is PARTITIONED BY columns")));
        }
        let file = options.required(FILE_NAME)?.to_owned();
        if let Some(reason) = unfit_name(&file) {
            return Err(options.error(format!("option '{FILE_NAME}' = '{file}' {reason}")));
        }
        let delay = options.duration(DELAY)?.unwrap_or_default();
        let trigger = if options.text(TRIGGER) == Some("partition-time") {
            let pattern = options.required(TIME_PATTERN)?;
            let time = TimeExtractor::read(pattern, schema, partition_by)
                .map_err(|reason| options.error(format!("option '{TIME_PATTERN}' = '{pattern}': {reason}")))?;
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
                        "more than {TIMELESS_MAX} partitions have no time by '{TIME_PATTERN}': no file tells that this one \
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

/// Why a file cannot have this name, if so: else it would only be found when the first partition is complete.
fn unfit_name(name: &str) -> Option<&'static str> {
    if name.contains('/') || !name.starts_with('_') {
        return Some("is no name of a file that begins with _, so that readers pass it over");
    }
    if name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Some("is too long, or has characters that cannot be seen");
    }
    None
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl TimeExtractor {
    /// Reads a pattern such as `$day $hour:00:00`, with columns of partitions.
    fn read(pattern: &str, schema: &Schema, partition_by: &[usize]) -> Result<Self, String> {
        let named =
            || partition_by.iter().filter_map(|index| Some((*index, schema.fields().get(*index)?.name().as_str())));
        let mut pieces = Vec::new();
        let mut parts = pattern.split('$');
        pieces.extend(parts.next().filter(|text| !text.is_empty()).map(|text| TimePiece::Text(text.to_owned())));
        for part in parts {
            // The longest name, lest $day is taken for a column d.
            let found = named().filter(|(_, name)| part.starts_with(name)).max_by_key(|(_, name)| name.len());
            let (index, name) = found.ok_or_else(|| format!("'${part}' begins with no column of PARTITIONED BY"))?;
            pieces.push(TimePiece::Column(index));
            if part.len() > name.len() {
                pieces.push(TimePiece::Text(part[name.len()..].to_owned()));
            }
        }
        if pieces.iter().any(|piece| matches!(piece, TimePiece::Column(_))) {
            Ok(Self(pieces))
        } else {
            Err("it has no column of PARTITIONED BY, such as $day".to_owned())
        }
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

    #[test]
    fn a_pending_partition_goes_where_its_rows_go() {
        let rows = rows();
        let new = || {
            let time = TimeExtractor::read("$day", rows.schema_ref(), &[1]).expect("a pattern");
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
        let read = |pattern: &str| TimeExtractor::read(pattern, rows.schema_ref(), &[0, 1, 2]);
        let times = |pattern: &str| -> Vec<Option<i64>> {
            let time = read(pattern).expect("a pattern");
            (0..3).map(|row| time.of_row(&rows, row).expect("readable")).collect()
        };
        assert_eq!(times("$day"), [Some(1_767_225_600_000_000), None, None]);
        let hours = [Some(1_767_258_000_000_000), Some(1_767_261_600_000_000), Some(1_767_265_200_000_000)];
        assert_eq!(times("2026-01-01 $hour:00:00"), hours);
        assert!(read("$x").expect_err("unknown").contains("'$x' begins with no column"));
        assert!(read("2026-01-01").expect_err("the same for ever").contains("no column"));
    }
}
