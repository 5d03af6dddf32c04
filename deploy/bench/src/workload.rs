//! A job with a large keyed state: filled as fast as possible, then changed at a steady rate.
//!
//! ```text
//! fill:    every key once ---+
//!                            +--> COUNT, MAX.. by key in one window that stays open --> nothing
//! changes: random keys ------+
//!                       '--> part files (what a checkpoint commits), and lines on the nodes' standard output
//! ```

use std::{fmt::Write as _, path::Path};

use clap::Args;
use thalweg_types::job::JobOverview;

/// What the state consists of.
#[derive(Debug, Clone, Args)]
pub(crate) struct WorkloadArgs {
    /// How many keys the state holds.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) keys: u64,
    /// How many values of 8 random bytes each key has, besides a counter.
    #[arg(long, default_value_t = 4)]
    pub(crate) values: u32,
    /// How many records change the state, each second.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) changes: u64,
    /// Slices of the job.
    #[arg(long, default_value_t = 2)]
    pub(crate) parallelism: u32,
}

/// Further outputs of changed records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written<'a> {
    /// The directory of part files.
    pub(crate) files: &'a Path,
    /// Whether the nodes print a line per record.
    pub(crate) is_printed: bool,
}

impl WorkloadArgs {
    /// The job's script.
    pub(crate) fn script(&self, written: Option<Written<'_>>) -> String {
        let columns = |text: &dyn Fn(u32) -> String| (0..self.values).map(text).collect::<String>();
        let declared = columns(&|number| format!("v{number} BIGINT, "));
        let named = columns(&|number| format!("v{number}, "));
        let maxima = columns(&|number| format!(", MAX(v{number})"));
        let (keys, last, changes) = (self.keys, self.keys.saturating_sub(1), self.changes);
        let table = |name: &str, options: &str| {
            format!(
                "CREATE TABLE {name} (id BIGINT, {declared}`at` TIMESTAMP(3), WATERMARK FOR `at` AS `at` - INTERVAL '1' HOUR)\n\
                 WITH ('connector' = 'datagen', {options}, 'fields.at.start' = '2026-01-01 06:00:00');\n"
            )
        };
        let mut script = "SET 'optimizer.two-phase' = 'never';\nSET 'state.memory-share' = '0.9';\n".to_owned();
        script += &table(
            "fill",
            &format!(
                "'number-of-rows' = '{keys}', 'fields.id.kind' = 'sequence', 'seed' = '1', 'fields.at.kind' = 'random', 'fields.at.max-past' = '1 s'"
            ),
        );
        script += &table(
            "changes",
            &format!(
                "'rows-per-second' = '{changes}', 'fields.id.min' = '0', 'fields.id.max' = '{last}', 'seed' = '2'"
            ),
        );
        let results = columns(&|number| format!(", m{number} BIGINT"));
        writeln!(
            script,
            "CREATE VIEW records AS SELECT id, {named}`at` FROM fill UNION ALL SELECT id, {named}`at` FROM changes;\n\
             CREATE TABLE state (id BIGINT, records BIGINT{results}) WITH ('connector' = 'blackhole');\n\
             INSERT INTO state SELECT id, COUNT(*){maxima}\n\
             FROM TABLE(TUMBLE(TABLE records, DESCRIPTOR(`at`), INTERVAL '1' DAY))\n\
             GROUP BY id, window_start, window_end;"
        )
        .expect("a text takes it");
        script + &written.map(Written::script).unwrap_or_default()
    }
}

impl Written<'_> {
    fn script(self) -> String {
        let mut script = format!(
            "CREATE TABLE files (id BIGINT, `at` TIMESTAMP(3))\n\
             WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'csv');\n\
             INSERT INTO files SELECT id, `at` FROM changes;\n",
            self.files.display()
        );
        if self.is_printed {
            script += "CREATE TABLE lines (id BIGINT) WITH ('connector' = 'print');\n\
                       INSERT INTO lines SELECT id FROM changes;\n";
        }
        script
    }
}

/// Whether every key was read: all sources of the table that fills the state have finished.
pub(crate) fn is_filled(job: &JobOverview) -> bool {
    let mut fills = job.subtasks.iter().filter(|subtask| subtask.is_source && subtask.name.contains("fill")).peekable();
    fills.peek().is_some() && fills.all(|subtask| subtask.state == "finished")
}
