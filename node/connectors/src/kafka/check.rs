//! The look at the cluster before a job runs: is there one, does it let the table's client in, are the topics there.

use std::time::Duration;

use thalweg_kafka::{KafkaError, Topic};

use super::{
    faults::{answered, failed, is_passing, of_client},
    new_topic,
    options::Topics,
    table::KafkaTable,
};
use crate::ConnectorError;

/// Whoever submits a job waits for this.
const CHECKED_WITHIN: Duration = Duration::from_secs(13);

/// Checks that the topics of a table can be asked about. `patient`: brokers that do not answer now may do so later.
pub(super) async fn check(table: &KafkaTable, patient: bool) -> Result<(), ConnectorError> {
    let refused = |reason: String| ConnectorError::Config { table: table.name.clone(), reason };
    let servers = &table.servers;
    let topics = &table.options.topics;
    let (admin, wanted) = (table.admin().await?, topics.wanted());
    let are_there = |found: &[Topic]| patient || table.missing(found).next().is_none();
    let found = match answered(CHECKED_WITHIN, new_topic::topics(admin.as_ref(), &wanted, are_there)).await {
        Ok(found) => found,
        Err(error) if is_passing(&error) && patient => return Ok(()),
        Err(error) => {
            let at = format!("'properties.bootstrap.servers' = '{servers}'");
            return Err(match error {
                KafkaError::Config { reason } => refused(of_client(&reason)),
                KafkaError::Denied { reason } => {
                    let see = "'properties.security.protocol' and 'properties.sasl.*' say who asks, and how";
                    refused(format!("{at} refuses to tell of {}: {reason}: {see}", named(topics)))
                }
                KafkaError::Unavailable { reason } | KafkaError::Broken { reason } => {
                    refused(format!("{at} cannot be asked for {}: {reason}", named(topics)))
                }
                other @ (KafkaError::NoTopic { .. }
                | KafkaError::OffsetOutOfRange { .. }
                | KafkaError::Refused { .. }
                | KafkaError::Fenced { .. }
                | KafkaError::Aborted { .. }) => failed(&table.name, format!("ask {servers} for topics"), other),
            });
        }
    };
    // A topic that was deleted while the job did not run is for the rule of data loss.
    match table.missing(&found).next() {
        Some(missing) if !patient => {
            Err(refused(format!("option 'topic': there is no topic '{missing}' at {servers}")))
        }
        Some(_) | None => Ok(()),
    }
}

fn named(topics: &Topics) -> String {
    match topics {
        Topics::Named(names) => {
            let names: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
            format!("'topic' {}", names.join(", "))
        }
        Topics::Pattern(_) => "the topics of 'topic-pattern'".to_owned(),
    }
}
