//! `thalweg demo`: a year of flights and weather out of New York, replayed through a small cluster in this process.
//!
//! The data is part of the binary. A terminal shows a board with the newest rows of each query. Elsewhere, and in
//! other output formats, rows are printed as they come.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, IsTerminal},
    path::PathBuf,
};

use anyhow::{Context, Result};
use futures::StreamExt;
use thalweg_client::{Client, SubmitOptions, SubmittedJob};
use thalweg_types::job::JobOverview;
use tokio::time::{self, Duration, MissedTickBehavior};

use crate::{
    args::{DemoArgs, OutputFormat},
    board::{Board, Screen},
    embedded::{EmbeddedCluster, EmbeddedOptions},
    follow::{self, FollowOptions},
    output::{OutputError, grouped, print, say},
    progress::Totals,
    signals,
};

const SQL: &str = include_str!("../../../demo/demo.sql");
const FLIGHTS: &[u8] = include_bytes!("../../../demo/data/flights.parquet");
const WEATHER: &[u8] = include_bytes!("../../../demo/data/weather.parquet");
/// The data's path in the script, which works when run from the top of the repository.
const DATA_IN_SQL: &str = "deploy/demo/data";
/// 365 days in 60 seconds.
const DEFAULT_SPEED: f64 = 365.0 * 24.0 * 60.0;
/// The time of the first record. It is set so that the replay clocks of several nodes agree.
const START: &str = "2013-01-01 06:00:00";
const SLOTS: u32 = 2;
const REDRAW_EVERY: Duration = Duration::from_millis(200);
/// Redraws before the next queries get their turn, if not all fit.
const REDRAWS_PER_TURN: usize = 15;

pub(super) async fn run(args: DemoArgs, format: OutputFormat) -> Result<()> {
    if args.print_sql {
        return Ok(print(SQL)?);
    }
    let speed = args.speed.unwrap_or_else(|| DEFAULT_SPEED.to_string());
    let mut settings =
        BTreeMap::from([("replay.speed".to_owned(), speed), ("replay.start".to_owned(), START.to_owned())]);
    settings.extend(args.settings);
    let data = DataDirectory::create()?;
    let options = EmbeddedOptions { nodes: args.nodes, slots: SLOTS, ..EmbeddedOptions::default() };
    let cluster = EmbeddedCluster::start(options).await?;
    let shown = show(&cluster, &data, settings, format).await;
    cluster.shutdown_after(&shown).await;
    shown
}

async fn show(
    cluster: &EmbeddedCluster,
    data: &DataDirectory,
    settings: BTreeMap<String, String>,
    format: OutputFormat,
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
    let overview = if format == OutputFormat::Table && io::stdout().is_terminal() {
        on_board(client, &submitted).await?
    } else {
        let options = FollowOptions { format, is_quiet: true };
        follow::follow(client, &submitted, options, clock.as_ref()).await?
    };
    let totals = Totals::of(&overview);
    say(&format!(
        "{} records in {:.1} s; {} rows of answers; a record was too late for a window {} times",
        grouped(totals.records_in),
        (clock.monotonic() - started).as_secs_f64(),
        grouped(totals.records_out),
        grouped(totals.late),
    ));
    Ok(())
}

/// Draws the board until the job ends.
async fn on_board(client: &Client, submitted: &SubmittedJob) -> Result<JobOverview> {
    let mut board = Board::new(submitted);
    let mut screen = Screen::default();
    let mut rows = follow::all_rows(client, submitted);
    let mut asked_to_end = std::pin::pin!(signals::until_asked_to_end());
    let mut tick = time::interval(REDRAW_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut is_open, mut redraws) = (true, 0);
    while is_open {
        tokio::select! {
            asked = &mut asked_to_end => {
                asked.context("could not wait for signals")?;
                return Err(follow::interrupt(client, submitted.job).await);
            }
            _ = tick.tick() => {
                draw(&mut screen, &board, &client.job(submitted.job).await?, redraws / REDRAWS_PER_TURN)?;
                redraws += 1;
            }
            next = rows.next() => match next {
                Some((query, Ok(batch))) => board.on_rows(query, &batch)?,
                // The job's failure says why its rows have ended.
                Some((_, Err(error))) => {
                    tracing::debug!(%error, "rows ended early");
                    is_open = false;
                }
                None => is_open = false,
            },
        }
    }
    let overview = client.wait(submitted.job).await?;
    draw(&mut screen, &board, &overview, redraws / REDRAWS_PER_TURN)?;
    follow::check_ending(&overview)?;
    Ok(overview)
}

fn draw(screen: &mut Screen, board: &Board, job: &JobOverview, turn: usize) -> Result<(), OutputError> {
    let (columns, lines) = Screen::size();
    screen.draw(board.lines(job, columns, lines, turn))
}

/// The data as files; removed when the demo ends.
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
        // If this fails, the files stay in the system's temporary directory.
        fs::remove_dir_all(&self.0).ok();
    }
}
