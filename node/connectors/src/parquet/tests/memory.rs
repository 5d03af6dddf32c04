//! Files that take much memory to decode: refused because of their page headers, or decoded when there is room.

use std::{fs, sync::Arc, time::Duration};

use ::parquet::{basic::Compression, file::properties::WriterProperties};
use arrow::{
    array::{ArrayRef, Int64Array, StringArray},
    datatypes::{DataType, SchemaRef},
};
use object_store::{ObjectStore, ObjectStoreExt as _, memory::InMemory, path::Path};
use tempfile::TempDir;
use tokio::time::timeout;

use super::{columns, error_of, field, folder, one, write};
use crate::{
    ConnectorContext, ObjectStores, Read, Source, SourceIdentity, SplitReader, open_source_of,
    testing::{context, read_all, settings, source, source_identity},
};

const MIB: u64 = 1 << 20;

fn table_of(path: &str, columns: SchemaRef, identity: SourceIdentity, context: &ConnectorContext) -> Box<dyn Source> {
    let options = [("path", path), ("format", "parquet"), ("source.split-size", "1 gb")];
    open_source_of(identity, &source("filesystem", &options, columns), &settings(8192), context).expect("a table")
}

fn table(folder: &TempDir, columns: SchemaRef, decoding_bytes: u64) -> Box<dyn Source> {
    table_of(folder.path().to_str().expect("text"), columns, source_identity(decoding_bytes), &context())
}

/// The same files in an object store.
async fn stored(folder: &TempDir, columns: SchemaRef, decoding_bytes: u64) -> Box<dyn Source> {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    for entry in fs::read_dir(folder.path()).expect("listed") {
        let entry = entry.expect("listed");
        let bytes = fs::read(entry.path()).expect("read");
        let name = format!("in/{}", entry.file_name().to_str().expect("text"));
        store.put(&Path::from(name), bytes.into()).await.expect("put");
    }
    let mut context = context();
    context.stores = ObjectStores::default().with_store("memory://bucket", store);
    table_of("memory://bucket/in", columns, source_identity(decoding_bytes), &context)
}

fn texts(rows: usize, bytes: usize) -> ArrayRef {
    Arc::new(StringArray::from_iter_values((0..rows).map(|row| row.to_string().repeat(bytes).split_off(bytes / 2))))
}

/// Settings for pages as large as a writer can make them.
fn bomb(dictionary: bool) -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(Default::default()))
        .set_dictionary_enabled(dictionary)
        .set_dictionary_page_size_limit(1 << 30)
        .set_data_page_size_limit(1 << 30)
        .build()
}

#[tokio::test]
async fn pages_that_would_fill_the_memory_are_refused_before_they_are_decompressed() {
    for dictionary in [false, true] {
        let folder = folder();
        write(&folder, "1", &one("v", texts(40, 1 << 20)), bomb(dictionary));
        let bytes = fs::metadata(folder.path().join("1")).expect("it is there").len();
        assert!(bytes < 1 << 20, "{bytes}");
        let columns = || columns(vec![field("v", DataType::Utf8View)]);
        let refused = |error: String| {
            for part in
                ["read ", "/1 as Parquet (row group 0 from row 0 of it)", "for column v", "16777216", "--memory"]
            {
                assert!(error.contains(part), "{part}: {error}");
            }
        };
        refused(error_of(&*table(&folder, columns(), 16 * MIB)).await);
        refused(error_of(&*stored(&folder, columns(), 16 * MIB).await).await);
        for source in [table(&folder, columns(), 256 * MIB), stored(&folder, columns(), 256 * MIB).await] {
            let given = read_all(&*source).await.expect("there is room");
            assert_eq!(given.rows(), 40);
        }
    }
}

/// The footer claims a small chunk, but its page claims two gigabytes.
#[tokio::test]
async fn a_footer_is_not_believed() {
    let folder = folder();
    let properties = WriterProperties::builder().set_dictionary_enabled(false).build();
    write(&folder, "1", &one("n", Arc::new(Int64Array::from_iter_values(0..1000))), properties);
    let path = folder.path().join("1");
    let mut bytes = fs::read(&path).expect("read");
    // The header follows the file's magic number: field 1, the type, then field 2, the uncompressed length.
    assert_eq!((bytes[4..7].to_vec(), bytes[7] & 0x80, bytes[8] & 0x80), (vec![0x15, 0, 0x15], 0x80, 0));
    bytes.splice(7..9, [0xfe, 0xff, 0xff, 0xff, 0x0f]);
    fs::write(&path, bytes).expect("written");
    let columns = || columns(vec![field("n", DataType::Int64)]);
    for source in [table(&folder, columns(), 512 * MIB), stored(&folder, columns(), 512 * MIB).await] {
        let error = error_of(&*source).await;
        assert!(error.contains(" of them for column n"), "{error}");
    }
}

async fn batch(reader: &mut dyn SplitReader) -> Option<usize> {
    match reader.next().await.expect("readable") {
        Read::Records { batch, .. } => Some(batch.num_rows()),
        Read::Waiting | Read::Idle | Read::CaughtUp | Read::End => None,
    }
}

#[tokio::test]
async fn readers_take_their_turns_where_memory_is_short() {
    for is_stored in [false, true] {
        let folder = folder();
        for name in ["1", "2"] {
            write(&folder, name, &one("v", texts(12, 1 << 20)), bomb(false));
        }
        let columns = columns(vec![field("v", DataType::Utf8View)]);
        let source = match is_stored {
            true => stored(&folder, columns, 24 * MIB).await,
            false => table(&folder, columns, 24 * MIB),
        };
        let splits = source.discover().await.expect("two files");
        let mut first = source.open(&splits[0]).await.expect("opened");
        let mut second = source.open(&splits[1]).await.expect("opened");
        let mut given = batch(&mut *first).await.expect("it is the first");
        assert!(matches!(second.next().await, Ok(Read::Waiting)), "what is no silence is said");
        let waits = timeout(Duration::from_millis(10), second.next()).await;
        assert!(waits.is_err(), "{waits:?}");
        while given < 12 {
            given += batch(&mut *first).await.expect("it has its turn");
        }
        let begun = timeout(Duration::from_secs(60), batch(&mut *second)).await.expect("it is its turn");
        assert!(begun.is_some_and(|rows| rows > 0));
        assert_eq!(batch(&mut *first).await, None);
    }
}
