//! Where events come from: the generator, or one file of its events that is written once and kept.

use std::{fs, path::PathBuf, str::FromStr};

use anyhow::{Context, Result, bail, ensure};

use crate::{JobOptions, measure, queries};

/// Where events come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// The built-in generator.
    Generator,
    /// One NDJSON file.
    Json,
    /// One Parquet file.
    Parquet,
}

impl FromStr for Input {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "generator" => Ok(Self::Generator),
            "json" => Ok(Self::Json),
            "parquet" => Ok(Self::Parquet),
            _ => Err("there are generator, json, parquet".to_owned()),
        }
    }
}

impl Input {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Generator => "generator",
            Self::Json => "json",
            Self::Parquet => "parquet",
        }
    }

    /// The `'format'` option of its table.
    pub(crate) fn format(self) -> &'static str {
        self.word()
    }

    /// The directory of its file, under cargo's target directory.
    pub(crate) fn path(self, events: u64) -> PathBuf {
        let root = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join("bench-input")));
        root.unwrap_or_else(std::env::temp_dir).join(format!("{}-{events}", self.word()))
    }
}

/// Writes the input's file where it isn't there yet.
///
/// # Errors
/// When the job that writes it fails, or does not leave exactly one file.
pub(crate) fn prepare(input: Input, job: &JobOptions) -> Result<()> {
    let directory = input.path(job.events);
    if input == Input::Generator || directory.exists() {
        return Ok(());
    }
    eprintln!("writing {} events to {}", job.events, directory.display());
    let unfinished = directory.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).with_context(|| format!("could not clear {}", unfinished.display()))?;
    }
    let text = unfinished.to_str().context("the target directory's name is not Unicode")?;
    // One slice, so that one file is written: a single reader's worth of input, split by the engine.
    let single = JobOptions { parallelism: 1, nodes: 1, ..job.clone() };
    measure::run(&queries::copy_script(&single, text, input.format()), &single)?;
    let files = fs::read_dir(&unfinished).with_context(|| format!("could not list {text}"))?.count();
    ensure!(files > 0, "the job wrote no file to {text}");
    if files > 1 {
        bail!("the job wrote {files} files to {text} instead of one");
    }
    fs::rename(&unfinished, &directory).with_context(|| format!("could not rename {text}"))
}
