//! The input of seeded runs: files of JSON lines in the shared store, few sets of them, so that batch answers can be kept.
//!
//! Event times go on with real time (the tables are replayed), so that faults meet a job in its middle. Rows come out of
//! order by less than the watermark's second, or, in a set with late rows, by more. One set in two has malformed lines.

use std::{collections::BTreeMap, fmt::Write as _};

use chrono::DateTime;

use crate::input::Dice;

/// How many sets there are of each kind.
const VARIANTS: u64 = 3;
/// Rows of the table `events`, and of `others`.
const EVENTS: i64 = 1800;
const OTHERS: i64 = 600;
/// Event time from the first to the last row.
pub(super) const SPAN_MS: i64 = 6000;
/// 2026-01-01 00:00:00 UTC in milliseconds.
const START_MS: i64 = 1_767_225_600_000;
/// The same, as SQL writes it.
pub(super) const START: &str = "2026-01-01 00:00:00";
/// Keys.
const KEYS: i64 = 24;

/// A set of input files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dataset {
    /// Which one of its kind.
    pub variant: u64,
    /// Some rows come too late.
    pub has_late: bool,
    /// Some lines cannot be read.
    pub has_malformed: bool,
}

/// The files of a set, and what is in them.
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    /// By name, below the input folder.
    pub(super) files: BTreeMap<String, String>,
    /// The well-formed lines of each table.
    pub(super) events: String,
    pub(super) others: String,
    /// All lines of `events`, in the order of their rows.
    pub(super) all_events: String,
    /// The malformed lines of `events`.
    pub(super) malformed: Vec<String>,
}

impl Dataset {
    /// One of the sets.
    pub(super) fn draw(dice: &mut Dice, has_late: bool) -> Self {
        Self { variant: dice.below(VARIANTS), has_late, has_malformed: dice.percent(50) }
    }

    /// Makes the files.
    pub(super) fn files(self) -> Files {
        let mut dice = Dice::new(0x0da7_a000 + self.variant);
        let mut made = Files::default();
        let disorder = if self.has_late { 1600 } else { 900 };
        let (malformed, all_events) = (&mut made.malformed, &mut made.all_events);
        let events = ("events", EVENTS, 3);
        made.events = self.table(&mut dice, events, disorder, &mut made.files, (malformed, all_events));
        let ignored = (&mut Vec::new(), &mut String::new());
        made.others = self.table(&mut dice, ("others", OTHERS, 2), 900, &mut made.files, ignored);
        made
    }

    fn table(
        self,
        dice: &mut Dice,
        (name, rows, parts): (&str, i64, u64),
        disorder_ms: i64,
        files: &mut BTreeMap<String, String>,
        (malformed, lines): (&mut Vec<String>, &mut String),
    ) -> String {
        let mut all = String::new();
        for id in 0..rows {
            let ts = START_MS + (id * SPAN_MS / rows - dice.between(0, disorder_ms)).max(0);
            let time =
                DateTime::from_timestamp_millis(ts).expect("a time of our century").format("%Y-%m-%d %H:%M:%S%.3f");
            // Few keys have most rows.
            let k = dice.between(0, KEYS) * dice.between(0, 3);
            let (v, tag) = (dice.between(-20, 200), dice.pick(&["red", "green", "blue", "gr\u{fc}n"]));
            let line = format!("{{\"id\":{id},\"ts\":\"{time}\",\"k\":{k},\"v\":{v},\"tag\":\"{tag}\"}}\n");
            let file = files.entry(format!("{name}/part-{}.json", dice.below(parts))).or_default();
            file.push_str(&line);
            lines.push_str(&line);
            all.push_str(&line);
            let is_followed = self.has_malformed && name == "events" && dice.below(60) == 0;
            if is_followed {
                let broken = format!("{{\"id\":{id},\"ts\":\"{time}\",\"k\":oops}}");
                writeln!(file, "{broken}").expect("writing to a string cannot fail");
                writeln!(lines, "{broken}").expect("writing to a string cannot fail");
                malformed.push(broken);
            }
        }
        all
    }
}
