use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, ListArray, StringArray, StringViewArray,
        StructArray, TimestampMillisecondArray,
    },
    datatypes::Int32Type,
};
use proptest::prelude::*;

use super::*;
use crate::cost::{compact, retained_bytes};

fn batch_of(values: &[Option<i64>]) -> RecordBatch {
    let text = |value: &Option<i64>| value.map(|v| format!("{v} {}", "x".repeat((v.unsigned_abs() % 40) as usize)));
    let numbers: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
    let inner: ArrayRef = Arc::new(values.iter().map(text).collect::<StringViewArray>());
    let lists = values.iter().map(|v| v.map(|v| vec![Some(1), None, i32::try_from(v % 9).ok()]));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("text", Arc::new(values.iter().map(text).collect::<StringArray>())),
        ("view", inner.clone()),
        ("real", Arc::new(values.iter().map(|v| v.map(|v| v as f64)).collect::<Float64Array>())),
        ("flag", Arc::new(values.iter().map(|v| v.map(|v| v > 0)).collect::<BooleanArray>())),
        ("amount", Arc::new(values.iter().map(|v| v.map(i128::from)).collect::<Decimal128Array>())),
        ("time", Arc::new(TimestampMillisecondArray::from(values.to_vec()))),
        ("list", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))),
        (
            "nested",
            Arc::new(StructArray::try_from(vec![("number", numbers.clone()), ("text", inner)]).expect("same length")),
        ),
        ("number", numbers),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn values() -> impl Strategy<Value = Vec<Option<i64>>> {
    prop::collection::vec(prop::option::weighted(0.8, -1000i64..1000), 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn batches_and_their_slices_survive_the_wire(values in values(), from in 0usize..300, lz4 in any::<bool>()) {
        let batch = batch_of(&values);
        let slice = batch.slice(from.min(values.len() - 1), values.len() - from.min(values.len() - 1));
        let slice = compact(&slice, 125).unwrap();
        let cost = retained_bytes(&slice);
        let encoded = Encoder::new(lz4).encode(&slice).unwrap();
        prop_assert!(encoded.body.len() as u64 <= body_bytes_max(cost));
        prop_assert_eq!(decode(&encoded, &slice.schema(), cost).unwrap(), slice);
    }

    /// Whatever bytes are changed on the way, the result is a batch or an error, never a panic.
    #[test]
    fn mutated_batches_are_read_or_refused(
        values in values(),
        lz4 in any::<bool>(),
        changes in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let batch = batch_of(&values);
        let encoded = Encoder::new(lz4).encode(&batch).unwrap();
        let (mut header, mut body) = (encoded.header.to_vec(), encoded.body.to_vec());
        for (in_header, at, value) in changes {
            let bytes = if in_header { &mut header } else { &mut body };
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        let mutated = EncodedBatch { header: header.into(), body: body.into() };
        if let Ok(read) = decode(&mutated, &batch.schema(), retained_bytes(&batch)) {
            prop_assert_eq!(read.schema(), batch.schema());
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused(header in prop::collection::vec(any::<u8>(), 0..200), body in prop::collection::vec(any::<u8>(), 0..100)) {
        let encoded = EncodedBatch { header: header.into(), body: body.into() };
        prop_assert!(decode(&encoded, &batch_of(&[Some(1)]).schema(), 100).is_err());
    }
}

/// A header alone can claim rows if the schema has no columns.
#[test]
fn rows_are_bounded_by_what_they_are_charged() {
    let schema: SchemaRef = Arc::new(arrow::datatypes::Schema::empty());
    let encoded = |rows: usize| {
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(schema.clone(), Vec::new(), &options).unwrap();
        Encoder::new(false).encode(&batch).unwrap()
    };
    assert_eq!(decode(&encoded(1 << 20), &schema, 1).unwrap().num_rows(), 1 << 20);
    let refused = decode(&encoded(4_000_000_000), &schema, 1).unwrap_err();
    assert_eq!(refused, "4000000000 rows in a batch charged 1");
}

#[test]
fn batches_of_another_schema_or_more_bytes_than_charged_are_refused() {
    let values: Vec<_> = (0..100_000).map(Some).collect();
    let batch = batch_of(&values);
    let encoded = Encoder::new(false).encode(&batch).unwrap();
    let other = batch.project(&[0, 1]).unwrap().schema();
    assert!(decode(&encoded, &other, retained_bytes(&batch)).is_err());
    assert!(decode(&encoded, &batch.schema(), 1).unwrap_err().contains("charged 1"));
}
