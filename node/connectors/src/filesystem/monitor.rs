//! Looks for new files at an interval and reads them one after the other, by name.
//!
//! A file is read once, up to the length it has when it is found. So a writer must give a file its name only when the
//! file is complete: write it under a hidden name or elsewhere, then rename it.
//!
//! Between two files the split reports itself idle: a directory promises nothing about times in future files.
//!
//! All new files form one sequence with one running maximum of event time, as if each were appended to the one before.
//! A row in a later file is therefore late if it is behind the greatest time of earlier files by more than the
//! watermark's delay. (Files that exist at the start are a sequence each: their times may overlap in any way.) A
//! sequence per new file could hold the watermark back only if the file were known in advance, which nobody can
//! promise.

use std::{collections::BTreeSet, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use thalweg_types::Split;
use tokio::time::Sleep;

use super::{payload::FilePayload, table::FileTable};
use crate::{ConnectorError, LaterSplit, Read, SplitReader};

/// The split of files that appear later. It never ends.
pub(super) struct MonitorReader {
    table: Arc<FileTable>,
    interval: Duration,
    /// Every file found so far, including the current one. There may be very many, so positions share the set.
    read: Arc<BTreeSet<String>>,
    /// The split to open next, before it is opened.
    resumed: Option<Split>,
    current: Option<Box<dyn SplitReader>>,
    /// Whether the reader has reported that it is idle.
    is_idle: bool,
    /// The pause before the next look. Kept here so that a cancelled call does not restart it.
    pause: Option<Pin<Box<Sleep>>>,
}

impl MonitorReader {
    pub(super) fn new(
        table: Arc<FileTable>,
        interval: Duration,
        read: BTreeSet<String>,
        current: Option<Box<FilePayload>>,
    ) -> Self {
        let resumed = current.map(|payload| payload.into_split(0));
        let read = Arc::new(read);
        Self { table, interval, read, resumed, current: None, is_idle: false, pause: None }
    }

    /// Takes the first unread file by name, if there is one.
    async fn next_file(&mut self) -> Result<bool, ConnectorError> {
        let files = self.table.files.list().await?;
        let Some(file) = files.into_iter().find(|file| !self.read.contains(&file.name)) else {
            return Ok(false);
        };
        let split = self.table.whole(&file).await?.into_split(0);
        Arc::make_mut(&mut self.read).insert(file.name);
        self.resumed = Some(split);
        Ok(true)
    }
}

#[async_trait]
impl SplitReader for MonitorReader {
    async fn next(&mut self) -> Result<Read, ConnectorError> {
        loop {
            if let Some(reader) = &mut self.current {
                match reader.next().await? {
                    Read::End => self.current = None,
                    read @ (Read::Records { .. } | Read::Idle | Read::Waiting) => {
                        self.is_idle = false;
                        return Ok(read);
                    }
                }
            } else if let Some(split) = &self.resumed {
                let reader = self.table.open(split).await?;
                self.current = Some(reader);
                self.resumed = None;
            } else if let Some(pause) = &mut self.pause {
                pause.as_mut().await;
                self.pause = None;
            } else if !self.next_file().await? {
                self.pause = Some(Box::pin(tokio::time::sleep(self.interval)));
                if !std::mem::replace(&mut self.is_idle, true) {
                    return Ok(Read::Idle);
                }
            }
        }
    }

    fn position(&self) -> Split {
        self.later_position()()
    }

    fn later_position(&self) -> LaterSplit {
        let reading = self.current.as_ref().map(|reader| reader.position()).or_else(|| self.resumed.clone());
        let read = self.read.clone();
        Arc::new(move || {
            let current = reading.as_ref().and_then(|split| FilePayload::of(split).ok()).map(Box::new);
            FilePayload::Monitor { read: read.as_ref().clone(), current }.into_split(0)
        })
    }
}
