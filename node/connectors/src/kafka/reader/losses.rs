//! Records of a partition that are gone before they were read.

use thalweg_kafka::{KafkaError, OutOfRange};

use super::KafkaReader;
use crate::{
    ConnectorError, Read,
    kafka::{faults::is_passing, options::OnLoss},
};

impl KafkaReader {
    /// The rest of the partition is gone, and nothing follows it.
    pub(super) fn lose_rest(&mut self, why: String, then: String) -> Result<(), ConnectorError> {
        let records = match self.open.end().filter(|end| *end > self.position) {
            Some(end) => format!("its records from {} on are lost, at least those before {end}", self.position),
            None => format!("its records from {} on are lost, if there were any", self.position),
        };
        self.lose(&format!("{why}: {records}"), &then)?;
        self.partition = None;
        self.is_over = true;
        Ok(())
    }

    /// Records are lost: an error, or a warning.
    fn lose(&self, what: &str, then: &str) -> Result<(), ConnectorError> {
        let (at, position) = (self.at(), self.position);
        match self.table.options.on_loss {
            OnLoss::Fail => Err(ConnectorError::Data {
                attempted: format!("read {at} from offset {position}"),
                reason: format!("{what}; with 'scan.on-data-loss' = 'skip', {then}"),
            }),
            OnLoss::Skip => {
                self.table.notices.tell(&format!("lost {at}@{position}"), || format!("{at}: {what}; {then}"));
                Ok(())
            }
        }
    }

    /// Finds out which offsets the partition has, since it does not have the position.
    pub(super) async fn find_range(&mut self, why: OutOfRange) -> Result<Option<Read>, ConnectorError> {
        let (first, end) = match self.table.range(&self.split.partition.at).await {
            Ok(range) => range,
            Err(error) if is_passing(&error) => return Ok(Some(self.wait_after(&error))),
            Err(KafkaError::NoTopic { .. }) => {
                self.doubt();
                return Ok(None);
            }
            Err(error) => return Err(self.failed(error)),
        };
        let position = self.position;
        let next = if let OutOfRange::CutBack { end: same_until } = why {
            let next = same_until.unwrap_or(position).clamp(first, end.max(first));
            let place = same_until.map_or_else(String::new, |same_until| format!(" to {same_until}"));
            self.lose(
                &format!(
                    "its log was cut back{place}, as by a leader that did not have all: records that had been read are not there any \
                     more, and others may stand in their place"
                ),
                &format!("it goes on from {next}"),
            )?;
            next
        } else if position < first {
            let lost = first - position;
            self.lose(
                &format!("the first record that is kept is {first}, so {lost} are lost: they went by retention before they were read"),
                &format!("it goes on from {first}"),
            )?;
            first
        } else if position > end {
            self.lose(
                &format!("it ends at {end}: what had been read behind that is lost there, or never was"),
                &format!("it goes on from {end}"),
            )?;
            end
        } else {
            // It came into range meanwhile.
            position
        };
        // What had been read is not what stands before this position.
        (self.out_of_range, self.last_read) = (None, None);
        self.set_position(next);
        Ok(None)
    }
}
