//! The sink of a seeded run: files of some format, a topic of Kafka, or the client that submitted the job.

use std::{fmt, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    compute::cast,
    datatypes::{Schema, SchemaRef},
};
use bytes::Bytes;
use thalweg_kafka::NewTopic;

use super::{jobs::JobKind, outputs::OUTPUT, written::TopicSink};
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
    },
    /// Rows go to the client, by a bare `SELECT`.
    Client,
    /// Rows go to a topic.
    Topic(TopicSink),
}

impl Sink {
    /// Uses its own dice, so that other parameters of a seed stay the same.
    pub(super) fn draw(seed: u64, job: JobKind, format: FileFormat) -> Self {
        let dice = &mut Dice::new(seed ^ 0x9a27_0000);
        let rollover = dice.percent(25).then(|| 100 + dice.below(3000));
        let partition = job.partition_column().filter(|_| dice.percent(30));
        let dice_of_topics = &mut Dice::new(seed ^ 0x70b1_c000_0001);
        if dice_of_topics.percent(21) {
            Self::Topic(TopicSink::draw(dice_of_topics, job))
        } else if dice.percent(15) {
            Self::Client
        } else {
            Self::Files { format, rollover, partition }
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
            Self::Files { .. } | Self::Client => None,
        }
    }

    /// The SQL that sends the rows of a query to this sink.
    pub(super) fn statements(&self, columns: &str, query: &str, outputs: &str, has_companion: bool) -> String {
        let (format, rollover, partition) = match self {
            Self::Files { format, rollover, partition } => (format, rollover, partition),
            Self::Client => return format!("{query};\n"),
            Self::Topic(topic) => return topic.statements(columns, query, has_companion),
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
        let partitioned = partition.map_or_else(String::new, |column| format!("PARTITIONED BY ({column}) "));
        format!(
            "CREATE TABLE sink ({columns}) {partitioned}WITH ('connector' = 'filesystem', \
             'path' = '{outputs}/{OUTPUT}', 'format' = '{format}'{rolling});\nINSERT INTO sink {query};\n"
        )
    }

    /// The rows of published files, whose names are relative to the store's root.
    ///
    /// # Errors
    /// If a file is damaged, or is in a directory that is not one of the sink's partitions.
    pub(super) fn read(&self, files: Vec<(String, Bytes)>, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
        let Self::Files { format, partition, .. } = self else {
            ensure!(files.is_empty(), "a query without files has written {}", files[0].0);
            return Ok(Vec::new());
        };
        let read = |(name, bytes): (String, Bytes)| {
            let read = match partition {
                None => oracle::read_bytes(bytes, *format, schema),
                Some(column) => read_partition(&name, bytes, *format, (column, schema)),
            };
            read.with_context(|| format!("in {name}"))
        };
        Ok(files.into_iter().map(read).collect::<Result<Vec<_>>>()?.concat())
    }
}

/// Reads a file and inserts the column that the directory's name holds.
fn read_partition(
    name: &str,
    bytes: Bytes,
    format: FileFormat,
    (column, schema): (&str, &SchemaRef),
) -> Result<Vec<RecordBatch>> {
    let prefix = format!("{OUTPUT}/{column}=");
    let value = name.strip_prefix(&prefix).and_then(|rest| rest.split_once('/'));
    let (value, _) = value.with_context(|| format!("it does not lie in {prefix}.."))?;
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
        let (format, rollover, partition) = match self {
            Self::Files { format, rollover, partition } => (format, rollover, partition),
            Self::Client => return f.write_str("rows to the client"),
            Self::Topic(topic) => return topic.fmt(f),
        };
        write!(f, "{format:?} output")?;
        if let Some(millis) = rollover {
            write!(f, ", parts of up to {millis} ms")?;
        }
        partition.map_or(Ok(()), |column| write!(f, ", by {column}"))
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
            (0..100).map(|seed| Sink::draw(seed, JobKind::Filter, FileFormat::Csv).to_string()).collect();
        for kind in ["client", "parts of up to", "by tag", "topic of", "tag apart", "round-robin", "prefix"] {
            assert!(drawn.iter().any(|sink| sink.contains(kind)), "no {kind}");
        }
    }
}
