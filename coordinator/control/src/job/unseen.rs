//! Tables whose rows nobody would see. This is for people: it is no mistake, since a savepoint publishes them too.

use thalweg_types::connector::{Delivery, Output, TableConnector};

use super::JobController;

impl JobController {
    /// The tables whose rows become visible with checkpoints, if none is taken by time and the job has no end either.
    #[must_use]
    pub fn unseen_tables(&self) -> Vec<&str> {
        let is_endless = || self.graph.sources().any(|(_, source)| source.connector.lacks_end().is_some());
        if self.takes_checkpoints() || !is_endless() {
            return Vec::new();
        }
        let waiting = self.graph.sinks().filter(|(_, sink)| waits_for_checkpoints(&sink.connector));
        waiting.map(|(_, sink)| sink.table.as_str()).collect()
    }
}

fn waits_for_checkpoints(sink: &TableConnector) -> bool {
    let is_anywhere = sink.sink().is_some_and(|spec| match spec.output {
        Output::Queryable | Output::Nowhere => false,
        Output::Files { .. } | Output::StandardOutput | Output::Elsewhere | Output::Keyed => true,
    });
    match sink.delivery() {
        Some(Delivery::ExactlyOnce) => is_anywhere,
        Some(Delivery::AtLeastOnce | Delivery::NoGuarantee) | None => false,
    }
}
