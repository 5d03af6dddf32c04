//! Avro: one datum a message, of a schema that the table tells or a registry has.

use std::sync::Arc;

use arrow::datatypes::Fields;

use super::{
    MessageFormat,
    confluent::{OwnSchema, RegisteredDecoder, RegisteredEncoder, RegisteredFormat},
    registry::{Language, Registered},
    rows::{RowDecoder, RowEncoder, absent_of},
};
use crate::{
    avro::{AvroReader, AvroSchema, Datum, writer_of},
    json::Fault,
    typed::RowColumn,
};

const SCHEMA: &str = "avro.schema";
const CONFLUENT_SCHEMA: &str = "avro-confluent.schema";

pub(super) const FORMAT: MessageFormat = MessageFormat {
    name: "avro",
    decoder: |view, columns, _| {
        let options = view.options();
        // Not the one that the columns give: a query may read some of them, and others are in each datum.
        let text = options.text(SCHEMA).ok_or_else(|| {
            options.error(format!(
                "messages of format 'avro' are read with the schema that they were written with: set '{SCHEMA}'"
            ))
        })?;
        let schema = AvroSchema::parse(text, &[]);
        let reader = schema.and_then(|schema| AvroReader::new(Arc::new(schema), columns.fields()));
        let reader = reader.map_err(|reason| options.error(format!("option '{SCHEMA}': {reason}")))?;
        let absent = absent_of(columns, reader.schema().names().collect::<Vec<_>>().into_iter());
        let decoder = RowDecoder::boxed(columns, absent, move |message, root, row| read(&reader, message, root, row));
        decoder.map_err(|reason| options.error(reason))
    },
    encoder: |view, _, columns, _| {
        let (_, writer) = writer_of(&view.options(), SCHEMA, columns.fields())?;
        Ok(Box::new(RowEncoder(writer)))
    },
};

pub(super) const CONFLUENT: MessageFormat = MessageFormat {
    name: "avro-confluent",
    decoder: |view, columns, context| {
        let format = RegisteredAvro { columns: columns.fields().clone() };
        RegisteredDecoder::boxed(view, columns, context, format)
    },
    encoder: |view, subject, columns, context| {
        let (text, writer) = writer_of(&view.options(), CONFLUENT_SCHEMA, columns.fields())?;
        let schema = OwnSchema::new(view, subject, text, Language::Avro);
        RegisteredEncoder::boxed(view, context, schema, (writer, Vec::new()))
    },
};

fn read(reader: &AvroReader, message: &[u8], root: &mut RowColumn, row: usize) -> Result<(), Fault> {
    let mut datum = Datum::new(message);
    reader.read(&mut datum, root, row)?;
    match datum.left() {
        0 => Ok(()),
        1 => Err(Fault::new("a byte follows the record")),
        left => Err(Fault::new(format!("{left} bytes follow the record"))),
    }
}

/// Messages whose schemas are in a registry.
struct RegisteredAvro {
    columns: Fields,
}

impl RegisteredFormat for RegisteredAvro {
    type Reader = AvroReader;

    fn reader(&self, registered: Registered) -> Result<AvroReader, String> {
        match registered.language {
            Language::Avro => {}
            Language::Protobuf => return Err("it is a schema of Protobuf, not of Avro".to_owned()),
            Language::Other => return Err("it is not a schema of Avro".to_owned()),
        }
        let references: Vec<String> = registered.references.into_iter().map(|(_, text)| text).collect();
        let schema = AvroSchema::parse(&registered.schema, &references)?;
        AvroReader::new(Arc::new(schema), &self.columns)
    }

    fn read(&self, reader: &mut AvroReader, bytes: &[u8], root: &mut RowColumn, row: usize) -> Result<(), Fault> {
        read(reader, bytes, root, row)
    }

    fn names(&self, reader: &AvroReader) -> Vec<String> {
        reader.schema().names().map(str::to_owned).collect()
    }
}
