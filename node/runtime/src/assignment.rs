//! What an enumerator sends to the subtasks of its source: splits with their progress, as rows.

use std::sync::Arc;

use arrow::{
    array::{Array as _, ArrayRef, AsArray as _, RecordBatch, StringArray, UInt32Array},
    error::ArrowError,
};
use thalweg_types::{checkpoint::SplitProgress, graph::assignment_schema};

/// Rows that assign a split each to a subtask. Without a split a row says that assignments begin.
pub(crate) fn encode(assigned: &[(u32, Option<SplitProgress>)]) -> Result<RecordBatch, ArrowError> {
    let text = |progress: &SplitProgress| serde_json::to_string(progress).expect("a split has only text keys");
    let subtasks: UInt32Array = assigned.iter().map(|(subtask, _)| *subtask).collect::<Vec<u32>>().into();
    let splits: StringArray = assigned.iter().map(|(_, progress)| progress.as_ref().map(text)).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(subtasks), Arc::new(splits)];
    RecordBatch::try_new(assignment_schema(), columns)
}

/// The splits that rows assign, in order.
///
/// # Errors
/// Says what is wrong with the rows.
pub(crate) fn decode(rows: &RecordBatch) -> Result<Vec<SplitProgress>, String> {
    let splits = rows.columns().get(1).and_then(|column| column.as_string_opt::<i32>());
    let splits = splits.ok_or("an assignment has no split's column")?;
    let read = |text: &str| serde_json::from_str(text).map_err(|error| format!("a split cannot be read: {error}"));
    (0..splits.len()).filter(|row| splits.is_valid(*row)).map(|row| read(splits.value(row))).collect()
}

#[cfg(test)]
mod tests {
    use thalweg_types::{Split, SplitId};

    use super::*;

    #[test]
    fn what_is_assigned_arrives() {
        let split = Split { id: SplitId("a@0".to_owned()), sequence: "a".to_owned(), ordinal: 0, payload: 7.into() };
        let progress = SplitProgress::unread(split);
        let rows = encode(&[(3, None), (3, Some(progress.clone()))]).unwrap();
        assert_eq!(decode(&rows), Ok(vec![progress]));
        let broken: Vec<ArrayRef> = vec![Arc::new(UInt32Array::from(vec![3])), Arc::new(StringArray::from(vec!["{"]))];
        let broken = RecordBatch::try_new(assignment_schema(), broken).unwrap();
        assert!(decode(&broken).unwrap_err().contains("cannot be read"));
        assert!(decode(&rows.project(&[0]).unwrap()).is_err());
    }
}
