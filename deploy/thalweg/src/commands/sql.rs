//! `thalweg sql`: a shell. Tables and views belong to the shell; each query is a job.
//!
//! ```text
//! CREATE …, SET …   remembered, after a dry run has shown that they can be read
//! SELECT            submitted with everything remembered before it, and followed to its end
//! INSERT            the same; on a cluster elsewhere submitted and left to it
//! ```

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{IsTerminal, Read},
    path::PathBuf,
};

use anyhow::{Context, Result};
use reedline::{
    ColumnarMenu, Emacs, FileBackedHistory, KeyCode, KeyModifiers, MenuBuilder, Prompt, PromptEditMode,
    PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu, Signal, ValidationResult, Validator,
    default_emacs_keybindings,
};
use thalweg_client::{Client, ClientError, SubmitOptions};
use thalweg_types::{seam::Seams, text::with_causes};

use super::{Remote, answers, lists};
use crate::{
    args::{OutputFormat, SqlArgs},
    completion::Words,
    config,
    embedded::{EmbeddedCluster, EmbeddedOptions},
    follow::{self, FollowOptions, JobError},
    output::say,
    script::{self, Offers},
    seams::cores,
    signals,
    statements::{self, Shown, Statement},
};

const HISTORY_LINES: usize = 1000;
const COMPLETIONS: &str = "completions";
const HELP: &str = "\
  CREATE TABLE …; CREATE VIEW …; SET 'key' = 'value';   remembered in this session
  SELECT …;                                             runs to its end, or until interrupted
  INSERT INTO …;                                        the same; on a cluster elsewhere it runs on there
  EXPLAIN …;                                            how a query would run
  SHOW TABLES; SHOW CREATE TABLE …; DESCRIBE …;         what is remembered
  SHOW JOBS;                                            what the cluster runs and has run
  RESET 'key'; RESET;                                   forgets a setting; forgets everything
  HELP; QUIT;                                           this; leaves
Statements end with a semicolon, which HELP, RESET, QUIT and EXIT do not need.";

pub(super) async fn run(args: SqlArgs, format: OutputFormat, remote: &Remote) -> Result<()> {
    if !args.cluster.coordinator.is_empty() {
        let (client, surroundings) = remote.connect(&args.cluster).await?;
        return Shell { is_remote: true, ..Shell::new(client, surroundings.seams(), format) }.run().await;
    }
    let parallelism = Some(u32::try_from(cores()).unwrap_or(u32::MAX));
    let mut options = EmbeddedOptions { parallelism, ..EmbeddedOptions::default() };
    options.secrets = config::secrets("sql", args.secrets, &options.allowed)?;
    let cluster = EmbeddedCluster::start(options).await?;
    let result = Shell::new(cluster.client().clone(), cluster.seams(), format).run().await;
    cluster.shutdown_after(&result).await;
    result
}

struct Shell {
    client: Client,
    seams: Seams,
    format: OutputFormat,
    /// Statements that precede every query of the shell.
    remembered: Vec<Statement>,
    /// The file of the line history; `None` once it has failed.
    history: Option<PathBuf>,
    /// Whether the cluster outlives the shell.
    is_remote: bool,
    /// Whether to print messages besides answers.
    is_interactive: bool,
}

/// Whether the shell continues.
#[derive(PartialEq, Eq)]
enum Next {
    Statement,
    End,
}

impl Shell {
    fn new(client: Client, seams: Seams, format: OutputFormat) -> Self {
        let history = history_file();
        let is_interactive = std::io::stdin().is_terminal();
        Self { client, seams, format, remembered: Vec::new(), history, is_remote: false, is_interactive }
    }

    async fn run(mut self) -> Result<()> {
        if !self.is_interactive {
            return self.run_script().await;
        }
        say(&format!("thalweg {}: type help for help, quit to leave", env!("CARGO_PKG_VERSION")));
        loop {
            let editor = self.editor();
            let text = match read_line(editor).await? {
                Signal::Success(text) => text,
                Signal::CtrlD => return Ok(()),
                _ => continue,
            };
            for statement in statements::split(&text) {
                match self.on_statement(statement).await {
                    Ok(Next::Statement) => {}
                    Ok(Next::End) => return Ok(()),
                    Err(error) => {
                        say(&format!("error: {}", with_causes(error.as_ref())));
                        break;
                    }
                }
            }
        }
    }

    /// Runs all statements of the standard input, up to the first error.
    async fn run_script(&mut self) -> Result<()> {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("could not read the standard input")?;
        for statement in statements::split(&text) {
            if self.on_statement(statement).await? == Next::End {
                break;
            }
        }
        Ok(())
    }

    async fn on_statement(&mut self, statement: Statement) -> Result<Next> {
        match statement.word().as_str() {
            "QUIT" | "EXIT" => return Ok(Next::End),
            "HELP" => say(HELP),
            "RESET" => {
                let done = reset(&mut self.remembered, statement.setting().as_deref());
                self.tell(&done);
            }
            "EXPLAIN" => {
                let plan = self.explain(&statement.without_word()).await?;
                answers::print_text(plan, answers::PLAN, self.format)?;
            }
            "SHOW" | "DESCRIBE" | "DESC" => self.show(&statement).await?,
            "CREATE" | "SET" | "DROP" => {
                self.explain(&statement.text).await?;
                let (done, is_done) = done(&statement, &names_of(&self.remembered));
                self.tell(&done);
                if is_done {
                    self.remembered.push(statement);
                }
            }
            _ => self.start(&statement).await?,
        }
        Ok(Next::Statement)
    }

    async fn show(&self, statement: &Statement) -> Result<()> {
        match statement.shown() {
            Some(Shown::Jobs) => lists::print_jobs(&self.client.jobs().await?, self.format),
            Some(Shown::Created(name)) => {
                let created = |known: &&Statement| known.created().is_some_and(|(_, created)| created == name);
                let known =
                    self.remembered.iter().rev().find(created).filter(|_| names_of(&self.remembered).contains(&name));
                let known = known.with_context(|| format!("there is no table or view '{name}' here"))?;
                let shown = thalweg_sql::without_secrets(&known.text);
                answers::print_text(format!("{shown};"), answers::ANSWER, self.format)
            }
            None => {
                let answer = self.explain(&statement.text).await?;
                answers::print_text(answer, answers::ANSWER, self.format)
            }
        }
    }

    /// Runs a statement. On a remote cluster, a statement that only writes is submitted and not waited for.
    async fn start(&self, statement: &Statement) -> Result<()> {
        let request = self.request(&statement.text);
        let offers = Offers { http: self.is_remote, standard_input: self.is_remote || self.is_interactive };
        script::check_sources(&request, "sql", offers)?;
        let submitted = self.client.submit(request).await;
        let submitted = submitted.map_err(|error| self.placed(error))?;
        if self.is_remote && submitted.queries.is_empty() {
            let job = submitted.job;
            say(&format!("submitted {job}: thalweg job show {job} tells of it, thalweg job stop {job} ends it"));
            return Ok(());
        }
        let options = FollowOptions { format: self.format, is_quiet: false };
        let followed = follow::follow(&self.client, &submitted, options, self.seams.clock.as_ref()).await;
        followed.map(|_| ()).map_err(|error| match error.downcast::<JobError>() {
            Ok(JobError::Failed { job, message }) => {
                JobError::Failed { job, message: from_line(&message, self.lines_before()) }.into()
            }
            Ok(other) => other.into(),
            Err(other) => other,
        })
    }

    async fn explain(&self, query: &str) -> Result<String> {
        self.client.explain(self.request(query)).await.map_err(|error| self.placed(error))
    }

    /// A rejection with its line counted within the statement: the user does not see the remembered statements before
    /// it.
    fn placed(&self, error: ClientError) -> anyhow::Error {
        if let ClientError::Rejected { message } = error {
            ClientError::Rejected { message: from_line(&message, self.lines_before()) }.into()
        } else {
            error.into()
        }
    }

    fn lines_before(&self) -> usize {
        self.remembered.iter().map(|statement| 1 + statement.text.matches('\n').count()).sum()
    }

    /// Says what was done, if a user is at the terminal.
    fn tell(&self, done: &str) {
        if self.is_interactive {
            say(done);
        }
    }

    fn request(&self, query: &str) -> SubmitOptions {
        let remembered = self.remembered.iter().map(|statement| format!("{};\n", statement.text));
        let sql: String = remembered.chain([query.to_owned()]).collect();
        let name = script::name_of(None, &sql, &BTreeMap::new(), "shell");
        SubmitOptions { sql, name, ..SubmitOptions::default() }
    }

    fn editor(&mut self) -> Reedline {
        let mut keys = default_emacs_keybindings();
        let complete = vec![ReedlineEvent::Menu(COMPLETIONS.to_owned()), ReedlineEvent::MenuNext];
        keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, ReedlineEvent::UntilFound(complete));
        let menu = ReedlineMenu::EngineCompleter(Box::new(ColumnarMenu::default().with_name(COMPLETIONS)));
        let editor = Reedline::create()
            .with_completer(Box::new(Words::with_names(names_of(&self.remembered))))
            .with_menu(menu)
            .with_quick_completions(true)
            .with_partial_completions(true)
            .with_edit_mode(Box::new(Emacs::new(keys)))
            .with_validator(Box::new(UntilSemicolon))
            .use_bracketed_paste(true);
        let Some(path) = self.history.clone() else { return editor };
        match FileBackedHistory::with_file(HISTORY_LINES, path.clone()) {
            Ok(history) => editor.with_history(Box::new(history)),
            Err(error) => {
                say(&format!("warning: {} cannot be used, so nothing is remembered there: {error}", path.display()));
                self.history = None;
                editor
            }
        }
    }
}

/// Reads lines until a statement ends. Reading blocks its thread, so it has one of its own, and this process can go
/// on running its cluster. When the process is asked to end, it abandons that thread and restores the terminal.
async fn read_line(mut editor: Reedline) -> Result<Signal> {
    #[allow(clippy::disallowed_methods, reason = "a terminal's lines come by blocking reads only")]
    let reading = tokio::task::spawn_blocking(move || editor.read_line(&ShellPrompt));
    tokio::select! {
        line = reading => line.context("the line's reader ended abnormally")?.context("could not read a line"),
        asked = signals::until_asked_to_end() => {
            crossterm::terminal::disable_raw_mode().ok();
            crossterm::execute!(std::io::stdout(), crossterm::event::DisableBracketedPaste).ok();
            say("");
            asked.context("could not wait for signals").map(|()| Signal::CtrlD)
        }
    }
}

/// Moves the line number of an error message up by `before` lines. The place is at its start, or behind " failed: ".
fn from_line(message: &str, before: usize) -> String {
    const FAILED: &str = " failed: ";
    let place = match message.starts_with("line ") {
        true => Some(0),
        false => message.match_indices(" failed: line ").next().map(|(at, _)| at + FAILED.len()),
    };
    let moved = place.and_then(|at| {
        let (line, rest) = message[at..].strip_prefix("line ")?.split_once(',')?;
        let line = line.parse::<usize>().ok()?.checked_sub(before).filter(|line| *line > 0)?;
        Some(format!("{}line {line},{rest}", &message[..at]))
    });
    moved.unwrap_or_else(|| message.to_owned())
}

/// What a statement has done, given the known tables and views, and whether it needs to be remembered.
fn done(statement: &Statement, known: &[String]) -> (String, bool) {
    match statement.created() {
        Some((kind, name)) if known.contains(&name) && statement.creates_if_missing() => {
            (format!("{name} is there already: no {kind} was created"), false)
        }
        Some((kind, name)) => (format!("created {kind} {name}"), true),
        None if statement.word() == "DROP" => {
            let (dropped, missing): (Vec<String>, Vec<String>) =
                statement.dropped().into_iter().partition(|name| known.contains(name));
            match dropped.is_empty() {
                true => (format!("there is no {}: nothing was dropped", missing.join(", ")), false),
                false => (format!("dropped {}", dropped.join(", ")), true),
            }
        }
        None => ("set".to_owned(), true),
    }
}

/// Forgets a setting, or everything. Returns the message to print.
fn reset(remembered: &mut Vec<Statement>, key: Option<&str>) -> String {
    let Some(key) = key else {
        remembered.clear();
        return "everything is forgotten".to_owned();
    };
    let before = remembered.len();
    remembered.retain(|statement| statement.setting().as_deref() != Some(key));
    let was_set = remembered.len() < before;
    if was_set { format!("'{key}' is reset") } else { format!("'{key}' was not set: nothing was reset") }
}

/// The tables and views that exist: those created and not dropped since.
fn names_of(statements: &[Statement]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for statement in statements {
        let dropped = statement.dropped();
        names.retain(|name| !dropped.contains(name));
        names.extend(statement.created().map(|(_, name)| name));
    }
    names
}

fn history_file() -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(".thalweg_history"))
}

/// A statement ends with a semicolon, and may span lines.
struct UntilSemicolon;

impl Validator for UntilSemicolon {
    fn validate(&self, line: &str) -> ValidationResult {
        if line.trim().is_empty() || statements::is_complete(line) {
            ValidationResult::Complete
        } else {
            ValidationResult::Incomplete
        }
    }
}

struct ShellPrompt;

impl Prompt for ShellPrompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed("thalweg")
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("      -> ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Owned(format!("(search: {}) ", search.term))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_in_the_statement() {
        assert_eq!(from_line("line 5, column 8: unknown column 'a'", 4), "line 1, column 8: unknown column 'a'");
        // A place in a remembered statement, and text that is no place.
        assert_eq!(from_line("line 4, column 8: no", 4), "line 4, column 8: no");
        assert_eq!(from_line("line up, please", 4), "line up, please");
        assert_eq!(
            from_line("operator Calc a failed: line 6, column 3: no", 4),
            "operator Calc a failed: line 2, column 3: no"
        );
        assert_eq!(from_line("nothing to run", 4), "nothing to run");
    }

    #[test]
    fn what_is_remembered_is_told() {
        let known = ["g".to_owned(), "v".to_owned()];
        let told = |text: &str| done(&Statement { text: text.to_owned() }, &known);
        let did = |what: &str| (what.to_owned(), true);
        let did_nothing = |what: &str| (what.to_owned(), false);
        assert_eq!(told("CREATE TABLE t (a INT)"), did("created table t"));
        assert_eq!(told("CREATE TABLE IF NOT EXISTS t (a INT)"), did("created table t"));
        let nothing = did_nothing("g is there already: no table was created");
        assert_eq!(told("CREATE TABLE IF NOT EXISTS g (a INT)"), nothing);
        assert_eq!(told("DROP VIEW v"), did("dropped v"));
        assert_eq!(told("DROP TABLE IF EXISTS x, g"), did("dropped g"));
        assert_eq!(told("DROP TABLE IF EXISTS x"), did_nothing("there is no x: nothing was dropped"));
        assert_eq!(told("SET 'a' = 'b'"), did("set"));
    }

    #[test]
    fn a_setting_is_reset_by_its_key_and_everything_without_one() {
        let mut remembered = statements::split("CREATE TABLE t (a INT); SET 'a' = '1'; SET 'b' = '2'; SET 'a' = '3';");
        assert_eq!(reset(&mut remembered, Some("c")), "'c' was not set: nothing was reset");
        assert_eq!(reset(&mut remembered, Some("a")), "'a' is reset");
        let left: Vec<&str> = remembered.iter().map(|statement| statement.text.as_str()).collect();
        assert_eq!(left, ["CREATE TABLE t (a INT)", "SET 'b' = '2'"]);
        reset(&mut remembered, None);
        assert!(remembered.is_empty());
    }
}
