//! Protobuf: one message a message, of a definition that the table tells or a registry has.

use std::collections::{BTreeMap, HashMap};

use arrow::datatypes::{Fields, SchemaRef};

use super::{
    MessageFormat,
    confluent::{OwnSchema, RegisteredDecoder, RegisteredEncoder, RegisteredFormat},
    registry::{Language, Registered},
    rows::{RowDecoder, RowEncoder, absent_of},
    view::FormatView,
};
use crate::{
    ConnectorContext, ConnectorError,
    avro::{Datum, write_long},
    json::Fault,
    protobuf::{Definition, ProtobufReader, ProtobufWriter, compile_file, compile_text, derive, path_of, read_set},
    typed::RowColumn,
};

/// The deepest nesting of messages' definitions.
const PATH_MAX: usize = 64;

pub(super) const FORMAT: MessageFormat = MessageFormat {
    name: "protobuf",
    decoder: |view, columns, context| {
        let options = view.options();
        let message = definition(view, context)?.message(options.text("protobuf.message"));
        let reads_defaults = options.is_true("protobuf.read-default-values");
        let reader = message.and_then(|message| ProtobufReader::new(message, columns.fields(), reads_defaults));
        let reader = reader.map_err(|reason| options.error(reason))?;
        let names = reader.names();
        let absent = absent_of(columns, names.iter().map(String::as_str));
        let decoder = RowDecoder::boxed(columns, absent, move |message, root, row| reader.read(message, root, row));
        decoder.map_err(|reason| options.error(reason))
    },
    encoder: |view, _, columns, context| {
        let options = view.options();
        let message = definition(view, context)?.message(options.text("protobuf.message"));
        let writer = message.and_then(|message| ProtobufWriter::new(&message, columns.fields()));
        Ok(Box::new(RowEncoder(writer.map_err(|reason| options.error(reason))?)))
    },
};

pub(super) const CONFLUENT: MessageFormat = MessageFormat {
    name: "protobuf-confluent",
    decoder: |view, columns, context| {
        let reads_defaults = view.options().is_true("protobuf-confluent.read-default-values");
        let format = RegisteredProtobuf { columns: columns.fields().clone(), reads_defaults };
        RegisteredDecoder::boxed(view, columns, context, format)
    },
    encoder: |view, subject, columns, context| {
        let (text, writer, path) = own_schema(view, columns)?;
        let schema = OwnSchema::new(view, subject, text, Language::Protobuf);
        RegisteredEncoder::boxed(view, context, schema, (writer, path))
    },
};

/// The definition that a table tells, in one of three ways.
fn definition(view: &FormatView, context: &ConnectorContext) -> Result<Definition, ConnectorError> {
    const TEXT: &str = "protobuf.proto";
    const FILE: &str = "protobuf.proto-file";
    const SET: &str = "protobuf.descriptor-file";
    let options = view.options();
    let (key, made) = match (options.text(TEXT), options.text(FILE), options.text(SET)) {
        (Some(text), None, None) => (TEXT, compile_text(text, BTreeMap::new())),
        (None, Some(path), None) => (FILE, compile_file(path, &context.allowed)),
        (None, None, Some(path)) => (SET, read_set(path, &context.allowed)),
        (None, None, None) => {
            return Err(options.error(format!("format 'protobuf' needs one of '{TEXT}', '{FILE}' and '{SET}'")));
        }
        _ => return Err(options.error(format!("only one of '{TEXT}', '{FILE}' and '{SET}' can be set"))),
    };
    made.map_err(|reason| options.error(format!("option '{key}': {reason}")))
}

/// The definition that messages are written with, what writes them, and the path of their message in it.
fn own_schema(view: &FormatView, columns: &SchemaRef) -> Result<(String, ProtobufWriter, Vec<u8>), ConnectorError> {
    const SCHEMA: &str = "protobuf-confluent.schema";
    let options = view.options();
    let text = match options.text(SCHEMA) {
        Some(text) => text.to_owned(),
        None => derive(columns.fields()).map_err(|reason| options.error(reason))?,
    };
    let made = compile_text(&text, BTreeMap::new()).and_then(|definition| {
        let message = match options.text("protobuf-confluent.message") {
            Some(name) => definition.message(Some(name)),
            None => definition.first(),
        }?;
        Ok((ProtobufWriter::new(&message, columns.fields())?, written_path(&path_of(&message))))
    });
    let what = if options.text(SCHEMA).is_some() { format!("option '{SCHEMA}': ") } else { String::new() };
    let (writer, path) = made.map_err(|reason| options.error(format!("{what}{reason}")))?;
    Ok((text, writer, path))
}

/// A path as it stands in a message: how long it is, and its indexes. The first message of a schema is a zero alone.
fn written_path(path: &[usize]) -> Vec<u8> {
    let mut written = Vec::new();
    if path == [0] {
        written.push(0);
        return written;
    }
    for number in std::iter::once(&path.len()).chain(path) {
        write_long(i64::try_from(*number).unwrap_or(i64::MAX), &mut written);
    }
    written
}

/// The path in a message, and what stands behind it.
fn read_path(bytes: &[u8]) -> Result<(Vec<usize>, &[u8]), Fault> {
    let mut datum = Datum::new(bytes);
    let mut number = || datum.length().map_err(|fault| fault.of_field("which message it is"));
    let path = match number()? {
        0 => vec![0],
        length if length > PATH_MAX => return Err(Fault::new(format!("its message is nested {length} deep"))),
        length => (0..length).map(|_| number()).collect::<Result<_, _>>()?,
    };
    Ok((path, bytes.get(datum.position()..).unwrap_or_default()))
}

/// Messages whose definitions are in a registry.
struct RegisteredProtobuf {
    columns: Fields,
    reads_defaults: bool,
}

/// A definition, and what reads those of its messages that occurred.
struct ProtobufReaders {
    definition: Definition,
    readers: HashMap<Vec<usize>, Result<ProtobufReader, String>>,
}

impl RegisteredFormat for RegisteredProtobuf {
    type Reader = ProtobufReaders;

    fn reader(&self, registered: Registered) -> Result<ProtobufReaders, String> {
        match registered.language {
            Language::Protobuf => {}
            Language::Avro => return Err("it is a schema of Avro, not of Protobuf".to_owned()),
            Language::Other => return Err("it is not a schema of Protobuf".to_owned()),
        }
        let definition = compile_text(&registered.schema, registered.references.into_iter().collect())?;
        Ok(ProtobufReaders { definition, readers: HashMap::new() })
    }

    fn read(&self, reader: &mut ProtobufReaders, bytes: &[u8], root: &mut RowColumn, row: usize) -> Result<(), Fault> {
        let (path, bytes) = read_path(bytes)?;
        let ProtobufReaders { definition, readers } = reader;
        if !readers.contains_key(&path) {
            let message = definition.message_at(&path);
            let message = message.ok_or_else(|| Fault::new(format!("its schema has no message {path:?}")))?;
            let made = ProtobufReader::new(message, &self.columns, self.reads_defaults);
            readers.insert(path.clone(), made);
        }
        match readers.get(&path) {
            Some(Ok(reader)) => reader.read(bytes, root, row),
            Some(Err(reason)) => Err(Fault::new(reason.clone())),
            None => Err(Fault::new("its message is not known")),
        }
    }

    fn names(&self, reader: &ProtobufReaders) -> Vec<String> {
        reader.readers.values().flatten().flat_map(ProtobufReader::names).collect()
    }
}
