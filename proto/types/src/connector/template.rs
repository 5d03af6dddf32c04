//! How a table's directories are named, if not as Hive does: `sink.path-template`.
//!
//! ```text
//! country={country}/{at:yyyy/MM/dd/HH}         a column; a column of a timestamp by a pattern, which may have several levels
//! arrived/{arrival-time:yyyy-MM-dd}            when the row came to the sink
//! ```

use thiserror::Error;

/// The placeholder of the time when a row came to the sink.
pub const ARRIVAL_TIME: &str = "arrival-time";

/// The most levels of directories that a template makes.
const LEVELS_MAX: usize = 16;

/// The most bytes of text and patterns in a directory's name: file systems take 255 with the values.
const FIXED_BYTES_MAX: usize = 100;

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct TemplateError(String);

impl From<String> for TemplateError {
    fn from(reason: String) -> Self {
        Self(reason)
    }
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathPiece {
    /// Stands for itself.
    Text(String),
    /// The value of a column.
    Column(String),
    /// The value of a timestamp column, by a pattern.
    Time {
        /// The column.
        column: String,
        /// The pattern, as `DATE_FORMAT` takes it.
        pattern: String,
    },
    /// When the row came to the sink, by a pattern.
    Arrival {
        /// The pattern, as `DATE_FORMAT` takes it.
        pattern: String,
    },
}

/// A template: its pieces, by level of directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    /// The pieces of each directory's name, the outermost first. None is without pieces.
    pub levels: Vec<Vec<PathPiece>>,
}

impl PathTemplate {
    /// Parses a template. A pattern with slashes makes several levels.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Ok(Self { levels: levels_of(text)? })
    }

    /// The columns that it takes values of, as often as it does.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.levels.iter().flatten().filter_map(|piece| match piece {
            PathPiece::Column(column) | PathPiece::Time { column, .. } => Some(column.as_str()),
            PathPiece::Text(_) | PathPiece::Arrival { .. } => None,
        })
    }

    /// The columns whose values all rows of a directory share.
    pub fn whole_columns(&self) -> impl Iterator<Item = &str> {
        self.levels.iter().flatten().filter_map(|piece| match piece {
            PathPiece::Column(column) => Some(column.as_str()),
            PathPiece::Text(_) | PathPiece::Time { .. } | PathPiece::Arrival { .. } => None,
        })
    }

    /// Its patterns of times, each with its column; `None` is the arrival.
    pub fn patterns(&self) -> impl Iterator<Item = (Option<&str>, &str)> {
        self.levels.iter().flatten().filter_map(|piece| match piece {
            PathPiece::Time { column, pattern } => Some((Some(column.as_str()), pattern.as_str())),
            PathPiece::Arrival { pattern } => Some((None, pattern.as_str())),
            PathPiece::Text(_) | PathPiece::Column(_) => None,
        })
    }

    /// Whether it needs the time when rows come.
    #[must_use]
    pub fn has_arrival(&self) -> bool {
        self.patterns().any(|(column, _)| column.is_none())
    }
}

/// The name of a directory's value for NULL and the empty text, as Hive has it.
pub const NULL_DIRECTORY: &str = "__HIVE_DEFAULT_PARTITION__";

/// Whether a character of a value has a meaning in paths, so that it stands as `%XX` in a directory's name.
#[must_use]
pub fn is_escaped_in_paths(c: char) -> bool {
    c.is_ascii_control() || r##""#%'*/:=?\{}[]^"##.contains(c)
}

fn levels_of(text: &str) -> Result<Vec<Vec<PathPiece>>, String> {
    let mut levels = vec![Vec::new()];
    let mut rest = text.trim_end_matches('/');
    while !rest.is_empty() {
        match rest.strip_prefix('{') {
            None => {
                let end = rest.find('{').unwrap_or(rest.len());
                push_text(&rest[..end], &mut levels)?;
                rest = &rest[end..];
            }
            Some(placeholder) => {
                let (placeholder, following) =
                    placeholder.split_once('}').ok_or("a { is not closed by }".to_owned())?;
                push_placeholder(placeholder, &mut levels)?;
                rest = following;
            }
        }
    }
    if levels.len() > LEVELS_MAX {
        return Err(format!("it has {} levels of directories; the most are {LEVELS_MAX}", levels.len()));
    }
    if levels.iter().any(Vec::is_empty) {
        return Err("a directory in it has no name".to_owned());
    }
    if levels.iter().any(|level| fixed_bytes(level) > FIXED_BYTES_MAX) {
        return Err(format!("a directory in it has more than {FIXED_BYTES_MAX} bytes of text and patterns"));
    }
    match levels.iter().flatten().any(|piece| !matches!(piece, PathPiece::Text(_))) {
        true => Ok(levels),
        false => Err("it has no placeholder, such as {column} or {arrival-time:yyyy-MM-dd}".to_owned()),
    }
}

fn fixed_bytes(level: &[PathPiece]) -> usize {
    let bytes = |piece: &PathPiece| match piece {
        PathPiece::Text(fixed) | PathPiece::Time { pattern: fixed, .. } | PathPiece::Arrival { pattern: fixed } => {
            fixed.len()
        }
        PathPiece::Column(_) => 0,
    };
    level.iter().map(bytes).sum()
}

/// Adds text, which begins a level at each slash.
fn push_text(text: &str, levels: &mut Vec<Vec<PathPiece>>) -> Result<(), String> {
    if let Some(odd) = text.chars().find(|c| c.is_control() || r##""#%*:?\}[]^"##.contains(*c)) {
        return Err(format!("its text has the character {odd:?}, which not all stores take in names"));
    }
    for (index, name) in text.split('/').enumerate() {
        if index > 0 {
            levels.push(Vec::new());
        }
        let Some(level) = levels.last_mut().filter(|_| !name.is_empty()) else { continue };
        if level.is_empty() && name.starts_with(['.', '_']) {
            return Err(format!("the directory '{name}' would be hidden: its name begins with '{}'", &name[..1]));
        }
        level.push(PathPiece::Text(name.to_owned()));
    }
    Ok(())
}

fn push_placeholder(placeholder: &str, levels: &mut Vec<Vec<PathPiece>>) -> Result<(), String> {
    let (name, pattern) = placeholder.split_once(':').map_or((placeholder, None), |(name, rest)| (name, Some(rest)));
    if name.is_empty() || name.contains('{') {
        return Err(format!("'{{{placeholder}}}' names no column"));
    }
    let Some(pattern) = pattern else {
        if name == ARRIVAL_TIME {
            return Err(format!("{{{ARRIVAL_TIME}}} needs a pattern, such as {{{ARRIVAL_TIME}:yyyy-MM-dd}}"));
        }
        levels.last_mut().into_iter().for_each(|level| level.push(PathPiece::Column(name.to_owned())));
        return Ok(());
    };
    for (index, pattern) in pattern.split('/').enumerate() {
        if index > 0 {
            levels.push(Vec::new());
        }
        if pattern.is_empty() {
            return Err(format!("'{{{placeholder}}}' has an empty pattern"));
        }
        let pattern = pattern.to_owned();
        let piece = match name {
            ARRIVAL_TIME => PathPiece::Arrival { pattern },
            column => PathPiece::Time { column: column.to_owned(), pattern },
        };
        levels.last_mut().into_iter().for_each(|level| level.push(piece.clone()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_levels_of_pieces() {
        let template = PathTemplate::parse("c={country}-x/{at:yyyy/MM-dd}h/{arrival-time:HH}/").unwrap();
        let (text, time) = (
            |text: &str| PathPiece::Text(text.into()),
            |pattern: &str| PathPiece::Time { column: "at".into(), pattern: pattern.into() },
        );
        assert_eq!(
            template.levels,
            [
                vec![text("c="), PathPiece::Column("country".into()), text("-x")],
                vec![time("yyyy")],
                vec![time("MM-dd"), text("h")],
                vec![PathPiece::Arrival { pattern: "HH".into() }],
            ]
        );
        assert_eq!(template.columns().collect::<Vec<_>>(), ["country", "at", "at"]);
        assert_eq!(template.whole_columns().collect::<Vec<_>>(), ["country"]);
        assert_eq!(template.patterns().last(), Some((None, "HH")));
        assert!(template.has_arrival());
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for (text, reason) in [
            ("", "a directory in it has no name"),
            ("a/b", "it has no placeholder"),
            ("{a", "a { is not closed by }"),
            ("a//{b}", "a directory in it has no name"),
            ("/{b}", "a directory in it has no name"),
            ("../{b}", "would be hidden"),
            ("_x/{b}", "would be hidden"),
            ("{}", "'{}' names no column"),
            ("{a:}", "an empty pattern"),
            ("{a:yyyy//MM}", "an empty pattern"),
            ("{arrival-time}", "needs a pattern"),
            ("x%{a}", "the character '%'"),
            ("{a}}", "the character '}'"),
            (&"{a}/".repeat(17), "it has 17 levels"),
            (&format!("{{a}}{}", "x".repeat(101)), "more than 100 bytes of text and patterns"),
            (&format!("{{a:'{}'}}", "x".repeat(99)), "more than 100 bytes of text and patterns"),
        ] {
            let refused = PathTemplate::parse(text).unwrap_err().to_string();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }
}
