//! The sink of a seeded run: files of some format, a topic of Kafka, a stream of Kinesis, or the client that submitted the job.

use std::{fmt, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    compute::cast,
    datatypes::{Schema, SchemaRef},
};
use bytes::Bytes;
use thalweg_kafka::NewTopic;

use super::{delivery::FileDelivery, jobs::JobKind, outputs::OUTPUT, put::StreamSink, written::TopicSink};
use crate::{case::FileFormat, input::Dice, oracle};

/// The directory name that stands for NULL and for the empty text.
const DEFAULT_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// The sink of a run's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// Rows go to files.
    Files {
        format: FileFormat,
        /// The age in milliseconds at which parts close, if they stay open over checkpoints.
        rollover: Option<u64>,
        /// The column that the directories are partitioned by.
        partition: Option<&'static str>,
        /// What else the table says of its files.
        delivery: FileDelivery,
    },
    /// Rows go to the client, by a bare `SELECT`.
    Client,
    /// Rows go to a topic.
    Topic(TopicSink),
    /// Rows go to a stream.
    Stream(StreamSink),
}

impl Sink {
    /// Uses its own dice, so that other parameters of a seed stay the same.
    pub(super) fn draw(seed: u64, job: JobKind, format: FileFormat, reads_stream: bool) -> Self {
        let dice_of_streams = &mut Dice::new(seed ^ 0x57e4_0001_0000);
        // Late rows depend on the order of reading, so that what is repeated would not be the same.
        if dice_of_streams.percent(if reads_stream { 60 } else { 7 }) && !job.has_late() {
            return Self::Stream(StreamSink::draw(dice_of_streams, job));
        }
        let dice = &mut Dice::new(seed ^ 0x9a27_0000);
        let rollover = dice.percent(25).then(|| 100 + dice.below(3000));
        let partition = job.partition_column().filter(|_| dice.percent(30));
        let dice_of_topics = &mut Dice::new(seed ^ 0x70b1_c000_0001);
        if dice_of_topics.percent(21) {
            Self::Topic(TopicSink::draw(dice_of_topics, job))
        } else if dice.percent(15) {
            Self::Client
        } else {
            let delivery = FileDelivery::draw(&mut Dice::new(seed ^ 0xde11_0000_0001), partition);
            Self::Files { format, rollover, partition, delivery }
        }
    }

    /// Whether rows go to files.
    pub(super) fn is_of_files(&self) -> bool {
        matches!(self, Self::Files { .. })
    }

    /// The topic that rows go to, which is there before the job.
    pub(super) fn topic(&self) -> Option<NewTopic> {
        match self {
            Self::Topic(topic) => Some(topic.topic()),
            Self::Files { .. } | Self::Client | Self::Stream(_) => None,
        }
    }

    /// The stream that rows go to.
    pub(super) fn stream(&self) -> Option<&StreamSink> {
        match self {
            Self::Stream(stream) => Some(stream),
            Self::Files { .. } | Self::Client | Self::Topic(_) => None,
        }
    }

    /// The SQL that sends the rows of a query to this sink.
    pub(super) fn statements(&self, columns: &str, query: &str, outputs: &str, has_companion: bool) -> String {
        let (format, rollover, partition, delivery) = match self {
            Self::Files { format, rollover, partition, delivery } => (format, rollover, partition, delivery),
            Self::Client => return format!("{query};\n"),
            Self::Topic(topic) => return topic.statements(columns, query, has_companion),
            Self::Stream(stream) => return stream.statements(columns, query),
        };
        let format = match format {
            FileFormat::Json => "json",
            FileFormat::Csv => "csv",
            FileFormat::Parquet => "parquet",
        };
        let rolling = rollover.map_or_else(String::new, |millis| {
            format!(
                ", 'sink.rolling-policy.on-checkpoint' = 'false', \
                 'sink.rolling-policy.rollover-interval' = '{millis} ms'"
            )
        });
        let delivery = delivery.options(*partition, has_companion);
        let partitioned = partition.map_or_else(String::new, |column| format!("PARTITIONED BY ({column}) "));
        format!(
            "CREATE TABLE sink ({columns}) {partitioned}WITH ('connector' = 'filesystem', \
             'path' = '{outputs}/{OUTPUT}', 'format' = '{format}'{rolling}{delivery});\nINSERT INTO sink {query};\n"
        )
    }

    /// The rows of published files, whose names are relative to the store's root. `is_whole` says that all jobs that
    /// have written them have done all their work.
    ///
    /// # Errors
    /// If a file is damaged, or is in a directory that is not one of the sink's partitions, or is not what the table says.
    pub(super) fn read(
        &self,
        files: Vec<(String, Bytes)>,
        schema: &SchemaRef,
        is_whole: bool,
    ) -> Result<Vec<RecordBatch>> {
        let Self::Files { format, partition, delivery, .. } = self else {
            ensure!(files.is_empty(), "a query without files has written {}", files[0].0);
            return Ok(Vec::new());
        };
        let delivered = FileDelivery::sorted(files);
        if is_whole {
            delivery.check(&delivered)?;
        }
        let read = |(name, bytes): (String, Bytes)| {
            let read = match partition {
                None => oracle::read_bytes(bytes, *format, schema),
                Some(column) => {
                    let value = delivery.value_in(&name, column);
                    value.and_then(|value| read_partition(&value, bytes, *format, (column, schema)))
                }
            };
            read.with_context(|| format!("in {name}"))
        };
        Ok(delivered.data.into_iter().map(read).collect::<Result<Vec<_>>>()?.concat())
    }
}

/// Reads a file and inserts the column of which the directory's name has this value.
fn read_partition(
    value: &str,
    bytes: Bytes,
    format: FileFormat,
    (column, schema): (&str, &SchemaRef),
) -> Result<Vec<RecordBatch>> {
    let value = if value == DEFAULT_PARTITION { None } else { Some(unescaped(value)?) };
    let at = schema.index_of(column)?;
    let kept: Vec<usize> = (0..schema.fields().len()).filter(|index| *index != at).collect();
    let kept: SchemaRef = Arc::new(schema.project(&kept)?);
    let widen = |batch: RecordBatch| {
        let texts: StringArray = std::iter::repeat_n(value.as_deref(), batch.num_rows()).collect();
        let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
        columns.insert(at, cast(&texts, schema.field(at).data_type())?);
        Ok(RecordBatch::try_new(nullable(schema), columns)?)
    };
    oracle::read_bytes(bytes, format, &kept)?.into_iter().map(widen).collect()
}

fn nullable(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Replaces each `%XX` by its character.
fn unescaped(text: &str) -> Result<String> {
    let mut parts = text.split('%');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_at_checked(2).with_context(|| format!("a lone % in {text}"))?;
        plain.push(u8::from_str_radix(code, 16).with_context(|| format!("%{code} in {text}"))?.into());
        plain.push_str(rest);
    }
    Ok(plain)
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (format, rollover, partition, delivery) = match self {
            Self::Files { format, rollover, partition, delivery } => (format, rollover, partition, delivery),
            Self::Client => return f.write_str("rows to the client"),
            Self::Topic(topic) => return topic.fmt(f),
            Self::Stream(stream) => return stream.fmt(f),
        };
        write!(f, "{format:?} output")?;
        if let Some(millis) = rollover {
            write!(f, ", parts of up to {millis} ms")?;
        }
        if let Some(column) = partition {
            write!(f, ", by {column}")?;
        }
        delivery.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_name_values() {
        assert_eq!(unescaped("2026-01-01 00%3A00%3A01").unwrap(), "2026-01-01 00:00:01");
        assert!(unescaped("a%2").is_err() && unescaped("%zz").is_err());
    }

    #[test]
    fn sinks_of_all_kinds_are_drawn() {
        let drawn: Vec<String> =
            (0..100).map(|seed| Sink::draw(seed, JobKind::Filter, FileFormat::Csv, false).to_string()).collect();
        for kind in
            ["client", "parts of up to", "by tag", "topic of", "tag apart", "round-robin", "prefix", "stream of"]
        {
            assert!(drawn.iter().any(|sink| sink.contains(kind)), "no {kind}");
        }
        for kind in ["without rows", "merged up to", "complete after", "by a template", "manifests"] {
            assert!(drawn.iter().any(|sink| sink.contains(kind)), "no {kind}");
        }
        let by_time = (0..100).map(|seed| Sink::draw(seed, JobKind::Tumble, FileFormat::Csv, false).to_string());
        assert!(by_time.into_iter().any(|sink| sink.contains("complete by time")));
    }
}
