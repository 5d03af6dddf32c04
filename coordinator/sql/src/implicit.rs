//! Which casts are made without being asked for.

use arrow::datatypes::DataType;

/// Whether `INSERT` may cast implicitly: as in Flink, and never to a narrower kind. A value that does not fit at run
/// time (a decimal with too many digits) fails the job.
pub(crate) fn is_implicit(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    let text = |kind: &T| matches!(kind, T::Utf8 | T::Utf8View | T::LargeUtf8);
    let bytes = |kind: &T| matches!(kind, T::Binary | T::BinaryView | T::LargeBinary);
    let width = |kind: &T| match kind {
        T::Int8 => Some(1),
        T::UInt8 | T::Int16 => Some(2),
        T::UInt16 | T::Int32 => Some(3),
        T::UInt32 | T::Int64 => Some(4),
        T::UInt64 => Some(5),
        _ => None,
    };
    match (from, to) {
        (T::Null, _) => true,
        (T::UInt64, T::Int64) => true,
        (from, to) if text(from) && text(to) || bytes(from) && bytes(to) => true,
        (from, to) if width(from).is_some() && width(to).is_some() => width(from) <= width(to),
        (from, T::Float64) => width(from).is_some() || matches!(from, T::Float32 | T::Decimal128(_, _)),
        (from, T::Float32) => width(from).is_some() || matches!(from, T::Decimal128(_, _)),
        (from, T::Decimal128(_, _)) => width(from).is_some() || matches!(from, T::Decimal128(_, _)),
        (T::Timestamp(_, from), T::Timestamp(_, to)) => from.is_some() == to.is_some(),
        (T::List(from), T::List(to)) => {
            from.data_type() == to.data_type() || is_implicit(from.data_type(), to.data_type())
        }
        (T::Struct(from), T::Struct(to)) => {
            from.len() == to.len()
                && from.iter().zip(to).all(|(from, to)| {
                    from.name() == to.name()
                        && (from.data_type() == to.data_type() || is_implicit(from.data_type(), to.data_type()))
                })
        }
        // Keys and values, each as in a row. That values cannot be NULL is no hindrance: nested fields of tables always can.
        (T::Map(from, _), T::Map(to, _)) => match (from.data_type(), to.data_type()) {
            (T::Struct(from), T::Struct(to)) if from.len() == to.len() => from
                .iter()
                .zip(to)
                .all(|(from, to)| from.data_type() == to.data_type() || is_implicit(from.data_type(), to.data_type())),
            _ => false,
        },
        _ => false,
    }
}

/// Whether a column of a connector's metadata may be declared with another type than the connector's: a wider integer, and
/// any precision of a timestamp, with a time zone or without. Times are UTC.
pub(crate) fn is_for_metadata(from: &DataType, to: &DataType) -> bool {
    let is_wider = || from.is_integer() && to.is_integer() && is_implicit(from, to);
    let are_times = || matches!((from, to), (DataType::Timestamp(_, _), DataType::Timestamp(_, _)));
    from == to || is_wider() || are_times()
}
