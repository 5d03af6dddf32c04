//! The jobs of seeded runs, each with its batch twin, written by hand.

use super::data::Files;
use crate::{case::FileFormat, input::Dice};

/// The kind of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobKind {
    /// Counts and sums per key and second.
    Tumble,
    /// Overlapping windows.
    Hop,
    /// Sessions per key.
    Session,
    /// A window join of two tables.
    Join,
    /// An aggregation with a local phase before the exchange.
    TwoPhase,
    /// The largest rows of each window.
    TopN,
    /// All rows in one window, so that the whole state lives to the end.
    LongTumble,
    /// A join with two windows, so that most of the state lives long.
    LongJoin,
    /// No window.
    Filter,
    /// `Tumble`, with late rows.
    LateTumble,
    /// `Hop`, with late rows.
    LateHop,
    /// No window, and some rows divide by zero.
    Fallible,
    /// An aggregation in which some rows divide by zero.
    FallibleTumble,
}

impl JobKind {
    /// The number of records that the job reads.
    pub(super) fn records(self, files: &Files) -> u64 {
        let lines = |table: &str| table.lines().count() as u64;
        lines(&files.events) + if self.has_others() { lines(&files.others) } else { 0 }
    }

    pub const ALL: &[Self] = &[
        Self::Tumble,
        Self::Hop,
        Self::Session,
        Self::Join,
        Self::TwoPhase,
        Self::TopN,
        Self::LongTumble,
        Self::LongJoin,
        Self::Filter,
        Self::LateTumble,
        Self::LateHop,
        Self::Fallible,
        Self::FallibleTumble,
    ];

    pub(super) fn draw(dice: &mut Dice) -> Self {
        let at = dice.below(u64::try_from(Self::ALL.len()).expect("few jobs"));
        Self::ALL[usize::try_from(at).expect("an index")]
    }

    /// Whether its input has late rows.
    #[must_use]
    pub fn has_late(self) -> bool {
        matches!(self, Self::LateTumble | Self::LateHop)
    }

    /// Whether some rows cannot be evaluated.
    pub(super) fn has_failing(self) -> bool {
        matches!(self, Self::Fallible | Self::FallibleTumble)
    }

    /// Whether it has no windows. Then the output for a part of its input is a part of its answer.
    pub(super) fn is_windowless(self) -> bool {
        matches!(self, Self::Filter | Self::Fallible)
    }

    /// Whether it reads the second table.
    pub(super) fn has_others(self) -> bool {
        matches!(self, Self::Join | Self::LongJoin)
    }

    /// A column with few values, to partition the sink by.
    pub(super) fn partition_column(self) -> Option<&'static str> {
        match self {
            Self::Tumble | Self::Hop | Self::LateTumble | Self::LateHop | Self::FallibleTumble => Some("w"),
            Self::TwoPhase | Self::Filter | Self::Fallible => Some("tag"),
            Self::TopN => Some("place"),
            Self::Session | Self::Join | Self::LongTumble | Self::LongJoin => None,
        }
    }

    /// A column by which its rows are in order of windows, if it has any.
    pub(super) fn key_column(self) -> Option<&'static str> {
        match self {
            Self::Tumble
            | Self::LongTumble
            | Self::Hop
            | Self::LateTumble
            | Self::LateHop
            | Self::FallibleTumble
            | Self::Session
            | Self::Join
            | Self::LongJoin => Some("k"),
            Self::TwoPhase | Self::Filter | Self::Fallible => Some("tag"),
            Self::TopN => None,
        }
    }

    /// The columns of its sink.
    pub(super) fn columns(self) -> &'static str {
        match self {
            Self::Tumble | Self::LongTumble | Self::Hop | Self::LateTumble | Self::LateHop => {
                "w TIMESTAMP(3), k BIGINT, n BIGINT, total BIGINT, newest BIGINT"
            }
            Self::Session => "w TIMESTAMP(3), until TIMESTAMP(3), k BIGINT, n BIGINT, total BIGINT",
            Self::Join | Self::LongJoin => "w TIMESTAMP(3), k BIGINT, event BIGINT, other BIGINT",
            Self::TwoPhase => "w TIMESTAMP(3), tag STRING, n BIGINT, total BIGINT, least BIGINT",
            Self::TopN => "w TIMESTAMP(3), id BIGINT, v BIGINT, place BIGINT",
            Self::Filter => "id BIGINT, twice BIGINT, tag STRING",
            Self::Fallible => "id BIGINT, share BIGINT, tag STRING",
            Self::FallibleTumble => "w TIMESTAMP(3), k BIGINT, n BIGINT, total BIGINT, newest BIGINT",
        }
    }

    /// The query whose rows go to the sink.
    pub(super) fn query(self) -> &'static str {
        match self {
            Self::Tumble | Self::LateTumble => {
                "SELECT window_start, k, COUNT(*), SUM(v), MAX(id)
                FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' SECOND)) GROUP BY window_start, window_end, k"
            }
            Self::LongTumble => {
                "SELECT window_start, k, COUNT(*), SUM(v), MAX(id)
                FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, k"
            }
            Self::LongJoin => {
                "SELECT a.window_start, a.k, a.id, b.id
                FROM (SELECT * FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '4' SECOND)) WHERE v > 170) AS a
                JOIN (SELECT * FROM TABLE(TUMBLE(TABLE others, DESCRIPTOR(ts), INTERVAL '4' SECOND))) AS b
                ON a.window_start = b.window_start AND a.window_end = b.window_end AND a.k = b.k"
            }
            Self::Hop | Self::LateHop => {
                "SELECT window_start, k, COUNT(*), SUM(v), MAX(id)
                FROM TABLE(HOP(TABLE events, DESCRIPTOR(ts), INTERVAL '1' SECOND, INTERVAL '2' SECOND))
                GROUP BY window_start, window_end, k"
            }
            Self::Session => {
                "SELECT window_start, window_end, k, COUNT(*), SUM(v)
                FROM TABLE(SESSION(TABLE events PARTITION BY k, DESCRIPTOR(ts), INTERVAL '0.2' SECOND))
                GROUP BY window_start, window_end, k"
            }
            Self::Join => {
                "SELECT a.window_start, a.k, a.id, b.id
                FROM (SELECT * FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' SECOND))) AS a
                JOIN (SELECT * FROM TABLE(TUMBLE(TABLE others, DESCRIPTOR(ts), INTERVAL '1' SECOND))) AS b
                ON a.window_start = b.window_start AND a.window_end = b.window_end AND a.k = b.k"
            }
            Self::TwoPhase => {
                "SELECT window_start, tag, COUNT(*), SUM(v), MIN(id)
                FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' SECOND)) GROUP BY window_start, window_end, tag"
            }
            Self::TopN => {
                "SELECT window_start, id, v, place FROM (
                  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY v DESC, id) AS place
                  FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' SECOND)))
                WHERE place <= 5"
            }
            Self::Filter => "SELECT id, v * 2, tag FROM events WHERE v % 3 <> 0",
            Self::Fallible => "SELECT id, 1000 / (v % 5), tag FROM events",
            Self::FallibleTumble => {
                "SELECT window_start, k, COUNT(*), SUM(1000 / (v % 5)), MAX(id)
                FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' SECOND)) GROUP BY window_start, window_end, k"
            }
        }
    }

    /// The same query for a batch engine. The table `late` holds the late rows that the job reported, with their
    /// windows.
    pub(super) fn twin(self) -> &'static str {
        match self {
            Self::Tumble | Self::LateTumble => {
                "SELECT date_bin(INTERVAL '1 second', ts), k, count(*), sum(v), max(id) FROM events
                WHERE id NOT IN (SELECT id FROM late) GROUP BY 1, 2"
            }
            Self::LongTumble => {
                "SELECT date_bin(INTERVAL '10 seconds', ts), k, count(*), sum(v), max(id) FROM events GROUP BY 1, 2"
            }
            Self::LongJoin => {
                "SELECT date_bin(INTERVAL '4 seconds', a.ts), a.k, a.id, b.id FROM events a JOIN others b
                ON date_bin(INTERVAL '4 seconds', a.ts) = date_bin(INTERVAL '4 seconds', b.ts) AND a.k = b.k
                WHERE a.v > 170"
            }
            Self::Hop | Self::LateHop => {
                "SELECT e.w, e.k, count(*), sum(e.v), max(e.id) FROM (
                  SELECT *, date_bin(INTERVAL '1 second', ts) - unnest([INTERVAL '0 seconds', INTERVAL '1 seconds']) AS w
                  FROM events) e
                LEFT ANTI JOIN late ON late.id = e.id AND late.window_start = e.w GROUP BY 1, 2"
            }
            Self::Session => {
                "WITH marked AS (SELECT *, CASE WHEN CAST(ts AS BIGINT) - lag(CAST(ts AS BIGINT))
                    OVER (PARTITION BY k ORDER BY ts, id) <= 200 THEN 0 ELSE 1 END AS first FROM events),
                numbered AS (SELECT *, sum(first) OVER (PARTITION BY k ORDER BY ts, id ROWS UNBOUNDED PRECEDING) AS session
                  FROM marked)
                SELECT min(ts), max(ts) + INTERVAL '200 milliseconds', k, count(*), sum(v) FROM numbered GROUP BY k, session"
            }
            Self::Join => {
                "SELECT date_bin(INTERVAL '1 second', a.ts), a.k, a.id, b.id FROM events a JOIN others b
                ON date_bin(INTERVAL '1 second', a.ts) = date_bin(INTERVAL '1 second', b.ts) AND a.k = b.k"
            }
            Self::TwoPhase => {
                "SELECT date_bin(INTERVAL '1 second', ts), tag, count(*), sum(v), min(id) FROM events GROUP BY 1, 2"
            }
            Self::TopN => {
                "SELECT w, id, v, place FROM (SELECT date_bin(INTERVAL '1 second', ts) AS w, id, v,
                  row_number() OVER (PARTITION BY date_bin(INTERVAL '1 second', ts) ORDER BY v DESC, id) AS place FROM events)
                WHERE place <= 5"
            }
            Self::Filter => "SELECT id, v * 2, tag FROM events WHERE v % 3 <> 0",
            Self::Fallible => "SELECT id, 1000 / (v % 5), tag FROM events WHERE v % 5 <> 0",
            Self::FallibleTumble => {
                "SELECT date_bin(INTERVAL '1 second', ts), k, count(*), sum(1000 / (v % 5)), max(id) FROM events
                WHERE v % 5 <> 0 GROUP BY 1, 2"
            }
        }
    }
}

pub(super) fn draw_format(dice: &mut Dice) -> FileFormat {
    match dice.below(3) {
        0 => FileFormat::Json,
        1 => FileFormat::Csv,
        _ => FileFormat::Parquet,
    }
}
