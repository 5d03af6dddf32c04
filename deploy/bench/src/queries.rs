//! The scripts: a table of events, views of its three kinds, and one query.

use std::fmt::Write as _;

use anyhow::{Result, bail};

use crate::{JobOptions, input::Input};

const VIEWS: &str = include_str!("../queries/views.sql");
const COLUMNS: &str = include_str!("../queries/columns.sql");
const QUERIES: &[(&str, &str)] = &[
    ("generator", include_str!("../queries/generator.sql")),
    ("q0", include_str!("../queries/q0.sql")),
    ("q1", include_str!("../queries/q1.sql")),
    ("q2", include_str!("../queries/q2.sql")),
    ("q5", include_str!("../queries/q5.sql")),
    ("q7", include_str!("../queries/q7.sql")),
    ("q8", include_str!("../queries/q8.sql")),
    ("tumble", include_str!("../queries/tumble.sql")),
];

/// The whole script of a query.
///
/// # Errors
/// When there is no such query.
pub(crate) fn script(query: &str, job: &JobOptions) -> Result<String> {
    let Some((_, text)) = QUERIES.iter().find(|(name, _)| *name == query) else {
        let names: Vec<&str> = QUERIES.iter().map(|(name, _)| *name).collect();
        bail!("unknown query '{query}': there are {}", names.join(", "));
    };
    let mut script = String::new();
    write!(script, "{}\n{VIEWS}\n", table(job))?;
    if query == "generator" {
        script.push_str(&text.replace("sink WITH", &format!("sink (\n{COLUMNS}) WITH")));
    } else {
        script.push_str(text);
    }
    Ok(script)
}

/// The script that writes the generator's events to files.
pub(crate) fn copy_script(job: &JobOptions, directory: &str, format: &str) -> String {
    let generator = table(&JobOptions { input: Input::Generator, ..job.clone() });
    let options = format!("'connector' = 'filesystem', 'path' = '{directory}', 'format' = '{format}'");
    format!("{generator}\nCREATE TABLE files (\n{COLUMNS}) WITH ({options});\nINSERT INTO files SELECT * FROM nexmark;")
}

/// The table of events.
fn table(job: &JobOptions) -> String {
    let options = match job.input {
        Input::Generator => format!("'connector' = 'nexmark', 'events.num' = '{}'", job.events),
        Input::Json | Input::Parquet => {
            let (path, format) = (job.input.path(job.events), job.input.format());
            format!("'connector' = 'filesystem', 'path' = '{}', 'format' = '{format}'", path.display())
        }
    };
    let watermark = "WATERMARK FOR dateTime AS dateTime - INTERVAL '4' SECOND";
    format!("CREATE TABLE nexmark (\n{COLUMNS},\n  {watermark}\n) WITH ({options});")
}
