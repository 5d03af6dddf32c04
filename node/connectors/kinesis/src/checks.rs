//! What Kinesis refuses of a call to `put_records`, told before it is asked.

use crate::{KinesisError, NewRecord, PARTITION_KEY_CHARS_MAX, PUT_BYTES_MAX, PUT_RECORDS_MAX, put_bytes};

/// `Refused`, if the records are not such as one call takes.
pub(crate) fn check_put(records: &[NewRecord]) -> Result<(), KinesisError> {
    if records.is_empty() || records.len() > PUT_RECORDS_MAX {
        return refused(format!("one call takes 1 to {PUT_RECORDS_MAX} records, not {}", records.len()));
    }
    let bytes: usize = records.iter().map(put_bytes).sum();
    if bytes > PUT_BYTES_MAX {
        return refused(format!("one call takes {PUT_BYTES_MAX} bytes of data and partition keys, not {bytes}"));
    }
    for record in records {
        let characters = record.partition_key.chars().count();
        if !(1..=PARTITION_KEY_CHARS_MAX).contains(&characters) {
            return refused(format!("a partition key has 1 to {PARTITION_KEY_CHARS_MAX} characters, not {characters}"));
        }
    }
    Ok(())
}

fn refused<T>(reason: String) -> Result<T, KinesisError> {
    Err(KinesisError::Refused { reason })
}
