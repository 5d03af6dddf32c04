//! The `print` and `blackhole` sinks, and the `stdin` source.

use std::{
    io::Cursor,
    sync::{Arc, Mutex},
};

use arrow::datatypes::DataType;
use tokio::io::AsyncRead;

use crate::{
    ConnectorContext, Source, StandardInput,
    lines::LineDecoder as _,
    open_source,
    testing::{Printed, context, identity, open_sink_writer, read_all, schema, seal, settings, sink, source},
};

fn batch(text: &str) -> arrow::array::RecordBatch {
    let columns = schema(&[("a", DataType::Int64, true)]);
    let mut decoder = crate::json::JsonDecoder::new(columns).expect("a readable schema");
    decoder.decode(text.as_bytes(), 0, 1000, &mut Vec::new());
    decoder.finish().expect("a batch")
}

#[tokio::test]
async fn rows_are_printed_behind_the_prefix() {
    let printed = Arc::new(Printed::default());
    let mut context = context();
    context.stdout = printed.clone();
    let columns = schema(&[("a", DataType::Int64, true)]);
    for options in [vec![], vec![("print-identifier", "out")]] {
        let spec = sink("print", &options);
        let mut writer = open_sink_writer(&spec, columns.clone(), identity(1, 1, 0), &context).expect("a writer");
        writer.write(&batch("{\"a\":1}\n{\"a\":null}\n")).await.expect("printed");
        assert!(seal(&mut *writer).await.is_empty());
    }
    let text = String::from_utf8(printed.0.lock().expect("no panics").clone()).expect("text");
    assert_eq!(text, "{\"a\":1}\n{\"a\":null}\nout> {\"a\":1}\nout> {\"a\":null}\n");
}

#[tokio::test(start_paused = true)]
async fn a_blackhole_can_be_slow() {
    let context = context();
    let columns = schema(&[("a", DataType::Int64, true)]);
    for (options, seconds) in [(vec![], 0.0), (vec![("rows-per-second", "4")], 5.0)] {
        let spec = sink("blackhole", &options);
        let mut writer = open_sink_writer(&spec, columns.clone(), identity(1, 1, 0), &context).expect("a writer");
        let before = context.seams.clock.monotonic();
        for _ in 0..10 {
            writer.write(&batch("{\"a\":1}\n{\"a\":2}\n")).await.expect("forgotten");
        }
        let elapsed = (context.seams.clock.monotonic() - before).as_secs_f64();
        assert!((elapsed - seconds).abs() < 0.1, "{elapsed}");
    }
}

#[derive(Debug)]
struct Text(Mutex<Option<&'static str>>);

impl StandardInput for Text {
    fn take(&self) -> Option<Box<dyn AsyncRead + Send + Unpin>> {
        let text = self.0.lock().expect("no panics").take()?;
        Some(Box::new(Cursor::new(text.as_bytes())))
    }
}

fn stdin(text: &'static str, options: &[(&str, &str)]) -> Box<dyn Source> {
    let context = ConnectorContext { stdin: Some(Arc::new(Text(Mutex::new(Some(text))))), ..context() };
    let columns = schema(&[("a", DataType::Int64, true)]);
    open_source(&source("stdin", options, columns), &settings(2), &context).expect("a table")
}

#[tokio::test]
async fn standard_input_is_read_once_to_its_end() {
    let source = stdin("{\"a\":1}\n{\"a\":2}\n\n{\"a\":3}", &[]);
    assert_eq!(read_all(&*source).await.expect("readable").lines().concat(), "{\"a\":1}{\"a\":2}{\"a\":3}");
    let again = read_all(&*source).await.expect_err("taken");
    assert_eq!(again.to_string(), "could not read standard input: it was read before and cannot be read again");
    let csv = stdin("b,a\nx,1\ny,2\n", &[("format", "csv"), ("csv.header", "true")]);
    assert_eq!(read_all(&*csv).await.expect("readable").lines().concat(), "{\"a\":1}{\"a\":2}");
}

#[tokio::test]
async fn bad_lines_of_standard_input_have_numbers() {
    let text = "{\"a\":1}\n{\"a\":2}\n\nbad\n{\"a\":3}\nworse";
    let error = read_all(&*stdin(text, &[])).await.expect_err("a bad line");
    assert_eq!(error.to_string(), "stdin:4: expected '{', found bad");
    let given = read_all(&*stdin(text, &[("dead-letter.path", "/dead")])).await.expect("set aside");
    assert_eq!(given.rows(), 3);
    let positions: Vec<&str> = given.letters.iter().map(|letter| letter.position.as_str()).collect();
    assert_eq!(positions, ["stdin:4", "stdin:6"]);
}
