//! The demo's board: the progress through the year, and below it the newest rows of each query, redrawn in place.
//!
//! It is laid out as lines of text that fit the terminal in width and height. Nothing scrolls, so the terminal's
//! history stays as it was.

use std::{
    collections::VecDeque,
    io::{self, Write},
};

use anyhow::Result;
use arrow::array::RecordBatch;
use crossterm::style::Stylize;
use thalweg_client::{Query, SubmittedJob};
use thalweg_types::job::JobOverview;

use crate::{
    output::{OutputError, aligned, grouped, texts, watermark_text, width, write_to},
    progress::{Totals, side_output_counts},
};

/// Rows of each query, if the terminal is high enough.
const ROWS_MAX: usize = 8;
/// Lines of a panel besides its rows: a blank line, the title, the head.
const PANEL_LINES: usize = 3;
/// Lines besides the panels: the title, the progress, and the line with the cursor.
const OTHER_LINES: usize = 3;
/// Columns and lines if the terminal does not tell its size.
const TERMINAL: (usize, usize) = (80, 24);
/// Lines are never longer: very long ones are hard to read.
const COLUMNS_MAX: usize = 110;
/// The start of the replayed year, 2013-01-01, in microseconds since the Unix epoch.
const YEAR_START: i64 = 1_356_998_400_000_000;
const YEAR_LENGTH: i64 = 365 * 86_400 * 1_000_000;
const BAR_COLUMNS: usize = 24;

/// The title of a query, and short names for its columns.
struct Topic {
    title: &'static str,
    head: &'static [&'static str],
}

/// The queries of the demo's script, in order.
const TOPICS: [Topic; 4] = [
    Topic {
        title: "Departures of each hour, and the weather they met",
        head: &["hour", "airport", "flights", "mean min", "worst", "%>1h", "temp F", "mph", "miles"],
    },
    Topic {
        title: "The three worst airlines of each day",
        head: &["day", "place", "airline", "flights", "mean minutes late"],
    },
    Topic { title: "Temperature, the mean of six hours", head: &["hour", "airport", "degrees F"] },
    Topic {
        title: "Alerts: delays far above those of the last 24 hours",
        head: &["hour", "airport", "flights", "mean min", "usual min"],
    },
];

/// The newest rows of each query.
#[derive(Debug)]
pub struct Board {
    panels: Vec<Panel>,
}

#[derive(Debug)]
struct Panel {
    title: String,
    head: Vec<String>,
    is_right: Vec<bool>,
    newest: VecDeque<Vec<String>>,
    count: u64,
}

impl Board {
    /// A board for the queries of a job.
    #[must_use]
    pub fn new(submitted: &SubmittedJob) -> Self {
        Self { panels: submitted.queries.iter().map(Panel::new).collect() }
    }

    /// Adds rows of a query.
    ///
    /// # Errors
    /// If a column's type cannot be shown.
    pub fn on_rows(&mut self, query: u32, batch: &RecordBatch) -> Result<()> {
        let panel = usize::try_from(query).ok().and_then(|query| self.panels.get_mut(query));
        panel.map_or(Ok(()), |panel| panel.on_rows(batch))
    }

    /// The board as lines for a terminal of this size. If not all queries fit, `turn` selects which are shown.
    #[must_use]
    pub fn lines(&self, job: &JobOverview, columns: usize, lines: usize, turn: usize) -> Vec<String> {
        let columns = columns.min(COLUMNS_MAX);
        let totals = Totals::of(job);
        let title = format!("{}  {}", "thalweg demo".bold().cyan(), "a year of flights out of New York".dim());
        let mut drawn = vec![title, progress_line(job, totals, columns)];
        let fit = Fit::of(self.panels.len(), lines);
        for panel in self.panels.iter().cycle().skip(turn * fit.panels).take(fit.panels) {
            drawn.extend(fit.has_gaps.then(String::new));
            drawn.extend(panel.lines(fit.rows, columns));
        }
        // On a very low terminal, a higher board would scroll, and the cursor could not return to its start.
        drawn.truncate(lines.saturating_sub(1).max(1));
        drawn
    }
}

/// The line with the progress through the year.
fn progress_line(job: &JobOverview, totals: Totals, columns: usize) -> String {
    let done = share_of_year(totals.watermark);
    let (full, empty) = ("━".repeat(BAR_COLUMNS * done / 100), "─".repeat(BAR_COLUMNS - BAR_COLUMNS * done / 100));
    let now = match totals.watermark {
        i64::MIN | i64::MAX => job.status.to_string(),
        watermark => without_seconds(watermark_text(watermark)),
    };
    let told = format!("{done:>3} %  {now:<16}  {} records{}", grouped(totals.records_in), side_output_counts(totals));
    let told: String = told.chars().take(columns.saturating_sub(BAR_COLUMNS + 1)).collect();
    format!("{}{} {told}", full.cyan(), empty.dim())
}

/// The part of the year that has passed, in percent.
fn share_of_year(watermark: i64) -> usize {
    let passed = watermark.saturating_sub(YEAR_START).clamp(0, YEAR_LENGTH);
    usize::try_from(passed / (YEAR_LENGTH / 100)).map_or(100, |percent| percent.min(100))
}

/// How many panels and rows fit the height of the terminal.
#[derive(Debug, PartialEq, Eq)]
struct Fit {
    panels: usize,
    rows: usize,
    /// Whether there is a blank line above each panel.
    has_gaps: bool,
}

impl Fit {
    fn of(panels: usize, lines: usize) -> Self {
        let lines = lines.saturating_sub(OTHER_LINES);
        match (lines / panels.max(1)).checked_sub(PANEL_LINES) {
            Some(rows @ 1..) => Self { panels, rows: rows.min(ROWS_MAX), has_gaps: true },
            _ => Self { panels: (lines / PANEL_LINES).clamp(1, panels.max(1)), rows: 1, has_gaps: false },
        }
    }
}

/// All windows of the demo start at full minutes, so seconds carry no information.
fn without_seconds(text: String) -> String {
    let is_time = text.len() == "2013-01-01 00:00:00".len() && text.ends_with(":00") && text.matches(':').count() == 2;
    if is_time { text[..text.len() - ":00".len()].to_owned() } else { text }
}

impl Panel {
    fn new(query: &Query) -> Self {
        let names: Vec<String> = query.schema.fields().iter().map(|field| field.name().clone()).collect();
        let topic = usize::try_from(query.query).ok().and_then(|query| TOPICS.get(query));
        let known = topic.filter(|topic| topic.head.len() == names.len());
        Self {
            title: known.map_or_else(|| format!("SELECT {}", query.query + 1), |topic| topic.title.to_owned()),
            head: known.map_or(names, |topic| topic.head.iter().map(|name| (*name).to_owned()).collect()),
            is_right: query.schema.fields().iter().map(|field| field.data_type().is_numeric()).collect(),
            newest: VecDeque::new(),
            count: 0,
        }
    }

    fn on_rows(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = batch.num_rows();
        self.count += u64::try_from(rows)?;
        // Only rows that can be shown are formatted.
        let from = rows.saturating_sub(ROWS_MAX);
        let seen = texts(&batch.slice(from, rows - from))?.into_iter();
        self.newest.extend(seen.map(|row| row.into_iter().map(without_seconds).collect()));
        let surplus = self.newest.len().saturating_sub(ROWS_MAX);
        self.newest.drain(..surplus);
        Ok(())
    }

    /// The title, the head and the rows in aligned columns; the number of lines is constant.
    fn lines(&self, rows: usize, columns: usize) -> Vec<String> {
        let seen = || self.newest.iter().skip(self.newest.len().saturating_sub(rows));
        let widest = |column: usize| {
            let cells = std::iter::once(&self.head).chain(seen()).filter_map(|row| row.get(column));
            cells.map(|cell| width(cell)).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.head.len()).map(widest).collect();
        let line = |cells: &Vec<String>| {
            let line = format!("  {}", aligned(cells, &widths, &self.is_right));
            line.trim_end().chars().take(columns).collect::<String>()
        };
        let count = format!("{} rows", grouped(self.count));
        let title: String = self.title.chars().take(columns.saturating_sub(width(&count) + 2)).collect();
        let gap = " ".repeat(columns.saturating_sub(width(&title) + width(&count)));
        let mut lines = vec![format!("{}{gap}{}", title.bold(), count.dim()), line(&self.head).dim().to_string()];
        lines.extend(seen().map(line));
        lines.resize(rows + PANEL_LINES - 1, String::new());
        lines
    }
}

/// Draws lines in the same place of a terminal again and again, and hides its cursor meanwhile.
#[derive(Debug, Default)]
pub struct Screen {
    lines_drawn: usize,
}

impl Screen {
    /// The terminal's size, in columns and lines.
    #[must_use]
    pub fn size() -> (usize, usize) {
        crossterm::terminal::size().map_or(TERMINAL, |(columns, lines)| (usize::from(columns), usize::from(lines)))
    }

    /// Draws over the lines drawn before.
    ///
    /// # Errors
    /// If the terminal cannot be written to.
    pub fn draw(&mut self, lines: Vec<String>) -> Result<(), OutputError> {
        let mut text = String::from("\x1b[?25l");
        if self.lines_drawn > 0 {
            text.push_str(&format!("\x1b[{}A", self.lines_drawn));
        }
        // Wrapping is off: on a terminal that has become narrower, a wrapped line would keep the cursor from finding
        // the start again.
        text.push_str("\r\x1b[?7l");
        for line in &lines {
            text.push_str(line);
            text.push_str("\x1b[K\n");
        }
        text.push_str("\x1b[J\x1b[?7h");
        write_to(&mut io::stdout().lock(), text.as_bytes())?;
        self.lines_drawn = lines.len();
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // An error means that the terminal is gone, and its cursor with it.
        let _ = io::stdout().write_all(b"\x1b[?25h").and_then(|()| io::stdout().flush());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, Int64Array, StringArray},
        datatypes::{DataType, Field, Schema},
    };
    use thalweg_types::{Attempt, JobId, JobStatus};

    use super::*;

    fn job() -> JobOverview {
        JobOverview {
            job: JobId(1),
            name: "demo".to_owned(),
            status: JobStatus::Running,
            attempt: Attempt(1),
            parallelism: 1,
            failure: None,
            failures: 0,
            subtasks: Vec::new(),
            checkpoints: thalweg_types::job::CheckpointSummary::default(),
            sql: String::new(),
            plan: String::new(),
            ingest_urls: Vec::new(),
            asked_urls: Vec::new(),
            submitted_ms: 0,
            ended_ms: 0,
        }
    }

    fn board() -> Board {
        let fields = ["a", "b", "c"].map(|name| Field::new(name, DataType::Utf8, true));
        let query = |query| Query { query, schema: Arc::new(Schema::new(fields.to_vec())) };
        Board::new(&SubmittedJob { job: JobId(1), queries: (0..4).map(query).collect(), answers: Vec::new() })
    }

    fn rows(count: i64) -> RecordBatch {
        let times: ArrayRef = Arc::new(StringArray::from_iter_values((0..count).map(|_| "2013-01-01 07:00:00")));
        let wide: ArrayRef = Arc::new(StringArray::from_iter_values((0..count).map(|_| "é".repeat(100))));
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
        RecordBatch::try_from_iter([("a", times), ("b", numbers), ("c", wide)]).unwrap()
    }

    /// A line without escape sequences.
    fn seen(line: &str) -> String {
        let mut parts = line.split('\x1b');
        let first = parts.next().unwrap().to_owned();
        parts.fold(first, |text, part| text + part.split_once('m').map_or("", |(_, rest)| rest))
    }

    #[test]
    fn the_board_fits_every_terminal_and_is_always_as_high() {
        let (mut board, job) = (board(), job());
        for (columns, lines) in [(80, 24), (120, 40), (20, 5), (1, 1), (300, 100)] {
            let before = board.lines(&job, columns, lines, 0);
            board.on_rows(0, &rows(20)).unwrap();
            let after = board.lines(&job, columns, lines, 0);
            assert_eq!(before.len(), after.len());
            assert!(after.len() < lines.max(2), "{columns}x{lines}: {}", after.len());
            for line in after.iter().skip(1) {
                assert!(width(&seen(line)) <= columns.max(BAR_COLUMNS + 1), "{columns}x{lines}: {line}");
            }
        }
    }

    #[test]
    fn fifteen_lines_show_every_query_and_fewer_show_them_in_turn() {
        let (board, job) = (board(), job());
        let titles = |lines: usize, turn: usize| -> Vec<usize> {
            let drawn: Vec<String> = board.lines(&job, 80, lines, turn).iter().map(|line| seen(line)).collect();
            let titles = ["SELECT 1", "SELECT 2", "Temperature", "SELECT 4"];
            (0..4).filter(|at| drawn.iter().any(|line| line.starts_with(titles[*at]))).collect()
        };
        assert_eq!(titles(15, 0), [0, 1, 2, 3]);
        assert_eq!([titles(9, 0), titles(9, 1), titles(9, 2)], [vec![0, 1], vec![2, 3], vec![0, 1]]);
        assert_eq!([titles(6, 3), titles(6, 4)], [vec![3], vec![0]]);
        assert_eq!(Fit::of(4, 24), Fit { panels: 4, rows: 2, has_gaps: true });
    }

    #[test]
    fn the_newest_rows_stand_below_each_other_without_seconds() {
        let mut board = board();
        board.on_rows(2, &rows(20)).unwrap();
        board.on_rows(9, &rows(1)).unwrap();
        let lines: Vec<String> = board.lines(&job(), 80, 24, 0).iter().map(|line| seen(line)).collect();
        let title = lines.iter().position(|line| line.starts_with("Temperature")).unwrap();
        assert!(lines[title].ends_with("20 rows") && lines[title + 1].contains("airport"), "{lines:#?}");
        assert!(lines[title + 3].starts_with("  2013-01-01 07:00  19"), "{lines:#?}");
    }

    #[test]
    fn the_year_passes_from_its_first_day_to_its_last() {
        let middle = YEAR_START + YEAR_LENGTH / 2;
        assert_eq!([i64::MIN, 0, YEAR_START, middle, i64::MAX].map(share_of_year), [0, 0, 0, 50, 100]);
    }
}
