//! The input of seeded runs: files of JSON lines in the shared store. There are only a few datasets, so that batch
//! answers can be cached.
//!
//! Tables are replayed, so event time advances with real time and faults hit a job in progress. Rows are out of order
//! by less than the watermark's second, or by more in a dataset with late rows. Every second dataset has malformed
//! lines.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use chrono::DateTime;

use crate::input::Dice;

/// The number of datasets of each kind.
const VARIANTS: u64 = 3;
/// The number of rows in `events`, and in `others`.
pub(super) const EVENTS: i64 = 1800;
const OTHERS: i64 = 600;
/// Event time from the first row to the last, in milliseconds.
pub(super) const SPAN_MS: i64 = 6000;
/// 2026-01-01 00:00:00 UTC in milliseconds.
const START_MS: i64 = 1_767_225_600_000;
/// The same time in SQL.
pub(super) const START: &str = "2026-01-01 00:00:00";
/// The number of keys.
const KEYS: i64 = 24;

/// A set of input files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dataset {
    /// The number among datasets of the same kind.
    pub variant: u64,
    /// Whether some rows are late.
    pub has_late: bool,
    /// Whether some lines are malformed.
    pub has_malformed: bool,
}

/// The files of a dataset, and their contents.
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    /// Contents by name, relative to the input folder.
    pub(super) files: BTreeMap<String, String>,
    /// The well-formed lines of each table.
    pub(super) events: String,
    pub(super) others: String,
    /// All lines of `events`, malformed ones included, in order.
    pub(super) all_events: String,
    /// The malformed lines of `events`.
    pub(super) malformed: Vec<String>,
}

/// The files of a dataset, which are made once per process.
pub(super) fn files_of(dataset: Dataset) -> Arc<Files> {
    static MADE: OnceLock<Mutex<BTreeMap<Dataset, Arc<Files>>>> = OnceLock::new();
    let mut made = MADE.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    made.entry(dataset).or_insert_with(|| Arc::new(dataset.files())).clone()
}

impl Dataset {
    /// Draws a dataset.
    pub(super) fn draw(dice: &mut Dice, has_late: bool) -> Self {
        Self { variant: dice.below(VARIANTS), has_late, has_malformed: dice.percent(50) }
    }

    /// Makes the files.
    fn files(self) -> Files {
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
            // A few keys have most of the rows.
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
