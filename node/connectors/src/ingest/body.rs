//! Decodes a request's body into a batch.

use arrow::{array::RecordBatch, datatypes::SchemaRef};

use crate::{
    json::{JsonDecoder, array_to_lines},
    lines::{BYTE_ORDER_MARK, LineDecoder as _},
};

/// Decodes a body: a JSON array of objects, or one object per line. The error names the record or the line.
pub(super) fn decode(schema: &SchemaRef, body: &[u8]) -> Result<RecordBatch, String> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let is_array = is_array(body);
    let (what, mut lines) = if is_array {
        let lines = array_to_lines(body).map_err(|(item, reason)| format!("record {item}: {reason}"))?;
        ("record", lines)
    } else {
        ("line", body.to_vec())
    };
    if lines.last().is_some_and(|byte| *byte != b'\n') {
        lines.push(b'\n');
    }
    let mut decoder = JsonDecoder::new(schema.clone())?;
    let mut faults = Vec::new();
    let _ = decoder.decode(&lines, 0, usize::MAX, &mut faults);
    if let Some(fault) = faults.first() {
        let number = memchr::memchr_iter(b'\n', lines.get(..fault.start).unwrap_or_default()).count() + 1;
        return Err(format!("{what} {number}: {}", fault.reason));
    }
    decoder.finish().map_err(|error| error.to_string())
}

/// The name, in errors, of the record with index `record` of a body that decodes.
pub(super) fn name_of_record(body: &[u8], record: usize) -> String {
    if is_array(body) {
        return format!("record {}", record + 1);
    }
    let is_record = |(_, line): &(usize, &[u8])| !line.iter().all(|byte| byte.is_ascii_whitespace());
    let line = body.split(|byte| *byte == b'\n').enumerate().filter(is_record).nth(record);
    format!("line {}", line.map_or(record, |(number, _)| number) + 1)
}

fn is_array(body: &[u8]) -> bool {
    body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[')
}
