//! Uploads in pieces are completed when their part is sealed, and aborted when it is dropped.

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
};

use arrow::array::StringViewArray;
use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result, UploadPart,
};

use super::*;

/// A store that counts uploads that are neither completed nor aborted.
#[derive(Debug, Default)]
struct CountingStore {
    inner: InMemory,
    open: Arc<AtomicUsize>,
}

impl fmt::Display for CountingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CountingStore")
    }
}

#[async_trait]
impl ObjectStore for CountingStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.open.fetch_add(1, Ordering::SeqCst);
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(CountedUpload { inner, open: self.open.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct CountedUpload {
    inner: Box<dyn MultipartUpload>,
    open: Arc<AtomicUsize>,
}

#[async_trait]
impl MultipartUpload for CountedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.open.fetch_sub(1, Ordering::SeqCst);
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.open.fetch_sub(1, Ordering::SeqCst);
        self.inner.abort().await
    }
}

#[tokio::test]
async fn an_upload_is_completed_or_given_up() {
    let (store, mut context) = (Arc::new(CountingStore::default()), context());
    context.stores = ObjectStores::default().with_store("memory://bucket", store.clone());
    let columns = schema(&[("s", DataType::Utf8View, true)]);
    let spec = sink("filesystem", &[("path", "memory://bucket/out"), ("format", "json")]);
    let mut writer = open_sink_writer(&spec, columns.clone(), identity(1, 1, 0), &context).expect("a writer");
    let text = "x".repeat(1 << 20);
    let rows = arrow::array::RecordBatch::try_new(columns, vec![Arc::new(StringViewArray::from(vec![&*text; 24]))]);
    let rows = rows.expect("a column");
    writer.write(&rows).await.expect("written");
    assert_eq!(store.open.load(Ordering::SeqCst), 1, "it is large enough for pieces");
    assert_eq!(seal(&mut *writer).await.len(), 1);
    assert_eq!(store.open.load(Ordering::SeqCst), 0);

    writer.write(&rows).await.expect("written");
    drop(writer);
    let given_up = async {
        while store.open.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), given_up).await.expect("it is given up");
}
