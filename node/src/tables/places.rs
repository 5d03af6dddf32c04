//! Which nodes have the parts of a table, as the coordinators say. An answer is believed for a second; when no coordinator
//! answers, for a minute: a node that is asked for an attempt that is over has none of it, so an old answer is never a wrong one.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use thalweg_proto::network::Network;
use thalweg_types::seam::Clock;
use tokio::{sync::Semaphore, time};

use super::rpc::{self, TablePlace};

const BELIEVED_FOR: Duration = Duration::from_secs(1);
const KEPT_FOR: Duration = Duration::from_secs(60);
/// The most tables whose places are known. Beyond it all are forgotten.
const TABLES_MAX: usize = 1024;
const ASKING_MAX: usize = 4;
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// A cache of what the coordinators know about tables.
pub(crate) struct Places {
    coordinators: Vec<String>,
    network: Arc<dyn Network>,
    clock: Arc<dyn Clock>,
    known: Mutex<HashMap<String, (Duration, TablePlace)>>,
    asking: Semaphore,
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("coordinators", &self.coordinators).finish_non_exhaustive()
    }
}

impl Places {
    pub(crate) fn new(coordinators: Vec<String>, network: Arc<dyn Network>, clock: Arc<dyn Clock>) -> Self {
        Self { coordinators, network, clock, known: Mutex::default(), asking: Semaphore::new(ASKING_MAX) }
    }

    pub(super) async fn find(&self, table: &str) -> TablePlace {
        if let Some(place) = self.known(table, BELIEVED_FOR) {
            return place;
        }
        let turn = self.asking.acquire().await;
        if let Some(place) = self.known(table, BELIEVED_FOR) {
            return place;
        }
        let place = self.ask(table).await;
        drop(turn);
        let Some(place) = place else {
            let unknown = || TablePlace::NotNow("no coordinator says where the table is".to_owned());
            return self.known(table, KEPT_FOR).unwrap_or_else(unknown);
        };
        self.learn(table, place.clone());
        place
    }

    /// Takes note of where a table is.
    pub(super) fn learn(&self, table: &str, place: TablePlace) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= TABLES_MAX {
            known.clear();
        }
        known.insert(table.to_owned(), (self.clock.monotonic(), place));
    }

    /// What is known may be out of date: the next request asks again.
    pub(super) fn doubt(&self, table: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((heard, _)) = known.get_mut(table) {
            *heard = heard.saturating_sub(BELIEVED_FOR);
        }
    }

    fn known(&self, table: &str, for_time: Duration) -> Option<TablePlace> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (heard, place) = known.get(table)?;
        (self.clock.monotonic().saturating_sub(*heard) < for_time).then(|| place.clone())
    }

    async fn ask(&self, table: &str) -> Option<TablePlace> {
        for coordinator in &self.coordinators {
            let asked = rpc::find_table(&self.network, coordinator, table.to_owned());
            match time::timeout(ANSWER_WITHIN, asked).await {
                Ok(Ok(place)) => return Some(place),
                Ok(Err(error)) => tracing::debug!(coordinator, error, "a coordinator did not say where a table is"),
                Err(_) => tracing::debug!(coordinator, "a coordinator did not answer"),
            }
        }
        None
    }
}
