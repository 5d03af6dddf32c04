//! Reads ranges of a local file for the Parquet reader. The reader turns I/O errors into text, so they are also kept
//! here.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::FileExt as _,
    sync::{Arc, Mutex},
};

use ::parquet::{
    errors::{ParquetError, Result},
    file::reader::{ChunkReader, Length},
};
use bytes::Bytes;

/// A file of known length. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct LocalFile {
    file: Arc<File>,
    bytes: u64,
    failure: Arc<Mutex<Option<io::Error>>>,
}

impl LocalFile {
    pub(super) fn of(file: File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), bytes, failure: Arc::default() })
    }

    /// Takes the last I/O error, if there was one since the last call.
    pub(super) fn take_failure(&self) -> Option<io::Error> {
        self.failure.lock().ok()?.take()
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.file.read_at(into, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let told = io::Error::new(error.kind(), error.to_string());
                    if let Ok(mut failure) = self.failure.lock() {
                        *failure = Some(error);
                    }
                    return Err(told);
                }
                read => return read,
            }
        }
    }
}

impl Length for LocalFile {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for LocalFile {
    type T = BufReader<From>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(BufReader::new(From { file: self.clone(), offset: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        check_range(self.bytes, start, length as u64)?;
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match self.read_at(&mut bytes[filled..], start + filled as u64)? {
                0 => return Err(ParquetError::EOF(format!("the file ends before byte {}", start + length as u64))),
                count => filled += count,
            }
        }
        Ok(bytes.into())
    }
}

/// Refuses a range that goes beyond a file's end.
pub(super) fn check_range(file_bytes: u64, start: u64, length: u64) -> Result<()> {
    match start.checked_add(length) {
        Some(end) if end <= file_bytes => Ok(()),
        _ => Err(ParquetError::EOF(format!(
            "{length} bytes from byte {start} are not in the file, which has {file_bytes}"
        ))),
    }
}

/// Reads a file from an offset on.
#[derive(Debug)]
pub(super) struct From {
    file: LocalFile,
    offset: u64,
}

impl Read for From {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(into, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}
