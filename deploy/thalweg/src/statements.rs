//! Splits a script into statements, and reads as much of them as a shell needs.
//!
//! Semicolons in quotes and comments do not end a statement. What a statement means is decided by the coordinator.

use thalweg_types::connector::{Output, find};

/// Words that the shell completes.
pub const KEYWORDS: &[&str] = &[
    "AND",
    "AVG",
    "BETWEEN",
    "BIGINT",
    "BOOLEAN",
    "CASE",
    "CAST",
    "COUNT",
    "CREATE",
    "CUMULATE",
    "DATE",
    "DECIMAL",
    "DESCRIPTOR",
    "DISTINCT",
    "DOUBLE",
    "ELSE",
    "END",
    "EXPLAIN",
    "FILTER",
    "FROM",
    "GROUP BY",
    "HAVING",
    "HELP",
    "HOP",
    "INSERT INTO",
    "INT",
    "INTERVAL",
    "JOIN",
    "LIKE",
    "MAX",
    "MIN",
    "NOT NULL",
    "ORDER BY",
    "PARTITION BY",
    "QUIT",
    "RESET",
    "ROW_NUMBER",
    "SELECT",
    "SESSION",
    "SHOW CREATE TABLE",
    "SHOW JOBS",
    "SHOW TABLES",
    "STRING",
    "SUM",
    "TABLE",
    "THEN",
    "TIMESTAMP",
    "TUMBLE",
    "UNION ALL",
    "VIEW",
    "WATERMARK FOR",
    "WHEN",
    "WHERE",
    "WITH",
    "window_end",
    "window_start",
    "window_time",
];

/// Commands of the shell itself.
const SHELL_WORDS: &[&str] = &["EXIT", "HELP", "QUIT", "RESET"];

/// One statement, without its semicolon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub text: String,
}

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Changes what later statements mean.
    Declares,
    /// Has an answer at once.
    Asks,
    /// Belongs to a job.
    Runs,
}

/// What the shell shows itself, without asking the planner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// The cluster's jobs.
    Jobs,
    /// The statement that created the table or view of this name.
    Created(String),
}

impl Statement {
    /// Its kind, by its first word.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.word().as_str() {
            "CREATE" | "SET" | "RESET" | "DROP" => Kind::Declares,
            "SHOW" | "DESCRIBE" | "DESC" | "EXPLAIN" => Kind::Asks,
            _ => Kind::Runs,
        }
    }

    /// Its first word, in capitals.
    #[must_use]
    pub fn word(&self) -> String {
        self.words().next().unwrap_or_default().to_uppercase()
    }

    /// Whether it, or a part of it, is an `INSERT INTO`.
    #[must_use]
    pub fn inserts(&self) -> bool {
        let words: Vec<&str> = self.words().collect();
        let is_insert = |pair: &[&str]| pair[0].eq_ignore_ascii_case("INSERT") && pair[1].eq_ignore_ascii_case("INTO");
        self.kind() == Kind::Runs && words.windows(2).any(is_insert)
    }

    /// The text after its first word.
    #[must_use]
    pub fn without_word(&self) -> String {
        let word = self.words().next().unwrap_or_default();
        // The position of the word itself: a comment before it may contain the same word.
        let at = word.as_ptr().addr().saturating_sub(self.text.as_ptr().addr());
        self.text.get(at + word.len()..).unwrap_or_default().trim().to_owned()
    }

    /// The kind (`table` or `view`) and name of what it creates.
    #[must_use]
    pub fn created(&self) -> Option<(&'static str, String)> {
        if self.word() != "CREATE" {
            return None;
        }
        let mut words = self.words().skip(1);
        let kind = words.find_map(|word| match word.to_uppercase().as_str() {
            "TABLE" => Some("table"),
            "VIEW" => Some("view"),
            _ => None,
        })?;
        let name = words.find(|word| !["IF", "NOT", "EXISTS"].contains(&word.to_uppercase().as_str()))?;
        Some((kind, name.split('(').next().unwrap_or(name).trim_matches(['`', '"']).to_owned()))
    }

    /// The names of the tables and views that it drops.
    #[must_use]
    pub fn dropped(&self) -> Vec<String> {
        if self.word() != "DROP" {
            return Vec::new();
        }
        let text: String = self.words().skip(2).collect::<Vec<_>>().join(" ");
        let names = text.split([',', ' ']).map(|name| name.trim_matches(['`', '"']));
        let is_name = |name: &&str| !["", "IF", "EXISTS"].contains(&name.to_uppercase().as_str());
        names.filter(is_name).map(str::to_owned).collect()
    }

    /// The key of the setting that it sets or resets.
    #[must_use]
    pub fn setting(&self) -> Option<String> {
        if !["SET", "RESET"].contains(&self.word().as_str()) {
            return None;
        }
        let word = self.words().nth(1)?;
        let key = match word.strip_prefix('\'') {
            Some(quoted) => quoted.split('\'').next()?,
            None => word.split('=').next()?,
        };
        Some(key.to_owned()).filter(|key| !key.is_empty())
    }

    /// Whether it is a `CREATE … IF NOT EXISTS`.
    #[must_use]
    pub fn creates_if_missing(&self) -> bool {
        let words: Vec<&str> = self.words().take(7).collect();
        let is = |words: &[&str]| ["IF", "NOT", "EXISTS"].iter().zip(words).all(|(a, b)| a.eq_ignore_ascii_case(b));
        self.word() == "CREATE" && words.windows(3).any(is)
    }

    /// What it shows if the shell answers it: `SHOW JOBS`, or `SHOW CREATE TABLE t`.
    #[must_use]
    pub fn shown(&self) -> Option<Shown> {
        let words: Vec<&str> = self.words().collect();
        let is = |at: usize, word: &str| words.get(at).is_some_and(|found| found.eq_ignore_ascii_case(word));
        match words.as_slice() {
            [_, _] if is(0, "SHOW") && is(1, "JOBS") => Some(Shown::Jobs),
            [_, _, _, name] if is(0, "SHOW") && is(1, "CREATE") && (is(2, "TABLE") || is(2, "VIEW")) => {
                Some(Shown::Created(name.trim_matches(['`', '"']).to_owned()))
            }
            _ => None,
        }
    }

    /// Its words, without comments.
    fn words(&self) -> impl Iterator<Item = &str> {
        code(&self.text).into_iter().flat_map(str::split_whitespace)
    }
}

/// The statements of a script. A statement set is one statement.
#[must_use]
pub fn split(script: &str) -> Vec<Statement> {
    let statements = thalweg_sql::split_statements(script).into_iter().map(|text| Statement { text });
    statements.filter(|statement| statement.words().next().is_some()).collect()
}

/// Whether a script writes to anything but tables that are printed.
#[must_use]
pub fn writes_elsewhere(script: &str) -> bool {
    let statements = split(script);
    let is_printing = |connector: &str| {
        let sink = find(connector).and_then(|spec| spec.sink);
        sink.is_some_and(|sink| sink.output == Output::StandardOutput)
    };
    let prints = |statement: &&Statement| statement.text.split('\'').any(is_printing);
    let printing: Vec<String> =
        statements.iter().filter(prints).filter_map(Statement::created).map(|(_, name)| name).collect();
    let words: Vec<&str> = statements.iter().flat_map(Statement::words).collect();
    let targets = words.windows(2).filter(|pair| pair[0].eq_ignore_ascii_case("INTO")).map(|pair| pair[1]);
    let names = targets.map(|word| word.split('(').next().unwrap_or(word).trim_matches(['`', '"']));
    names.into_iter().any(|name| printing.iter().all(|print| print != name))
}

/// Whether the script has a statement, and only blanks and comments follow its last semicolon. Commands of the shell
/// need no semicolon.
#[must_use]
pub fn is_complete(script: &str) -> bool {
    let is_word = SHELL_WORDS.iter().any(|word| script.trim().eq_ignore_ascii_case(word));
    is_word || !split(script).is_empty() && thalweg_sql::is_complete(script)
}

/// The text without its comments.
fn code(text: &str) -> Vec<&str> {
    enum Within {
        Code,
        Quotes(char),
        Comment,
        /// A comment with this many open levels: comments nest.
        Block(u32),
    }
    let (mut code, mut start, mut within) = (Vec::new(), 0, Within::Code);
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let next = characters.peek().map(|(_, next)| *next);
        within = match (within, character) {
            (Within::Code, '\'' | '"' | '`') => Within::Quotes(character),
            (Within::Quotes(quote), _) if quote == character => Within::Code,
            (Within::Code, '-') if next == Some('-') => {
                code.push(&text[start..at]);
                Within::Comment
            }
            (Within::Code, '/') if next == Some('*') => {
                code.push(&text[start..at]);
                characters.next();
                Within::Block(1)
            }
            (Within::Comment, '\n') => {
                start = at;
                Within::Code
            }
            (Within::Block(depth), '/') if next == Some('*') => {
                characters.next();
                Within::Block(depth + 1)
            }
            (Within::Block(depth), '*') if next == Some('/') => {
                characters.next();
                start = at + 2;
                if depth > 1 { Within::Block(depth - 1) } else { Within::Code }
            }
            (within, _) => within,
        };
    }
    if matches!(within, Within::Code | Within::Quotes(_)) {
        code.push(&text[start..]);
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(script: &str) -> Vec<String> {
        split(script).into_iter().map(|statement| statement.text).collect()
    }

    #[test]
    fn semicolons_in_quotes_and_comments_end_nothing() {
        let script = "SELECT ';', \"a;b\" -- not; here\nFROM t; /* nor; here */ SET 'a' = 'it''s; me';\n-- the end;\n";
        assert_eq!(texts(script), ["SELECT ';', \"a;b\" -- not; here\nFROM t", "SET 'a' = 'it''s; me'"]);
    }

    #[test]
    fn a_statement_is_complete_with_its_semicolon() {
        assert!(is_complete("SELECT 1;"));
        assert!(is_complete("SELECT 1; -- done"));
        assert!(is_complete("quit") && is_complete(" EXIT ") && is_complete("Help") && !is_complete("quit now"));
        assert!(!is_complete("SELECT 1"));
        assert!(!is_complete("SELECT 1; SELECT"));
        assert!(!is_complete("SELECT ';"));
        assert!(!is_complete("SELECT 1; /* to be"));
        assert!(is_complete("SELECT 1; /* done /* really */ */"));
        assert!(!is_complete("") && !is_complete("-- nothing"));
        assert!(!is_complete("BEGIN STATEMENT SET; INSERT INTO a SELECT 1;"));
        assert!(is_complete("BEGIN STATEMENT SET; INSERT INTO a SELECT 1; END;"));
    }

    #[test]
    fn statements_are_told_apart_by_their_first_word() {
        let kinds =
            split("CREATE TABLE t (a INT); set 'a' = 'b'; desc t; EXPLAIN SELECT 1; WITH a AS (SELECT 1) SELECT 2");
        let set = split("BEGIN STATEMENT SET; INSERT INTO a SELECT 1; INSERT INTO b SELECT 1; END; SELECT 1");
        assert_eq!(set.iter().map(Statement::kind).collect::<Vec<_>>(), [Kind::Runs, Kind::Runs], "{set:?}");
        let kinds: Vec<Kind> = kinds.iter().map(Statement::kind).collect();
        assert_eq!(kinds, [Kind::Declares, Kind::Declares, Kind::Asks, Kind::Asks, Kind::Runs]);
    }

    #[test]
    fn what_is_printed_is_told_from_what_is_written() {
        let tables = "CREATE TABLE p (n INT) WITH ('connector' = 'print'); CREATE TABLE f (n INT) WITH ('connector' = 'filesystem');";
        let writes = |inserts: &str| writes_elsewhere(&format!("{tables} {inserts}"));
        assert!(!writes("SELECT 1; INSERT INTO p SELECT 1; insert into `p`(n) SELECT 2"));
        assert!(writes("INSERT INTO p SELECT 1; INSERT INTO f(n) SELECT 1"));
        assert!(writes("BEGIN STATEMENT SET; INSERT INTO f SELECT 1; END"));
    }

    #[test]
    fn a_word_is_not_looked_for_in_comments() {
        let statement = Statement { text: "/* EXPLAIN the join */ EXPLAIN SELECT 1".to_owned() };
        assert_eq!(statement.without_word(), "SELECT 1");
    }

    #[test]
    fn comments_are_no_words() {
        let kinds = split("/* a; */ SET 'a' = 'b'; -- c\n/**/ SHOW /* d */ TABLES; '--' /* e; */");
        let kinds: Vec<(Kind, String)> = kinds.iter().map(|s| (s.kind(), s.word())).collect();
        let expected = [(Kind::Declares, "SET"), (Kind::Asks, "SHOW"), (Kind::Runs, "'--'")];
        assert_eq!(kinds, expected.map(|(kind, word)| (kind, word.to_owned())));
        assert!(split("/* nothing */ -- at all").is_empty());
    }

    #[test]
    fn what_is_created_has_a_name() {
        let created = |text: &str| Statement { text: text.to_owned() }.created();
        assert_eq!(created("create table if not exists `t`(a INT)"), Some(("table", "t".to_owned())));
        assert_eq!(created("CREATE OR REPLACE VIEW v AS SELECT 1"), Some(("view", "v".to_owned())));
        assert_eq!(created("SELECT 1"), None);
        let dropped = |text: &str| Statement { text: text.to_owned() }.dropped();
        assert_eq!(dropped("drop table if exists `a`, b"), ["a", "b"]);
        assert!(dropped("SELECT 1").is_empty());
    }

    #[test]
    fn what_is_set_has_a_key() {
        let key = |text: &str| Statement { text: text.to_owned() }.setting();
        assert_eq!(key("RESET 'parallelism.default'").as_deref(), Some("parallelism.default"));
        assert_eq!(key("set 'a'='b'").as_deref(), Some("a"));
        assert_eq!(key("RESET job.name").as_deref(), Some("job.name"));
        assert!([key("RESET"), key("RESET -- 'a'"), key("SELECT 'a'")].iter().all(Option::is_none));
        let is_optional = |text: &str| Statement { text: text.to_owned() }.creates_if_missing();
        assert!(is_optional("create temporary table if not exists t (a INT)"));
        assert!(!is_optional("CREATE VIEW t AS SELECT 1"));
    }

    #[test]
    fn what_the_shell_shows_itself_is_told_from_what_it_asks() {
        let shown = |text: &str| Statement { text: text.to_owned() }.shown();
        assert_eq!(shown("show jobs"), Some(Shown::Jobs));
        assert_eq!(shown("SHOW CREATE TABLE `t`"), Some(Shown::Created("t".to_owned())));
        assert_eq!(shown("SHOW /* all */ CREATE VIEW v"), Some(Shown::Created("v".to_owned())));
        assert!([shown("SHOW TABLES"), shown("SHOW CREATE TABLE"), shown("SELECT jobs")].iter().all(Option::is_none));
    }

    #[test]
    fn the_first_word_can_be_taken_off() {
        let statement = Statement { text: "explain  SELECT a FROM t".to_owned() };
        assert_eq!((statement.word().as_str(), statement.without_word().as_str()), ("EXPLAIN", "SELECT a FROM t"));
    }
}
