//! `thalweg demo`: a year of flights and weather out of New York, replayed through a small cluster in this process.
//!
//! The data is part of the binary. On a terminal a board shows the newest rows of each query; elsewhere, and with another
//! output format, rows are printed as they come.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    io::{self, IsTerminal, Write},
    path::PathBuf,
};

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use futures::StreamExt;
use thalweg_client::{Client, ClientError, SubmitOptions, SubmittedJob};
use thalweg_types::job::JobOverview;
use tokio::time::{self, Duration, MissedTickBehavior};

use crate::{
    args::{DemoArgs, Format},
    embedded::{EmbeddedCluster, EmbeddedOptions},
    follow::{self, FollowOptions, JobError},
    output::{grouped, texts, watermark_text},
    progress::{Totals, set_aside},
    signals,
};

const SQL: &str = include_str!("../../../demo/demo.sql");
const FLIGHTS: &[u8] = include_bytes!("../../../demo/data/flights.parquet");
const WEATHER: &[u8] = include_bytes!("../../../demo/data/weather.parquet");
/// Where the script finds its data when it is run from the top of the repository.
const DATA_IN_SQL: &str = "deploy/demo/data";
/// 365 days in 60 seconds.
const DEFAULT_SPEED: f64 = 365.0 * 24.0 * 60.0;
/// When the first record became known, so that the clocks of several nodes agree.
const START: &str = "2013-01-01 06:00:00";
const SLOTS: u32 = 2;
/// Rows of each query on the board, where the terminal is high enough.
const BOARD_ROWS: usize = 4;
/// Lines of a panel besides its rows: a blank one, the title, the head.
const PANEL_LINES: usize = 3;
/// Lines besides the panels: the state of the job, and the one with the cursor.
const OTHER_LINES: usize = 2;
/// As high as terminals have always been.
const TERMINAL_LINES: usize = 24;
const REDRAW_EVERY: Duration = Duration::from_millis(200);

/// The queries of the script, in its order.
const TITLES: [&str; 4] = [
    "Departures of each hour, and the weather they met",
    "The three worst airlines of each day",
    "Temperature, the mean of six hours",
    "Alerts: delays far above those of the last 24 hours",
];

pub(super) async fn run(args: DemoArgs, format: Format) -> Result<()> {
    if args.print_sql {
        print!("{SQL}");
        return Ok(());
    }
    let speed = args.speed.unwrap_or_else(|| DEFAULT_SPEED.to_string());
    let mut settings =
        BTreeMap::from([("replay.speed".to_owned(), speed), ("replay.start".to_owned(), START.to_owned())]);
    settings.extend(args.settings);
    let data = DataDirectory::create()?;
    let options = EmbeddedOptions { nodes: args.nodes, slots: SLOTS, ..EmbeddedOptions::default() };
    let cluster = EmbeddedCluster::start(options).await?;
    let shown = show(&cluster, &data, settings, format).await;
    cluster.shutdown().await;
    shown
}

async fn show(
    cluster: &EmbeddedCluster,
    data: &DataDirectory,
    settings: BTreeMap<String, String>,
    format: Format,
) -> Result<()> {
    let client = cluster.client();
    let submitted = client
        .submit(SubmitOptions {
            sql: SQL.replace(DATA_IN_SQL, &data.0.display().to_string()),
            name: "demo".to_owned(),
            settings,
            parallelism: Some(SLOTS),
        })
        .await?;
    let clock = cluster.seams().clock;
    let started = clock.monotonic();
    let overview = if format == Format::Table && io::stdout().is_terminal() {
        on_board(client, &submitted).await?
    } else {
        let options = FollowOptions { format, is_quiet: true };
        follow::follow(client, &submitted, options, clock.as_ref()).await?
    };
    let totals = Totals::of(&overview);
    eprintln!(
        "{} records in {:.1} s; {} rows of answers; a record was too late for a window {} times",
        grouped(totals.records_in),
        (clock.monotonic() - started).as_secs_f64(),
        grouped(totals.records_out),
        grouped(totals.late),
    );
    Ok(())
}

/// Draws until the job's end.
async fn on_board(client: &Client, submitted: &SubmittedJob) -> Result<JobOverview> {
    let mut board = Board::new(submitted);
    let mut rows = follow::all_rows(client, submitted);
    let mut asked_to_end = std::pin::pin!(signals::until_asked_to_end());
    let mut tick = time::interval(REDRAW_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut is_open = true;
    while is_open {
        tokio::select! {
            asked = &mut asked_to_end => {
                asked.context("could not wait for signals")?;
                client.cancel(submitted.job).await?;
                return Err(JobError::Interrupted { job: submitted.job }.into());
            }
            _ = tick.tick() => board.draw(&client.job(submitted.job).await?)?,
            next = rows.next() => match next {
                Some((query, Ok(batch))) => board.on_rows(query, &batch)?,
                Some((_, Err(ClientError::RowsRestarted { .. }))) => board = Board::new(submitted),
                // The job's end says why its rows have ended.
                Some((_, Err(error))) => {
                    tracing::debug!(%error, "rows ended early");
                    is_open = false;
                }
                None => is_open = false,
            },
        }
    }
    let overview = client.wait(submitted.job).await?;
    board.draw(&overview)?;
    follow::check_ending(&overview)?;
    Ok(overview)
}

/// The newest rows of each query.
struct Board {
    panels: Vec<Panel>,
    lines_drawn: usize,
}

struct Panel {
    head: Vec<String>,
    newest: VecDeque<Vec<String>>,
    count: u64,
}

impl Board {
    fn new(submitted: &SubmittedJob) -> Self {
        let panel = |query: &thalweg_client::Query| Panel {
            head: query.schema.fields().iter().map(|field| field.name().clone()).collect(),
            newest: VecDeque::new(),
            count: 0,
        };
        Self { panels: submitted.queries.iter().map(panel).collect(), lines_drawn: 0 }
    }

    fn on_rows(&mut self, query: u32, batch: &RecordBatch) -> Result<()> {
        let Some(panel) = usize::try_from(query).ok().and_then(|query| self.panels.get_mut(query)) else {
            return Ok(());
        };
        let rows = batch.num_rows();
        panel.count += u64::try_from(rows)?;
        // Only what can be seen is made text.
        let from = rows.saturating_sub(BOARD_ROWS);
        panel.newest.extend(texts(&batch.slice(from, rows - from))?);
        let surplus = panel.newest.len().saturating_sub(BOARD_ROWS);
        panel.newest.drain(..surplus);
        Ok(())
    }

    fn draw(&mut self, job: &JobOverview) -> Result<()> {
        let totals = Totals::of(job);
        let rows = rows_that_fit(self.panels.len());
        let mut lines = vec![format!(
            "thalweg demo  {}  {}  {} records{}",
            job.status,
            watermark_text(totals.watermark),
            grouped(totals.records_in),
            set_aside(totals)
        )];
        for (title, panel) in TITLES.iter().zip(&self.panels) {
            lines.push(String::new());
            lines.push(format!("{title}  ({} rows)", grouped(panel.count)));
            lines.extend(panel.lines(rows));
        }
        // A board that is higher than a very low terminal would scroll it: the cursor would not find back either.
        lines.truncate(terminal_lines().saturating_sub(1).max(1));
        let mut out = io::stdout().lock();
        if self.lines_drawn > 0 {
            write!(out, "\x1b[{}A", self.lines_drawn)?;
        }
        // A line that is too long ends at the edge: were it to wrap, the cursor would not find back.
        write!(out, "\x1b[?7l")?;
        for line in &lines {
            writeln!(out, "{line}\x1b[K")?;
        }
        write!(out, "\x1b[J\x1b[?7h")?;
        out.flush()?;
        self.lines_drawn = lines.len();
        Ok(())
    }
}

impl Panel {
    /// Head and rows in aligned columns; always as many lines.
    fn lines(&self, rows: usize) -> Vec<String> {
        let newest = self.newest.len().saturating_sub(rows);
        let all = || std::iter::once(&self.head).chain(self.newest.iter().skip(newest));
        let widths: Vec<usize> = (0..self.head.len())
            .map(|column| all().map(|row| row[column].chars().count()).max().unwrap_or_default())
            .collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_owned()
        };
        let mut lines: Vec<String> = all().map(line).collect();
        lines.resize(rows + 1, String::new());
        lines
    }
}

/// How many rows each panel has, so that the board is not higher than the terminal.
fn rows_that_fit(panels: usize) -> usize {
    let lines = terminal_lines().saturating_sub(OTHER_LINES) / panels.max(1);
    lines.saturating_sub(PANEL_LINES).clamp(1, BOARD_ROWS)
}

fn terminal_lines() -> usize {
    crossterm::terminal::size().map_or(TERMINAL_LINES, |(_, lines)| usize::from(lines))
}

/// The data as files, for as long as the demo runs.
struct DataDirectory(PathBuf);

impl DataDirectory {
    fn create() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("thalweg-demo-{}", std::process::id()));
        let write = |name: &str, bytes: &[u8]| fs::write(path.join(name), bytes);
        fs::create_dir_all(&path)
            .and_then(|()| write("flights.parquet", FLIGHTS))
            .and_then(|()| write("weather.parquet", WEATHER))
            .with_context(|| format!("could not write the demo's data to {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for DataDirectory {
    fn drop(&mut self) {
        // It is in the system's directory for temporary files; what cannot be removed now goes with the rest of it.
        fs::remove_dir_all(&self.0).ok();
    }
}
