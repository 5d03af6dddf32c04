//! What the tests of storage share: rows of many types, a small manifest, and a store that lacks features.

use std::{fmt, ops::Range, sync::Arc};

use arrow::{
    array::{
        ArrayRef, DictionaryArray, Int64Array, ListBuilder, RecordBatch, RecordBatchOptions, StringArray,
        StringViewArray, StringViewBuilder, StructArray,
    },
    datatypes::{DataType, Field, Int8Type, Schema},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory, path::Path,
};
use thalweg_types::{
    Attempt, ChainId, CheckpointId, ClusterId, JobId, KeyGroup, KeyGroupTable, OperatorId, SubtaskId, Term,
    checkpoint::{
        BatchRef, InFlightRows, MANIFEST_FORMAT, Manifest, OperatorSnapshot, RecordCounts, RecordedColumn,
        RecordedExchange, RecordedGraph, RecordedOperator, SnapshotCost, StateObject, SubtaskSnapshot,
    },
    graph::{GraphFingerprint, OperatorIdentity},
};

use crate::{CheckpointStore, Compression, ObjectStores, StateFile, StateFileBuilder, names};

pub(super) const URL: &str = "memory://checkpoints/below";

pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts").block_on(future)
}

pub(super) fn groups(groups: &[u16]) -> Vec<KeyGroup> {
    groups.iter().map(|group| KeyGroup(*group)).collect()
}

/// Numbers and text, in plain arrays.
pub(super) fn plain_rows(numbers: &[i64]) -> RecordBatch {
    let texts: Vec<Option<String>> = numbers.iter().map(|n| (n % 3 != 0).then(|| format!("row {n}"))).collect();
    let columns: [(&str, ArrayRef); 2] =
        [("n", Arc::new(Int64Array::from(numbers.to_vec()))), ("text", Arc::new(StringArray::from(texts)))];
    RecordBatch::try_from_iter(columns).expect("the columns are of one length")
}

/// Views, dictionaries, lists of views and structs of dictionaries, with nulls and with many values that no row refers
/// to.
pub(super) fn nested_rows(numbers: &[i64]) -> RecordBatch {
    let texts = numbers.iter().map(|n| (n % 5 != 0).then(|| format!("a text that is no inline view: {n}")));
    let views: ArrayRef = Arc::new(texts.collect::<StringViewArray>());
    let dictionary: DictionaryArray<Int8Type> =
        numbers.iter().map(|n| (n % 7 != 0).then(|| ["low", "middle", "high"][usize::from(n % 3 != 0)])).collect();
    let dictionary: ArrayRef = Arc::new(dictionary);
    let mut lists = ListBuilder::new(StringViewBuilder::new());
    for n in numbers {
        for item in 0..n.rem_euclid(3) {
            lists.values().append_value(format!("an item of a list, rather long: {n}, {item}"));
        }
        lists.append(n % 4 != 0);
    }
    let field = Arc::new(Field::new("level", dictionary.data_type().clone(), true));
    let nested: ArrayRef = Arc::new(StructArray::from(vec![(field, dictionary.clone())]));
    let columns: [(&str, ArrayRef); 5] = [
        ("__key_group", Arc::new(Int64Array::from(numbers.to_vec()))),
        ("view", views),
        ("level", dictionary),
        ("items", Arc::new(lists.finish())),
        ("nested", nested),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let schema = Schema::new_with_metadata(fields, [("made".to_owned(), "by a test".to_owned())].into());
    RecordBatch::try_new(Arc::new(schema), columns.map(|(_, column)| column).into()).expect("the columns fit")
}

/// Rows without columns, which are only counted.
pub(super) fn bare_rows(rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let schema = Schema::new(Vec::<Field>::new());
    RecordBatch::try_new_with_options(Arc::new(schema), Vec::new(), &options).expect("there are no columns")
}

pub(super) fn types_of(rows: &RecordBatch) -> Vec<DataType> {
    rows.schema_ref().fields().iter().map(|field| field.data_type().clone()).collect()
}

pub(super) fn cluster() -> ClusterId {
    ClusterId("00c0ffee00c0ffee".to_owned())
}

pub(super) fn subtask(index: u32) -> SubtaskId {
    SubtaskId { chain: ChainId(1), index }
}

pub(super) fn state_name(index: u32) -> String {
    names::state_object(&cluster(), JobId(1), Attempt(2), subtask(index), CheckpointId(3))
}

pub(super) fn manifest_name() -> String {
    names::manifest(&cluster(), JobId(1), CheckpointId(3), Attempt(2), Term(5))
}

/// A state file of two segments of state, and one of rows in flight.
pub(super) fn state_file(first_group: u16) -> StateFile {
    let mut builder = StateFileBuilder::new(1 << 20, Compression::WhereItSaves);
    for number in [1, 2] {
        let groups = groups(&[first_group + 1, first_group, first_group + 1]);
        let added = builder.add(OperatorId(4), "rows", &groups, &plain_rows(&[number, 20, 30]));
        assert_eq!(added.expect("plain rows are stored").len(), 1);
    }
    builder.add(OperatorId(4), "in flight", &groups(&[250]), &plain_rows(&[7])).expect("plain rows are stored");
    builder.finish()
}

fn snapshot(index: u32, object: StateObject) -> SubtaskSnapshot {
    let batch = |segments: Vec<u32>| BatchRef { object: object.name.clone(), segments };
    SubtaskSnapshot {
        subtask: subtask(index),
        is_finished: false,
        operators: vec![OperatorSnapshot {
            operator: OperatorId(4),
            values: [("watermark".to_owned(), -1)].into(),
            tables: [("rows".to_owned(), vec![batch(vec![0]), batch(vec![1])])].into(),
        }],
        source: None,
        in_flight: vec![InFlightRows { exchange: 0, to: 0, batches: vec![batch(vec![2])] }],
        objects: vec![object],
        counts: RecordCounts::default(),
        prepared: Vec::new(),
        cost: SnapshotCost::default(),
    }
}

/// A graph of eight operators, of which the fifth aggregates and the others are sources.
fn recorded() -> RecordedGraph {
    let operator = |index: u32| {
        let is_source = index != 4;
        RecordedOperator {
            operator: OperatorId(index),
            identity: OperatorIdentity(0x00c0_ffee_0000_0000 + u64::from(index)),
            kind: if is_source { "source" } else { "window_aggregate" }.to_owned(),
            state_version: 1,
            name: if is_source { format!("source t{index}") } else { "count per k".to_owned() },
            chain: ChainId(u32::from(!is_source)),
            output: vec![RecordedColumn { name: "n".to_owned(), data_type: "int64".to_owned(), nullable: !is_source }],
        }
    };
    RecordedGraph {
        release: "0.1.0".to_owned(),
        fingerprint: GraphFingerprint(u64::MAX),
        operators: (0..8).map(operator).collect(),
        exchanges: vec![RecordedExchange { from: OperatorId(3), to: OperatorId(4), port: 0 }],
    }
}

pub(crate) fn manifest(objects: Vec<StateObject>) -> Manifest {
    Manifest {
        format: MANIFEST_FORMAT,
        cluster: cluster(),
        job: JobId(1),
        attempt: Attempt(2),
        checkpoint: CheckpointId(3),
        key_groups: KeyGroupTable::even(8, 2),
        parallelism: 2,
        graph: Some(recorded()),
        subtasks: (0..).zip(objects).map(|(index, object)| snapshot(index, object)).collect(),
    }
}

/// A store in memory, and a checkpoint of two subtasks in it.
pub(super) async fn stored(inner: Arc<dyn ObjectStore>) -> (ObjectStores, CheckpointStore, Manifest) {
    let stores = ObjectStores::default().with_store("memory://checkpoints", inner);
    let store = CheckpointStore::open(URL, &stores).expect("the store is registered");
    let mut objects = Vec::new();
    for index in 0..2_u32 {
        let file = state_file(if index == 0 { 0 } else { 4 });
        objects.push(store.put_state(&state_name(index), file).await.expect("memory takes it"));
    }
    (stores, store, manifest(objects))
}

/// A store without conditional puts and without ranges from the end, like some services.
#[derive(Debug, Default)]
pub(crate) struct PoorStore(pub(crate) InMemory);

impl fmt::Display for PoorStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PoorStore")
    }
}

fn not_supported() -> Error {
    Error::NotSupported { source: "a poor store".into() }
}

#[async_trait]
impl ObjectStore for PoorStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if opts.mode == PutMode::Create {
            return Err(not_supported());
        }
        self.0.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if matches!(options.range, Some(GetRange::Suffix(_))) {
            return Err(not_supported());
        }
        self.0.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.0.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}
