//! A local directory as an object store whose puts are durable when they return.
//!
//! `object_store`'s own `LocalFileSystem` writes a file under another name and renames it, but leaves it to the
//! operating system when that reaches the disk. Here `fsync` follows each put: of the file, of its directory, and of
//! those above it up to the store's own, as the put may have created them. If the machine crashes during a put, the
//! file may exist without its content. Nobody was told that it exists, and whoever reads it checks it.
//!
//! Uploads in several parts are durable too when they complete. Copies and renames are not: nothing here uses them.
//! Directories that become empty by deletion are removed.

use std::{
    fmt, fs,
    io::{ErrorKind, Read as _, Seek as _, SeekFrom},
    ops::Range,
    path::{Path as LocalPath, PathBuf},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart, local::LocalFileSystem,
    path::Path,
};
use thalweg_types::durable;

use crate::{
    StorageError,
    error::{self, config},
};

/// What to do about a local directory that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Create,
    Refuse,
}

/// The store of one directory.
#[derive(Debug)]
pub(crate) struct DirectoryStore {
    files: LocalFileSystem,
    /// Absolute, without symbolic links.
    folder: PathBuf,
}

impl DirectoryStore {
    pub(crate) fn open(folder: &LocalPath, missing: Missing) -> std::result::Result<Self, StorageError> {
        let attempted = || format!("open the directory {}", folder.display());
        let failed = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
                config(attempted(), error.to_string())
            }
            _ => error::failed(attempted(), error),
        };
        if missing == Missing::Create {
            durable::create_directory(folder).map_err(failed)?;
        }
        let folder = fs::canonicalize(folder).map_err(failed)?;
        if !folder.is_dir() {
            return Err(config(attempted(), "it is not a directory"));
        }
        let files = LocalFileSystem::new_with_prefix(&folder).map_err(|error| error::failed(attempted(), error))?;
        Ok(Self { files: files.with_automatic_cleanup(true), folder })
    }
}

/// Reads parts of a file, each into memory that is not zeroed first.
fn read_ranges(file: &LocalPath, ranges: &[Range<u64>]) -> std::io::Result<Vec<Bytes>> {
    let mut file = fs::File::open(file)?;
    let length = file.metadata()?.len();
    let mut read = Vec::with_capacity(ranges.len());
    for range in ranges {
        if range.start > range.end || range.end > length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let bytes = range.end - range.start;
        let mut part = Vec::with_capacity(usize::try_from(bytes).map_err(|_| ErrorKind::OutOfMemory)?);
        file.seek(SeekFrom::Start(range.start))?;
        if u64::try_from((&mut file).take(bytes).read_to_end(&mut part)?) != Ok(bytes) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        read.push(part.into());
    }
    Ok(read)
}

/// Makes a file below the folder durable, with the names on the way to it.
async fn sync(file: &LocalPath, folder: &LocalPath) -> Result<()> {
    let below = file.ancestors().take_while(|above| above.starts_with(folder));
    for path in below {
        let failed = |source: std::io::Error| {
            let text = format!("could not make {} durable: {source}", path.display());
            Error::Generic { store: "directory", source: std::io::Error::new(source.kind(), text).into() }
        };
        tokio::fs::File::open(path).await.map_err(failed)?.sync_all().await.map_err(failed)?;
    }
    Ok(())
}

impl fmt::Display for DirectoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DirectoryStore({})", self.folder.display())
    }
}

#[async_trait]
impl ObjectStore for DirectoryStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let file = self.files.path_to_filesystem(location)?;
        match self.files.put_opts(location, payload, opts).await {
            Ok(put) => sync(&file, &self.folder).await.map(|()| put),
            // A caller that finds its own content there takes the object for put, so it must be durable too.
            Err(error @ Error::AlreadyExists { .. }) => {
                sync(&file, &self.folder).await?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let file = self.files.path_to_filesystem(location)?;
        let parts = self.files.put_multipart_opts(location, opts).await?;
        Ok(Box::new(DurableUpload { parts, file, folder: self.folder.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    #[expect(clippy::disallowed_methods, reason = "files block, and this is what `object_store` does for them")]
    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (file, wanted) = (self.files.path_to_filesystem(location)?, ranges.to_vec());
        match tokio::task::spawn_blocking(move || read_ranges(&file, &wanted)).await {
            Ok(Ok(read)) => Ok(read),
            // This reads again, and reports the error in the words of all stores.
            Ok(Err(_)) | Err(_) => self.files.get_ranges(location, ranges).await,
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.files.rename_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct DurableUpload {
    parts: Box<dyn MultipartUpload>,
    file: PathBuf,
    folder: PathBuf,
}

#[async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let put = self.parts.complete().await?;
        sync(&self.file, &self.folder).await.map(|()| put)
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.abort().await
    }
}
