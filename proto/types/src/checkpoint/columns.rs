//! Whether rows of a checkpoint have the columns that the job's dataflow has in their place.

use arrow_schema::Schema;

use super::RecordedColumn;

/// What the names of columns mean where rows are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// A column of another name is another column.
    Compared,
    /// They are whatever the sender of the rows calls them.
    Ignored,
}

/// The first column that rows have otherwise than they should. Operators take columns by their places and rely on their
/// types. Types are the same if they have the same text in the record: how Arrow lays out their values does not count.
#[must_use]
pub fn column_difference(found: &[RecordedColumn], wanted: &Schema, names: Names) -> Option<String> {
    let wanted = RecordedColumn::all(wanted);
    let is_other = |found: &RecordedColumn, wanted: &RecordedColumn| {
        (names == Names::Compared && found.name != wanted.name) || found.data_type != wanted.data_type
    };
    let mut pairs = found.iter().zip(&wanted).zip(1..);
    if let Some(((found, wanted), number)) = pairs.find(|((found, wanted), _)| is_other(found, wanted)) {
        let text = |column: &RecordedColumn| format!("{} ({})", column.name, column.data_type);
        return Some(format!("column {number} of the rows is {}, and there {}", text(found), text(wanted)));
    }
    let (found, wanted) = (found.len(), wanted.len());
    (found != wanted).then(|| format!("the rows have {found} columns, and there are {wanted}"))
}

#[cfg(test)]
mod tests {
    use arrow_schema::{DataType, Field};

    use super::*;

    #[test]
    fn types_are_compared_by_their_texts_and_names_where_they_count() {
        let schema = |name: &str, data_type| Schema::new(vec![Field::new(name, data_type, false)]);
        let found = RecordedColumn::all(&schema("a", DataType::Utf8));
        assert_eq!(column_difference(&found, &schema("a", DataType::Utf8View), Names::Compared), None);
        assert_eq!(column_difference(&found, &schema("b", DataType::LargeUtf8), Names::Ignored), None);
        let told = column_difference(&found, &schema("b", DataType::Utf8), Names::Compared);
        assert_eq!(told.as_deref(), Some("column 1 of the rows is a (text), and there b (text)"));
        let told = column_difference(&found, &schema("a", DataType::Int64), Names::Ignored);
        assert_eq!(told.as_deref(), Some("column 1 of the rows is a (text), and there a (int64)"));
        let told = column_difference(&found, &Schema::empty(), Names::Ignored);
        assert_eq!(told.as_deref(), Some("the rows have 1 columns, and there are 0"));
    }
}
