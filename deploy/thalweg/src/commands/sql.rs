//! `thalweg sql`: a shell. Tables and views belong to the session; each query is a job of its own.
//!
//! ```text
//! CREATE …, SET …   remembered, after a dry run has shown that they can be read
//! SELECT, INSERT    submitted with everything remembered before it, and followed to its end
//! ```

use std::{
    borrow::Cow,
    io::{IsTerminal, Read},
    path::PathBuf,
};

use anyhow::{Context, Result};
use reedline::{
    ColumnarMenu, Emacs, FileBackedHistory, KeyCode, KeyModifiers, MenuBuilder, Prompt, PromptEditMode,
    PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu, Signal, ValidationResult, Validator,
    default_emacs_keybindings,
};
use thalweg_client::{Client, SubmitOptions};
use thalweg_types::{seam::Seams, text::with_causes};

use super::{Remote, answers};
use crate::{
    args::{Format, SqlArgs},
    completion::Words,
    embedded::{EmbeddedCluster, EmbeddedOptions},
    follow::{self, FollowOptions},
    output::say,
    seams::cores,
    signals,
    statements::{self, Statement},
};

const HISTORY_LINES: usize = 1000;
const COMPLETIONS: &str = "completions";
const HELP: &str = "\
  CREATE TABLE …; CREATE VIEW …; SET 'key' = 'value';   remembered in this session
  SELECT …; INSERT INTO …;                              run to their end, or until interrupted
  EXPLAIN …;                                            how a query would run
  SHOW TABLES; DESCRIBE …; RESET; HELP; QUIT;           statements end with a semicolon";

pub(super) async fn run(args: SqlArgs, format: Format, remote: &Remote) -> Result<()> {
    if !args.cluster.coordinator.is_empty() {
        let (client, surroundings) = remote.connect(&args.cluster).await?;
        return Session::new(client, surroundings.seams(), format).run().await;
    }
    let slots = u32::try_from(cores()).unwrap_or(u32::MAX);
    let cluster = EmbeddedCluster::start(EmbeddedOptions { slots, ..EmbeddedOptions::default() }).await?;
    let result = Session::new(cluster.client().clone(), cluster.seams(), format).run().await;
    cluster.shutdown().await;
    result
}

struct Session {
    client: Client,
    seams: Seams,
    format: Format,
    /// What every query of the session begins with.
    remembered: Vec<Statement>,
    /// Where lines are remembered over sessions, while that works.
    history: Option<PathBuf>,
}

/// Whether the session goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Statement,
    End,
}

impl Session {
    fn new(client: Client, seams: Seams, format: Format) -> Self {
        Self { client, seams, format, remembered: Vec::new(), history: history_file() }
    }

    async fn run(mut self) -> Result<()> {
        if !std::io::stdin().is_terminal() {
            return self.run_script().await;
        }
        say(&format!("thalweg {}: type HELP; for help, QUIT; to leave", env!("CARGO_PKG_VERSION")));
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

    /// Everything that comes by the standard input; the first error ends it.
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
            "RESET" => self.remembered.clear(),
            "EXPLAIN" => {
                let plan = self.client.explain(self.request(&statement.without_word())).await?;
                answers::print_text(plan, answers::PLAN, self.format)?;
            }
            "SHOW" | "DESCRIBE" | "DESC" => {
                let answer = self.client.explain(self.request(&statement.text)).await?;
                answers::print_text(answer, answers::ANSWER, self.format)?;
            }
            "CREATE" | "SET" | "DROP" => {
                self.client.explain(self.request(&statement.text)).await?;
                self.remembered.push(statement);
            }
            _ => {
                let submitted = self.client.submit(self.request(&statement.text)).await?;
                let options = FollowOptions { format: self.format, is_quiet: false };
                follow::follow(&self.client, &submitted, options, self.seams.clock.as_ref()).await?;
            }
        }
        Ok(Next::Statement)
    }

    fn request(&self, query: &str) -> SubmitOptions {
        let remembered = self.remembered.iter().map(|statement| format!("{};\n", statement.text));
        let sql = remembered.chain([query.to_owned()]).collect();
        SubmitOptions { sql, name: "shell".to_owned(), ..SubmitOptions::default() }
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

/// Reads until a statement's end. That blocks a thread, while this process still has a cluster to run; a process that is
/// asked to end leaves the thread, and the terminal as it was.
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

/// The tables and views that there are: what was created, without what was dropped since.
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

/// A statement may span lines: it ends with a semicolon.
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
