//! Generates columns of events: only the requested fields, each for all of its rows at once.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{
        Array as _, ArrayRef, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringViewArray, StructArray,
        TimestampMillisecondArray, UInt32Array,
    },
    buffer::NullBuffer,
    compute::{cast, take},
    datatypes::{DataType, Field, Fields, SchemaRef},
    error::ArrowError,
};

use super::{
    model::{Kind, Model},
    strings,
};

/// How a field's values are generated.
#[derive(Debug, Clone, Copy)]
enum Values {
    Long(fn(&Model, u64) -> i64),
    Time(fn(&Model, u64) -> i64),
    /// A pool of strings, and the index into it.
    Text(fn() -> &'static StringViewArray, fn(&Model, u64) -> u32),
}

const PERSON: &[(&str, Values)] = &[
    ("id", Values::Long(Model::person_id)),
    ("name", Values::Text(|| &strings::NAMES, Model::name)),
    ("emailAddress", Values::Text(|| &strings::EMAILS, Model::email)),
    ("creditCard", Values::Text(|| &strings::CREDIT_CARDS, Model::credit_card)),
    ("city", Values::Text(|| &strings::CITIES, Model::city)),
    ("state", Values::Text(|| &strings::STATES, Model::state)),
    ("dateTime", Values::Time(Model::time)),
    ("extra", Values::Text(|| &strings::PERSON_EXTRAS, Model::extra)),
];

const AUCTION: &[(&str, Values)] = &[
    ("id", Values::Long(Model::auction_id)),
    ("itemName", Values::Text(|| &strings::ITEM_NAMES, Model::item_name)),
    ("description", Values::Text(|| &strings::DESCRIPTIONS, Model::description)),
    ("initialBid", Values::Long(Model::initial_bid)),
    ("reserve", Values::Long(Model::reserve)),
    ("dateTime", Values::Time(Model::time)),
    ("expires", Values::Time(Model::expires)),
    ("seller", Values::Long(Model::seller)),
    ("category", Values::Long(Model::category)),
    ("extra", Values::Text(|| &strings::AUCTION_EXTRAS, Model::extra)),
];

const BID: &[(&str, Values)] = &[
    ("auction", Values::Long(Model::bid_auction)),
    ("bidder", Values::Long(Model::bidder)),
    ("price", Values::Long(Model::price)),
    ("channel", Values::Text(|| &strings::CHANNEL_NAMES, Model::channel)),
    ("url", Values::Text(|| &strings::URLS, Model::channel)),
    ("dateTime", Values::Time(Model::time)),
    ("extra", Values::Text(|| &strings::BID_EXTRAS, Model::extra)),
];

/// A column of the table.
#[derive(Debug)]
enum Column {
    EventType,
    Time,
    Struct { kind: Kind, fields: Fields, values: Vec<Values> },
}

/// Generates the requested columns.
#[derive(Debug)]
pub(super) struct Generator {
    model: Model,
    schema: SchemaRef,
    columns: Vec<Column>,
    kinds: Vec<Kind>,
}

impl Generator {
    /// A generator of these columns and kinds of events. The error names an unknown column.
    pub(super) fn new(model: Model, schema: SchemaRef, kinds: Vec<Kind>) -> Result<Self, String> {
        let columns = schema.fields().iter().map(|field| column(field)).collect::<Result<_, _>>()?;
        Ok(Self { model, schema, columns, kinds })
    }

    pub(super) fn wants_all(&self) -> bool {
        self.kinds.len() == Kind::ALL.len()
    }

    /// Collects the numbers of wanted events, at most `count_max`; returns where it stopped.
    pub(super) fn take_wanted(&self, events: Range<u64>, count_max: usize, into: &mut Vec<u64>) -> u64 {
        let limit = into.len() + count_max;
        if self.wants_all() {
            let count = u64::try_from(count_max).unwrap_or(u64::MAX);
            let end = events.end.min(events.start.saturating_add(count));
            into.extend(events.start..end);
            return end;
        }
        for event in events.clone() {
            if into.len() == limit {
                return event;
            }
            if self.kinds.contains(&Kind::of(event)) {
                into.push(event);
            }
        }
        events.end
    }

    /// The rows of these events.
    pub(super) fn generate(&self, events: &[u64]) -> Result<RecordBatch, ArrowError> {
        let rows = EventRows::of(events);
        let fields = self.schema.fields().iter();
        let arrays = fields.zip(&self.columns).map(|(field, column)| self.array(column, field, &rows));
        let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(events.len()));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
    }

    fn array(&self, column: &Column, field: &Field, rows: &EventRows<'_>) -> Result<ArrayRef, ArrowError> {
        let events = rows.events.iter().copied();
        let array: ArrayRef = match column {
            Column::EventType => Arc::new(Int32Array::from_iter_values(events.map(|event| Kind::of(event).number()))),
            Column::Time => {
                Arc::new(TimestampMillisecondArray::from_iter_values(events.map(|event| self.model.time(event))))
            }
            Column::Struct { kind, fields, values } => {
                let places = rows.places(*kind);
                let nulls = places.nulls(rows.events.len());
                let children = fields.iter().zip(values).map(|(field, values)| {
                    let array = self.field_array(*values, rows, places, &nulls)?;
                    conform(array, field.data_type())
                });
                Arc::new(StructArray::try_new(fields.clone(), children.collect::<Result<_, _>>()?, Some(nulls))?)
            }
        };
        conform(array, field.data_type())
    }

    fn field_array(
        &self,
        values: Values,
        rows: &EventRows<'_>,
        places: &Places,
        nulls: &NullBuffer,
    ) -> Result<ArrayRef, ArrowError> {
        let nulls = Some(nulls.clone());
        Ok(match values {
            Values::Long(value) => Arc::new(Int64Array::new(self.spread(value, rows, places).into(), nulls)),
            Values::Time(value) => {
                Arc::new(TimestampMillisecondArray::new(self.spread(value, rows, places).into(), nulls))
            }
            Values::Text(pool, index) => {
                let indices = UInt32Array::new(self.spread(index, rows, places).into(), nulls);
                take(pool(), &indices, None)?
            }
        })
    }

    /// The values of the rows of one kind; defaults elsewhere.
    fn spread<T: Copy + Default>(&self, value: fn(&Model, u64) -> T, rows: &EventRows<'_>, places: &Places) -> Vec<T> {
        let mut values = vec![T::default(); rows.events.len()];
        for place in &places.0 {
            values[*place] = value(&self.model, rows.events[*place]);
        }
        values
    }
}

fn column(field: &Field) -> Result<Column, String> {
    let (kind, known) = match field.name().to_ascii_lowercase().as_str() {
        "event_type" => return Ok(Column::EventType),
        "datetime" => return Ok(Column::Time),
        "person" => (Kind::Person, PERSON),
        "auction" => (Kind::Auction, AUCTION),
        "bid" => (Kind::Bid, BID),
        _ => return Err(format!("there is no column {}", field.name())),
    };
    let DataType::Struct(fields) = field.data_type() else {
        return Err(format!("column {} is a ROW", field.name()));
    };
    let values = fields.iter().map(|field| {
        let found = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(field.name()));
        found.map(|(_, values)| *values).ok_or_else(|| format!("there is no field {}", field.name()))
    });
    Ok(Column::Struct { kind, fields: fields.clone(), values: values.collect::<Result<_, _>>()? })
}

fn conform(array: ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == wanted { Ok(array) } else { cast(&array, wanted) }
}

/// Indexes of the rows of one kind.
struct Places(Vec<usize>);

impl Places {
    fn nulls(&self, rows: usize) -> NullBuffer {
        let mut valid = vec![false; rows];
        for place in &self.0 {
            valid[*place] = true;
        }
        NullBuffer::from(valid)
    }
}

/// The events of a batch, with the rows of each kind.
struct EventRows<'a> {
    events: &'a [u64],
    kinds: [Places; 3],
}

impl<'a> EventRows<'a> {
    fn of(events: &'a [u64]) -> Self {
        let mut kinds = [Places(Vec::new()), Places(Vec::new()), Places(Vec::with_capacity(events.len()))];
        for (row, event) in events.iter().enumerate() {
            kinds[Kind::of(*event) as usize].0.push(row);
        }
        Self { events, kinds }
    }

    fn places(&self, kind: Kind) -> &Places {
        &self.kinds[kind as usize]
    }
}
