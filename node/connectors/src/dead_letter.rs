//! Keeps records that could not be read: JSON lines with position, reason and the record as found.
//!
//! The files are hidden part files until they are published, like those of the filesystem sink: an attempt that fails leaves
//! nothing visible, and the records are set aside once however often the job is restarted.

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;
use thalweg_types::{ClusterId, JobId};

use crate::{
    ConnectorContext, ConnectorError, DeadLetter, SinkCommitter, SinkIdentity,
    filesystem::{
        Location, PartCommitter,
        parts::{PartNames, PartWriter},
    },
};

const STEM: &str = "dead-letter";

/// How a dead letter is written.
#[derive(Serialize)]
struct Line<'a> {
    position: &'a str,
    reason: &'a str,
    record: &'a str,
}

/// Writes the dead letters of one source subtask. Its identity names the source as the sink.
#[derive(Debug)]
pub struct DeadLetterWriter {
    parts: PartWriter,
    committer: PartCommitter,
}

impl DeadLetterWriter {
    /// A writer into the table's `dead-letter.path`.
    ///
    /// # Errors
    /// When the directory cannot be created or the store cannot be opened.
    pub fn open(path: &str, identity: SinkIdentity, context: &ConnectorContext) -> Result<Self, ConnectorError> {
        let location = Location::new(path, &context.stores)?;
        let parts = PartWriter::new(&location, PartNames { stem: STEM, extension: "json", identity })?;
        Ok(Self { parts, committer: PartCommitter::new(&location, STEM) })
    }

    /// Takes records that could not be read.
    ///
    /// # Errors
    /// When they cannot be written.
    pub async fn write(&mut self, letters: &[DeadLetter]) -> Result<(), ConnectorError> {
        if letters.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for DeadLetter { position, reason, record } in letters {
            serde_json::to_writer(&mut lines, &Line { position, reason, record }).expect("texts can be written");
            lines.push(b'\n');
        }
        self.parts.write(&lines).await
    }

    /// Makes what was written durable, and returns what `DeadLetterCommitter` needs to publish it.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub async fn prepare(&mut self) -> Result<Vec<Value>, ConnectorError> {
        Ok(self.parts.finish().await?.map(|part| part.to_value()).into_iter().collect())
    }

    /// Makes what was written durable and publishes it at once.
    ///
    /// # Errors
    /// When it cannot be published.
    pub async fn finish(&mut self) -> Result<(), ConnectorError> {
        let committables = self.prepare().await?;
        self.committer.commit(&committables).await
    }
}

/// Publishes the dead letters of a table.
#[derive(Debug)]
pub struct DeadLetterCommitter {
    parts: PartCommitter,
}

impl DeadLetterCommitter {
    /// A committer for the table's `dead-letter.path`.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub fn open(path: &str, context: &ConnectorContext) -> Result<Self, ConnectorError> {
        Ok(Self { parts: PartCommitter::new(&Location::new(path, &context.stores)?, STEM) })
    }
}

#[async_trait]
impl SinkCommitter for DeadLetterCommitter {
    async fn commit(&self, committables: &[Value]) -> Result<(), ConnectorError> {
        self.parts.commit(committables).await
    }

    async fn discard(&self, cluster: &ClusterId, job: JobId) -> Result<(), ConnectorError> {
        self.parts.discard(cluster, job).await
    }
}
