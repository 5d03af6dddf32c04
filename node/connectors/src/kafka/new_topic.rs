//! Questions about topics that may have been made just now: for some seconds not all brokers know them, and one of these may be asked.

use std::time::Duration;

use thalweg_kafka::{Admin, KafkaError, Topic, Wanted};
use tokio::time::sleep;

const ASKED_EVERY: Duration = Duration::from_millis(200);
/// How many times: for three seconds.
const ASKED_MAX: u32 = 15;

/// Topics, asked for until they are all there, as `are_there` has it, or for some seconds.
///
/// # Errors
/// That of the first question that fails.
pub(super) async fn topics(
    admin: &dyn Admin,
    wanted: &Wanted,
    are_there: impl Fn(&[Topic]) -> bool,
) -> Result<Vec<Topic>, KafkaError> {
    let mut asked = 1;
    loop {
        let found = admin.topics(wanted).await?;
        if are_there(&found) || asked == ASKED_MAX {
            return Ok(found);
        }
        asked += 1;
        sleep(ASKED_EVERY).await;
    }
}

/// A value of a topic's configuration; `None`: brokers do not tell.
///
/// # Errors
/// `NoTopic` if it is still not known after some seconds; that of any other question that fails.
pub(super) async fn config(admin: &dyn Admin, topic: &str, key: &str) -> Result<Option<String>, KafkaError> {
    let mut asked = 1;
    loop {
        let told = admin.topic_config(topic, key).await;
        if !matches!(told, Err(KafkaError::NoTopic { .. })) || asked == ASKED_MAX {
            return told;
        }
        asked += 1;
        sleep(ASKED_EVERY).await;
    }
}
