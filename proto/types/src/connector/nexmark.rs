//! The Nexmark auction events.

use super::{
    ConnectorSpec, Ends, Input, OptionType, SourceSpec, Splits,
    option::{IDLE_TIMEOUT, option},
};

/// The columns of the `nexmark` connector: those of Flink's Nexmark, with `dateTime` in each struct.
const NEXMARK_COLUMNS: &str = "event_type INT NOT NULL, \
    person ROW<id BIGINT, name STRING, emailAddress STRING, creditCard STRING, city STRING, state STRING, dateTime TIMESTAMP(3), extra STRING>, \
    auction ROW<id BIGINT, itemName STRING, description STRING, initialBid BIGINT, reserve BIGINT, dateTime TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra STRING>, \
    bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, dateTime TIMESTAMP(3), extra STRING>, \
    dateTime TIMESTAMP(3) NOT NULL";

pub(super) const SPEC: ConnectorSpec = ConnectorSpec {
    name: "nexmark",
    source: Some(SourceSpec {
        input: Input::Generated,
        splits: Splits::Listed,
        ends: Ends::With("events.num"),
        rules: &[],
    }),
    sink: None,
    formats: &[],
    keys: false,
    metadata: &[],
    options: &[
        option(
            "events.num",
            OptionType::Integer,
            "",
            "How many events of all three kinds; unbounded if it is not set.",
        ),
        option("events.rate", OptionType::Number, "100000", "Events per second of event time."),
        option(
            "events.speed",
            OptionType::OneOf(&["max", "real-time"]),
            "max",
            "As fast as possible, or at events.rate in real time.",
        ),
        option("events.splits", OptionType::Integer, "8", "Into how many independent ranges the events are divided."),
        option("seed", OptionType::Integer, "42", "The seed of all random choices."),
        option("start-time", OptionType::Text, "2026-01-01 00:00:00", "The first event's time."),
        option("max-out-of-orderness", OptionType::Duration, "0 ms", "By how much events may be out of order."),
        IDLE_TIMEOUT,
    ],
    fixed_columns: NEXMARK_COLUMNS,
    doc: "The Nexmark auction events: 1 person, 3 auctions and 46 bids in every 50.",
};
