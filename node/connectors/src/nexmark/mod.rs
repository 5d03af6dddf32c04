//! The Nexmark auction events: persons, auctions and bids, generated column by column.
//!
//! Event `n` depends only on the seed and `n`: any number of splits, parallelism or batch size gives the same events.
//! Splits interleave blocks of consecutive events (split `s` of `k` has the blocks `b` with `b % k == s`), so that
//! event time advances evenly over them.

mod batch;
mod model;
mod strings;

use std::{sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use thalweg_types::{
    Split,
    graph::{ColumnPredicate, Comparison, PredicateValue, SourceOperator},
    seam::Clock,
};

use self::{
    batch::Generator,
    model::{Kind, Model},
};
use crate::{
    ConnectorError, Read, Source, SplitReader,
    connector::Connector,
    interleave::{BLOCK_ROWS, Interleaved, Pace, block_rows},
    json::timestamp,
    options::Options,
    sizes::fitting_rows,
};

/// The most blocks that one read searches, if a predicate leaves few of their events.
const BLOCKS_PER_READ_MAX: u64 = 64;

pub(crate) const CONNECTOR: Connector = Connector {
    name: "nexmark",
    source: Some(|table| {
        let clock = table.context.seams.clock.clone();
        Ok(Box::new(NexmarkSource::new(table.spec, table.batch_rows, clock)?))
    }),
    sink: None,
};

/// The table of all events.
#[derive(Debug)]
struct NexmarkSource {
    generator: Arc<Generator>,
    clock: Arc<dyn Clock>,
    events: Option<u64>,
    splits: u64,
    real_time: Option<f64>,
    batch_rows: usize,
}

impl NexmarkSource {
    fn new(spec: &SourceOperator, batch_rows: usize, clock: Arc<dyn Clock>) -> Result<Self, ConnectorError> {
        let options = Options::new(&spec.table, &spec.connector);
        let rate: f64 = options.number("events.rate")?.unwrap_or(100_000.0);
        if !(rate > 0.0 && rate <= 1e9) {
            return Err(options.error("option 'events.rate' must be above 0 and at most 1e9"));
        }
        let read_time = |text: &str| timestamp::parse(text.as_bytes()).map(|moment| moment.seconds * 1000);
        let model = Model::new(
            options.number("seed")?.unwrap_or(42),
            options.parsed("start-time", read_time, "a time such as '2026-01-01 00:00:00'")?.unwrap_or(0),
            Duration::from_secs_f64(1.0 / rate),
            options.duration("max-out-of-orderness")?.unwrap_or_default(),
        );
        let is_real_time = options.text("events.speed") == Some("real-time");
        Ok(Self {
            generator: Arc::new(
                Generator::new(model, spec.physical.clone(), wanted_kinds(&spec.predicates))
                    .map_err(|reason| options.error(reason))?,
            ),
            clock,
            events: options.number("events.num")?,
            splits: options.number("events.splits")?.unwrap_or(8),
            real_time: is_real_time.then_some(rate),
            batch_rows,
        })
    }
}

/// The kinds of events that predicates on `event_type` allow.
fn wanted_kinds(predicates: &[ColumnPredicate]) -> Vec<Kind> {
    let allows = |predicate: &ColumnPredicate, kind: Kind| {
        let [column] = predicate.path.as_slice() else { return true };
        let Some(PredicateValue::Integer(value)) = predicate.value else { return true };
        if !column.eq_ignore_ascii_case("event_type") {
            return true;
        }
        let number = i64::from(kind.number());
        match predicate.comparison {
            Comparison::Equal => number == value,
            Comparison::NotEqual => number != value,
            Comparison::Less
            | Comparison::LessOrEqual
            | Comparison::Greater
            | Comparison::GreaterOrEqual
            | Comparison::IsNull
            | Comparison::IsNotNull => true,
        }
    };
    let is_wanted = |kind: &Kind| predicates.iter().all(|predicate| allows(predicate, *kind));
    Kind::ALL.into_iter().filter(is_wanted).collect()
}

#[async_trait]
impl Source for NexmarkSource {
    async fn discover(&self) -> Result<Vec<Split>, ConnectorError> {
        Ok(Interleaved::splits(self.splits, block_rows(self.real_time)))
    }

    async fn open(&self, split: &Split) -> Result<Box<dyn SplitReader>, ConnectorError> {
        let place = Interleaved::of(split)?;
        let pace = self.real_time.map(|rate| Pace::new(self.clock.clone(), rate, &place));
        Ok(Box::new(NexmarkReader {
            split: split.clone(),
            place,
            generator: self.generator.clone(),
            events: self.events.unwrap_or(u64::MAX),
            batch_rows: self.batch_rows.min(usize::try_from(BLOCK_ROWS).unwrap_or(usize::MAX)),
            numbers: Vec::new(),
            pace,
        }))
    }
}

struct NexmarkReader {
    split: Split,
    place: Interleaved,
    generator: Arc<Generator>,
    events: u64,
    /// At most a block of rows, and no more than were found to fit into a batch.
    batch_rows: usize,
    numbers: Vec<u64>,
    pace: Option<Pace>,
}

impl NexmarkReader {
    /// The rows that fit into a batch. The next call generates the others again, and takes fewer at once.
    fn cut(&mut self, batch: RecordBatch) -> RecordBatch {
        let rows = fitting_rows(&batch);
        let Some(next) = self.numbers.get(rows) else { return batch };
        self.place.next = *next;
        self.batch_rows = rows;
        batch.slice(0, rows)
    }

    /// Takes the numbers of the next wanted events.
    fn take_numbers(&mut self) {
        self.numbers.clear();
        let mut blocks = 0;
        while self.place.next < self.events && blocks < BLOCKS_PER_READ_MAX {
            let room = self.batch_rows - self.numbers.len();
            let end = self.place.block_end().min(self.events);
            let end = self.generator.take_wanted(self.place.next..end, room, &mut self.numbers);
            blocks += 1;
            self.place.advance(end);
            let is_filtered = !self.generator.wants_all();
            if !is_filtered || self.numbers.len() >= self.batch_rows || self.pace.is_some() {
                return;
            }
        }
    }
}

#[async_trait]
impl SplitReader for NexmarkReader {
    async fn next(&mut self) -> Result<Read, ConnectorError> {
        if self.place.next >= self.events {
            return Ok(Read::End);
        }
        if let Some(pace) = &mut self.pace {
            let rows = u64::try_from(self.batch_rows).unwrap_or(u64::MAX);
            let last = self.place.block_end().min(self.place.next.saturating_add(rows)).min(self.events) - 1;
            pace.wait(last).await;
        }
        self.take_numbers();
        let batch = self.generator.generate(&self.numbers).map_err(|error| ConnectorError::Data {
            attempted: "generate events".to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Read::Records { batch: self.cut(batch), dead_letters: Vec::new() })
    }

    fn position(&self) -> Split {
        Split { payload: self.place.to_value(), ..self.split.clone() }
    }
}

#[cfg(test)]
mod tests;
