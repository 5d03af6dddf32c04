//! Discards rows; at a limited rate if the table sets one, to imitate a slow sink.

use std::{sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use thalweg_types::{graph::SinkOperator, seam::Clock};

use crate::{
    ConnectorError, Sealing, SinkWriter,
    connector::{Connector, Sink, publishes_nothing},
    nothing_to_seal,
    options::Options,
};

pub(crate) const CONNECTOR: Connector = Connector {
    name: "blackhole",
    source: None,
    sink: Some(Sink {
        writer: |table, _| Ok(Box::new(BlackholeWriter::new(table.spec, table.context.seams.clock.clone())?)),
        committer: publishes_nothing,
        check: None,
    }),
};

struct BlackholeWriter {
    throttle: Option<Throttle>,
}

struct Throttle {
    clock: Arc<dyn Clock>,
    rows_per_second: f64,
    /// The monotonic time at which the rate allows the next row.
    free_at: Duration,
}

impl Throttle {
    async fn take(&mut self, rows: usize) {
        let now = self.clock.monotonic();
        let cost = Duration::from_secs_f64(rows as f64 / self.rows_per_second);
        self.free_at = self.free_at.max(now) + cost;
        tokio::time::sleep(self.free_at - now).await;
    }
}

impl BlackholeWriter {
    fn new(spec: &SinkOperator, clock: Arc<dyn Clock>) -> Result<Self, ConnectorError> {
        let options = Options::new(&spec.table, &spec.connector);
        let rate: Option<f64> = options.number("rows-per-second")?;
        if rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
            return Err(options.error("option 'rows-per-second' must be above 0"));
        }
        let throttle = rate.map(|rows_per_second| Throttle { clock, rows_per_second, free_at: Duration::ZERO });
        Ok(Self { throttle })
    }
}

#[async_trait]
impl SinkWriter for BlackholeWriter {
    async fn write(&mut self, batch: &RecordBatch) -> Result<(), ConnectorError> {
        if let Some(throttle) = &mut self.throttle {
            throttle.take(batch.num_rows()).await;
        }
        Ok(())
    }

    async fn seal(&mut self) -> Result<Sealing, ConnectorError> {
        Ok(nothing_to_seal())
    }
}
