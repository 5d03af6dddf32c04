//! Plans of scripts as text, and what is refused.

mod checker;
mod columns;
mod delivery;
mod functions;
mod guards;
mod identities;
mod keys;
mod metadata;
mod numbers;
mod order;
mod plans;
mod queryable;
mod refusals;
mod robustness;
mod secrets;
mod shell;
mod times;
mod topics;
mod values;
mod views;

use std::collections::BTreeMap;

use crate::{PlannedScript, SqlError, plan};

/// Nexmark's table and the three views over it.
const NEXMARK: &str = "
CREATE TABLE nexmark (WATERMARK FOR dateTime AS dateTime - INTERVAL '4' SECOND) WITH ('connector' = 'nexmark');
CREATE VIEW person AS SELECT person.id, person.name, person.city, person.state, dateTime FROM nexmark WHERE event_type = 0;
CREATE VIEW auction AS SELECT auction.id, auction.itemName, auction.initialBid, auction.reserve, auction.expires, auction.seller, auction.category, dateTime FROM nexmark WHERE event_type = 1;
CREATE VIEW bid AS SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, dateTime, bid.extra FROM nexmark WHERE event_type = 2;
";

/// The options of a topic, without the parenthesis that ends them.
const TOPIC: &str = "('connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'h:9092', \
     'scan.startup.mode' = 'earliest-offset'";

fn plan_text(sql: &str) -> Result<PlannedScript, SqlError> {
    plan(sql, &BTreeMap::new())
}

/// Plans a script over Nexmark's views.
fn nexmark(sql: &str) -> Result<PlannedScript, SqlError> {
    plan_text(&format!("{NEXMARK}{sql}"))
}

/// The plan as text, after `checker` has checked it.
fn explained(planned: Result<PlannedScript, SqlError>) -> String {
    let planned = planned.unwrap_or_else(|error| panic!("{error}"));
    let graph = planned.graph.expect("the script has a query");
    checker::check(&graph);
    crate::explain(&graph)
}
