//! Records over HTTP: tables that take them by POST (see `ingest`), and a sink that POSTs them.

mod sink;

use crate::{
    connector::{Connector, Sink, publishes_nothing},
    ingest::IngestSource,
};

use sink::HttpSinkWriter;

pub(crate) const CONNECTOR: Connector = Connector {
    name: "http",
    source: Some(|table| {
        let provided = (&table.context.ingest, &table.context.seams);
        Ok(Box::new(IngestSource::new(table.spec, table.batch_rows, table.identity, provided)?))
    }),
    sink: Some(Sink {
        writer: |table, _| {
            let provided = (table.context.http.clone(), table.context.seams.entropy.clone());
            Ok(Box::new(HttpSinkWriter::new(table.spec, table.schema, provided)?))
        },
        committer: publishes_nothing,
        check: None,
    }),
};
