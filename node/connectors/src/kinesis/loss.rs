//! Whether records were lost before a position.
//!
//! Kinesis tells nobody that retention has passed a position. What it tells is whether the last record that was read is still
//! there. If it is, so is all behind it. If it is not, that means nothing where all was read up to a time that the stream still
//! keeps: then the record alone has grown too old.

use std::time::Duration;

use thalweg_kinesis::{KinesisError, SequenceNumber};

use super::{
    faults::patiently,
    payload::{Place, Position},
    table::KinesisTable,
};

/// So many looks in a row must see no stream.
pub(super) const SEEN_GONE: u32 = 10;
/// No stream keeps records for less than 24 hours: before that age, nobody need be asked.
const NEAR_MIN: Duration = Duration::from_hours(23);
/// How much earlier than by its age a record may go.
const SLACK_SHARE: i64 = 24;

/// What a missing record means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missing {
    /// Nothing was lost.
    OldAlone,
    /// Records were lost, or may have been: what is known of that.
    Lost(String),
}

/// The last record that was read is not there. `found`: the first that is.
pub(super) async fn judge(table: &KinesisTable, position: &Position, found: Option<&SequenceNumber>) -> Missing {
    let Position::Behind(place) = position else { return Missing::OldAlone };
    match retention_ms(table).await {
        Ok(retention_ms) => judged(place, found, (table.now_ms(), retention_ms)),
        Err(error) => Missing::Lost(format!(
            "the last record that was read is not kept any more, and it is not told how long records are kept ({error})"
        )),
    }
}

fn judged(place: &Place, found: Option<&SequenceNumber>, (now_ms, retention_ms): (i64, i64)) -> Missing {
    let kept_from_ms = now_ms.saturating_sub(retention_ms);
    let slack_ms = retention_ms / SLACK_SHARE;
    let is_old = place.arrived_ms.is_none_or(|arrived| arrived < kept_from_ms.saturating_add(slack_ms));
    if place.sub.is_none() && is_old && place.read_until_ms >= kept_from_ms {
        return Missing::OldAlone;
    }
    let first = match found {
        Some(found) => format!("the first record that is kept is {found}"),
        None => "no record is kept".to_owned(),
    };
    Missing::Lost(format!("{first}: records between went by retention before they were read, if there were any"))
}

/// Whether the records that arrived at a time are about to go.
pub(super) async fn is_near(table: &KinesisTable, arrived_ms: i64) -> bool {
    let age_ms = table.now_ms().saturating_sub(arrived_ms);
    if age_ms < i64::try_from(NEAR_MIN.as_millis()).unwrap_or(i64::MAX) {
        return false;
    }
    match retention_ms(table).await {
        Ok(retention_ms) => age_ms >= retention_ms.saturating_sub(retention_ms / SLACK_SHARE),
        // Reading the record once more does no harm.
        Err(_) => true,
    }
}

async fn retention_ms(table: &KinesisTable) -> Result<i64, KinesisError> {
    let about = (&table.notices, &table.seams);
    let described = patiently(about, "ask how long records are kept", || table.describe()).await?;
    Ok(i64::from(described.retention_hours) * 3_600_000)
}

/// A position, for people.
pub(super) fn shown(position: &Position) -> String {
    match position {
        Position::TrimHorizon => "from its beginning".to_owned(),
        Position::Timestamp(millis) => format!("from {millis} ms since 1970 on"),
        Position::Behind(Place { sequence_number, sub: None, .. }) => format!("behind {sequence_number}"),
        Position::Behind(Place { sequence_number, sub: Some(sub), .. }) => format!("behind {sequence_number}/{sub}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;
    const NOW: i64 = 1000 * DAY;

    fn place(arrived_ago: Option<i64>, read_ago: i64, sub: Option<u64>) -> Place {
        let arrived_ms = arrived_ago.map(|ago| NOW - ago);
        Place { sequence_number: 7.into(), sub, arrived_ms, read_until_ms: NOW - read_ago }
    }

    #[test]
    fn a_record_that_is_old_alone_is_no_loss() {
        let judged = |place: Place| judged(&place, Some(&9.into()), (NOW, DAY));
        assert_eq!(judged(place(Some(2 * DAY), HOUR, None)), Missing::OldAlone, "a quiet shard");
        assert_eq!(judged(place(None, HOUR, None)), Missing::OldAlone);
        for lost in [
            place(Some(2 * DAY), DAY + HOUR, None),
            place(Some(2 * HOUR), HOUR, None),
            place(Some(2 * DAY), HOUR, Some(3)),
        ] {
            let Missing::Lost(what) = judged(lost.clone()) else { panic!("{lost:?} is a loss") };
            assert!(what.contains("is 9"), "{what}");
        }
    }
}
