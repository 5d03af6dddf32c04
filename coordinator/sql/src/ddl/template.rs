//! Holds `sink.path-template` against the columns that name directories: each directory must tell the values of its partition.
//!
//! A physical column of `PARTITIONED BY` is nowhere but in its directory's name, so a template must have all of it. A computed one
//! follows from what is in the files, so its time may be written more coarsely; but which rows lie in one directory must not depend on
//! where one value ends and the next begins.

use arrow::datatypes::{DataType, TimeUnit};
use thalweg_functions::{
    names::sql_type,
    time_pattern::{TimePattern, Told},
};
use thalweg_types::connector::{ARRIVAL_TIME, PathPiece, PathTemplate, TableConnector};

use super::{apart::Names, written::Written};
use crate::{
    catalog::{Column, is_timestamp},
    errors::{Result, SqlError},
};

/// Directories are named by microseconds at most.
const NAMED_DIGITS_MAX: usize = 6;

/// Checks the template of a table whose directories these columns name.
pub(super) fn check(table: &TableConnector, options: &[Written], named: &[&Column]) -> Result<()> {
    let Some(option) = options.iter().find(|option| option.key == "sink.path-template") else { return Ok(()) };
    let refused = |reason: String| SqlError::at(option.value_at, reason);
    let Some(template) = table.path_template().map_err(|error| refused(error.to_string()))? else { return Ok(()) };
    let said = |error: Refusal| {
        let refused = refused(format!("option 'sink.path-template'{}", error.reason));
        if error.hint.is_empty() { refused } else { refused.with_hint(error.hint) }
    };
    let checked = Checked { template: &template, named };
    for name in template.columns() {
        if checked.column(name).is_none() {
            let names = named.iter().map(|column| column.field.name().as_str());
            let refused = said(Refusal::new(format!(": '{name}' is no column of PARTITIONED BY")));
            return Err(refused.with_suggestion(name, names));
        }
    }
    checked.check_all().map_err(said)
}

struct Refusal {
    /// What follows the option's name.
    reason: String,
    /// What to write instead; empty if that is said.
    hint: String,
}

impl Refusal {
    fn new(reason: String) -> Self {
        Self { reason, hint: String::new() }
    }

    fn hinted(reason: String, hint: String) -> Self {
        Self { reason, hint }
    }
}

struct Checked<'a> {
    template: &'a PathTemplate,
    named: &'a [&'a Column],
}

impl Checked<'_> {
    fn column(&self, name: &str) -> Option<&Column> {
        self.named.iter().copied().find(|column| column.field.name() == name)
    }

    fn check_all(&self) -> std::result::Result<(), Refusal> {
        for column in self.named {
            let name = column.field.name();
            if self.template.columns().all(|used| used != name) {
                let reason =
                    format!(" leaves out '{name}', a column of PARTITIONED BY, which is not in the files either");
                return Err(Refusal::hinted(
                    reason,
                    format!("{{{name}}} stands for its value, in a directory of its own for example"),
                ));
            }
        }
        self.template.patterns().try_for_each(|(name, pattern)| self.check_pattern(name, pattern))?;
        self.named.iter().filter(|column| column.is_physical()).try_for_each(|column| self.check_whole(column))?;
        self.template.levels.iter().try_for_each(|level| self.check_apart(level))
    }

    fn check_pattern(&self, name: Option<&str>, pattern: &str) -> std::result::Result<(), Refusal> {
        let column = name.and_then(|name| self.column(name));
        if let Some(column) = column.filter(|column| !is_timestamp(column.field.data_type())) {
            let (name, kind) = (column.field.name(), sql_type(column.field.data_type()));
            return Err(Refusal::new(format!(": '{name}' is {kind}, and a pattern is for a TIMESTAMP")));
        }
        TimePattern::read(pattern).map(|_| ()).map_err(|error| Refusal::new(format!(": {error}")))
    }

    /// Refuses patterns that leave something of a physical column out.
    fn check_whole(&self, column: &Column) -> std::result::Result<(), Refusal> {
        let name = column.field.name();
        if self.template.whole_columns().any(|whole| whole == name) {
            return Ok(());
        }
        let patterns: Vec<TimePattern> = patterns_of(self.template, name).collect();
        let digits = digits_of(column.field.data_type());
        let left_out = match TimePattern::told_by(&patterns) {
            Told::NotThe { unit } => format!("its {unit}"),
            Told::SecondsTo { digits: told } if told.min(NAMED_DIGITS_MAX) < digits => {
                "digits of its second".to_owned()
            }
            Told::SecondsTo { .. } => return Ok(()),
        };
        let reason = format!(
            ": the patterns of '{name}' leave out {left_out}, so that different values have one directory, and '{name}', a column of PARTITIONED BY, is not in the files either"
        );
        let hint = format!(
            "declare a column `of_{name}` AS `{name}`, and name that one in PARTITIONED BY and in the template: then '{name}' is in the files"
        );
        Err(Refusal::hinted(reason, hint))
    }

    /// Refuses a directory's name that can be read in two ways.
    fn check_apart(&self, level: &[PathPiece]) -> std::result::Result<(), Refusal> {
        let mut names = Names::new();
        // What the first piece of the automaton is of each value.
        let mut values: Vec<(usize, &str)> = Vec::new();
        for piece in level {
            match piece {
                PathPiece::Text(text) => names.text(text),
                PathPiece::Column(name) => {
                    values.push((names.pieces(), name));
                    names.value(self.column(name).map_or(&DataType::Utf8, |column| column.field.data_type()));
                }
                PathPiece::Time { column, pattern } => {
                    values.push((names.pieces(), column));
                    let counts = self.column(column).is_some_and(Column::is_physical);
                    TimePattern::read(pattern).iter().for_each(|pattern| names.time(pattern, counts));
                }
                PathPiece::Arrival { pattern } => {
                    values.push((names.pieces(), ARRIVAL_TIME));
                    TimePattern::read(pattern).iter().for_each(|pattern| names.time(pattern, false));
                }
            }
        }
        let Some((piece, _)) = names.confused() else { return Ok(()) };
        let at = values.iter().rposition(|(first, _)| *first <= piece).unwrap_or_default();
        let name_at = |at: usize| values.get(at).map(|(_, name)| *name);
        let (Some(one), other) = (name_at(at), name_at(at + 1)) else { return Ok(()) };
        let Some(other) = other else {
            let reason = format!(
                ": different times of '{one}' have one directory, since its numbers are not told from each other"
            );
            return Err(Refusal::hinted(reason, "patterns such as HHmm have numbers of one width".to_owned()));
        };
        let reason = format!(
            ": different values of '{one}' and '{other}' have one directory, since nothing tells where the one ends and the other begins"
        );
        Err(Refusal::hinted(
            reason,
            format!("put / or = between them, which no value has in a directory's name: …/{other}={{{other}}}"),
        ))
    }
}

fn patterns_of<'a>(template: &'a PathTemplate, name: &'a str) -> impl Iterator<Item = TimePattern> + 'a {
    let patterns = template.patterns().filter(move |(column, _)| *column == Some(name));
    patterns.filter_map(|(_, pattern)| TimePattern::read(pattern).ok())
}

/// The digits of a second that a timestamp has.
fn digits_of(data_type: &DataType) -> usize {
    match data_type {
        DataType::Timestamp(TimeUnit::Second, _) => 0,
        DataType::Timestamp(TimeUnit::Millisecond, _) => 3,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 6,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => 9,
        _ => 0,
    }
}
