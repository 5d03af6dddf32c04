//! Records per second of source and sink, per core of processor time, against librdkafka's own client.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::{
    KafkaArgs,
    client::{self, Topics},
    pipeline,
    runs::{Run, run},
    variant::Variant,
};
use crate::figures::{Report, Row, largest, median};

/// The medians of a variant's runs.
#[derive(Debug, Serialize)]
struct Throughput {
    what: String,
    records: u64,
    /// Bytes of a record's value, as a mean.
    record_bytes: f64,
    records_per_second: f64,
    mb_per_second: f64,
    /// By processor time: what one core that is busy all the time would do.
    records_per_core_second: f64,
    mb_per_core_second: f64,
    cpu_ns_per_record: f64,
    peak_rss_mib: f64,
    /// Records per core second, to those of librdkafka's own client in the same turn; `None` for itself.
    ratio_to_client: Option<f64>,
}

impl Row for Throughput {
    const TITLES: &'static [&'static str] = &[
        "what                ",
        "records",
        "bytes each",
        "records/s",
        "MB/s",
        "records/core s",
        "MB/core s",
        "cpu ns/record",
        "peak RSS MiB",
        "ratio to client",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.what.clone(),
            self.records.to_string(),
            format!("{:.1}", self.record_bytes),
            format!("{:.0}", self.records_per_second),
            format!("{:.1}", self.mb_per_second),
            format!("{:.0}", self.records_per_core_second),
            format!("{:.1}", self.mb_per_core_second),
            format!("{:.0}", self.cpu_ns_per_record),
            format!("{:.1}", self.peak_rss_mib),
            self.ratio_to_client.map_or_else(String::new, |ratio| format!("{ratio:.3}")),
        ]
    }
}

/// Reads one topic by each way, in turns.
pub(super) async fn source(args: &KafkaArgs, servers: &str) -> Result<()> {
    let mut topics = Topics::new(servers)?;
    let mut report = Report::new(args.json);
    for (format, ways) in
        [("raw", [Variant::ClientRead, Variant::ReadRaw]), ("json", [Variant::ClientRead, Variant::ReadJson])]
    {
        let topic = topics.create(format, args.partitions).await?;
        let bytes = fill(args, (servers, &topic), format == "json")?;
        let mut runs = Turns::default();
        for _ in 0..args.repeat {
            for way in ways {
                runs.add(way, run(args, servers, way, &topic).await?);
            }
        }
        for way in ways {
            report.row(&runs.row(args.records, bytes, (way, format), Some(Variant::ClientRead))?)?;
        }
        topics.delete(&topic).await?;
    }
    Ok(())
}

/// Writes records into a topic. Returns the bytes of their values.
fn fill(args: &KafkaArgs, (servers, topic): (&str, &str), is_json: bool) -> Result<u64> {
    let writer = client::Writer::new(servers, None)?;
    let texts = pipeline::texts(args.bytes);
    let mut bytes = 0;
    for number in 0..args.records {
        let text = &texts[usize::try_from(number)? % texts.len()];
        let partition = i32::try_from(number % u64::from(args.partitions))?;
        if is_json {
            let value = format!(r#"{{"id":{number},"payload":"{text}"}}"#);
            bytes += value.len() as u64;
            writer.send(topic, partition, value.as_bytes())?;
        } else {
            bytes += text.len() as u64;
            writer.send(topic, partition, text.as_bytes())?;
        }
        writer.poll();
    }
    writer.flush()?;
    Ok(bytes)
}

/// Which of librdkafka's own ways a way of the connector is held against.
const SINKS: &[(Variant, Option<Variant>)] = &[
    (Variant::Generate, None),
    (Variant::ClientWrite, Some(Variant::ClientWrite)),
    (Variant::WriteRaw, Some(Variant::ClientWrite)),
    (Variant::WriteJson, Some(Variant::ClientWrite)),
    (Variant::ClientTransactions, Some(Variant::ClientTransactions)),
    (Variant::WriteRawOnce, Some(Variant::ClientTransactions)),
    (Variant::WriteJsonOnce, Some(Variant::ClientTransactions)),
];

/// Writes a topic by each way, in turns, each time a new one. What was written is counted afterwards.
pub(super) async fn sink(args: &KafkaArgs, servers: &str) -> Result<()> {
    let mut topics = Topics::new(servers)?;
    let (mut runs, mut bytes) = (Turns::default(), BTreeMap::new());
    for _ in 0..args.repeat {
        for (way, _) in SINKS {
            let topic = topics.create(&way.word(), args.partitions).await?;
            runs.add(*way, run(args, servers, *way, &topic).await?);
            if *way != Variant::Generate {
                bytes.insert(*way, client::read(servers, &topic, args.records)?);
                ensure!(!client::has_more(servers, &topic, args.records)?, "{} wrote too much", way.word());
            }
            topics.delete(&topic).await?;
        }
    }
    let mut report = Report::new(args.json);
    for (way, against) in SINKS {
        let bytes = bytes.get(way).copied().unwrap_or_default();
        report.row(&runs.row(args.records, bytes, (*way, ""), *against)?)?;
    }
    Ok(())
}

/// The runs of each way, by turns.
#[derive(Default)]
struct Turns(BTreeMap<Variant, Vec<Run>>);

impl Turns {
    fn add(&mut self, way: Variant, run: Run) {
        self.0.entry(way).or_default().push(run);
    }

    fn of(&self, way: Variant) -> Result<&[Run]> {
        self.0.get(&way).map(Vec::as_slice).context("it was not run")
    }

    fn row(
        &self,
        records: u64,
        bytes: u64,
        (way, what): (Variant, &str),
        against: Option<Variant>,
    ) -> Result<Throughput> {
        let (runs, count, megabytes) = (self.of(way)?, records as f64, bytes as f64 / 1e6);
        let middle = |figure: &dyn Fn(&Run) -> f64| median(runs.iter().map(figure).collect());
        let ratio = match against.filter(|against| *against != way) {
            Some(client) => {
                let pairs = self.of(client)?.iter().zip(runs);
                Some(median(pairs.map(|(client, own)| client.cpu_seconds / own.cpu_seconds).collect()))
            }
            None => None,
        };
        Ok(Throughput {
            what: format!("{} {what}", way.word()).trim().to_owned(),
            records,
            record_bytes: bytes as f64 / count,
            records_per_second: middle(&|run| count / run.seconds),
            mb_per_second: middle(&|run| megabytes / run.seconds),
            records_per_core_second: middle(&|run| count / run.cpu_seconds),
            mb_per_core_second: middle(&|run| megabytes / run.cpu_seconds),
            cpu_ns_per_record: middle(&|run| run.cpu_seconds * 1e9 / count),
            peak_rss_mib: largest(runs.iter().map(|run| run.peak_rss_mib)),
            ratio_to_client: ratio,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_twice_the_processor_time_of_the_client_has_half_its_rate() {
        let mut turns = Turns::default();
        let took = |cpu_seconds| Run { seconds: 4.0, cpu_seconds, peak_rss_mib: 1.0 };
        for noise in [1.0, 1.5, 0.5] {
            turns.add(Variant::ClientRead, took(noise));
            turns.add(Variant::ReadRaw, took(2.0 * noise));
        }
        let row = turns.row(1000, 100_000, (Variant::ReadRaw, "raw"), Some(Variant::ClientRead)).expect("it was run");
        assert_eq!(
            (row.ratio_to_client, row.records_per_core_second, row.records_per_second),
            (Some(0.5), 500.0, 250.0)
        );
        let client =
            turns.row(1000, 100_000, (Variant::ClientRead, "raw"), Some(Variant::ClientRead)).expect("it was run");
        assert_eq!(
            (client.ratio_to_client, client.mb_per_core_second, client.what.as_str()),
            (None, 0.1, "client-read raw")
        );
    }
}
