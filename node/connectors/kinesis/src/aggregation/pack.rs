//! Packs records into one.

use std::collections::HashMap;

use bytes::Bytes;
use md5::{Digest as _, Md5};

use super::{
    DIGEST_BYTES, MAGIC,
    message::{key_bytes, put_hash_key, put_partition_key, put_record, whole_record_bytes},
};
use crate::{NewRecord, hash_key_of, put_bytes};

/// Packs records of one shard into one. Which records belong to one shard, the caller knows.
///
/// It goes to the shard of its first record: it has that one's partition key, and its hash key as an explicit one. A record
/// that is alone is not packed, as with the KPL.
#[derive(Debug)]
pub struct Packer {
    /// The most that `put_bytes` of the packed record may be.
    bytes_max: usize,
    records: Vec<NewRecord>,
    /// By partition key, its place in the table.
    partition_keys: HashMap<String, usize>,
    hash_keys: HashMap<u128, usize>,
    /// Of the message so far.
    message_bytes: usize,
}

impl Packer {
    /// A packed record, its partition key included, will not have more than `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            records: Vec::new(),
            partition_keys: HashMap::new(),
            hash_keys: HashMap::new(),
            message_bytes: 0,
        }
    }

    /// Adds a record. One that does not fit is handed back: take what there is with `finish`, and add it then. The first always
    /// fits: alone, it stays as it is.
    ///
    /// # Errors
    /// The record, if it does not fit any more.
    pub fn push(&mut self, record: NewRecord) -> Result<(), NewRecord> {
        let added = self.added_bytes(&record);
        if !self.records.is_empty() && self.packed_bytes(added) > self.bytes_max {
            return Err(record);
        }
        self.message_bytes += added;
        let next = self.partition_keys.len();
        self.partition_keys.entry(record.partition_key.clone()).or_insert(next);
        if let Some(key) = record.explicit_hash_key {
            let next = self.hash_keys.len();
            self.hash_keys.entry(key).or_insert(next);
        }
        self.records.push(record);
        Ok(())
    }

    /// The number of records so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What `put_bytes` of the packed record would be now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self.records.as_slice() {
            [] => 0,
            [alone] => put_bytes(alone),
            _ => self.packed_bytes(0),
        }
    }

    /// The packed record, and begins anew; `None`: there is none.
    pub fn finish(&mut self) -> Option<NewRecord> {
        let whole = std::mem::replace(self, Self::new(self.bytes_max));
        if whole.records.len() < 2 {
            return whole.records.into_iter().next();
        }
        Some(whole.packed())
    }

    /// What a record adds to the message.
    fn added_bytes(&self, record: &NewRecord) -> usize {
        let mut added = 0;
        let partition_key = self.partition_keys.get(&record.partition_key).copied().unwrap_or_else(|| {
            added += key_bytes(&record.partition_key);
            self.partition_keys.len()
        });
        let hash_key = record.explicit_hash_key.map(|key| {
            self.hash_keys.get(&key).copied().unwrap_or_else(|| {
                added += key_bytes(&key.to_string());
                self.hash_keys.len()
            })
        });
        added + whole_record_bytes(partition_key, hash_key, record.data.len())
    }

    /// The bytes of the packed record, and its partition key, if its message had so many bytes more.
    fn packed_bytes(&self, added: usize) -> usize {
        let key = self.records.first().map_or(0, |first| first.partition_key.len());
        key + MAGIC.len() + self.message_bytes + added + DIGEST_BYTES
    }

    fn packed(self) -> NewRecord {
        let mut bytes = Vec::with_capacity(MAGIC.len() + self.message_bytes + DIGEST_BYTES);
        bytes.extend(MAGIC);
        let mut partition_keys: Vec<(&String, &usize)> = self.partition_keys.iter().collect();
        partition_keys.sort_by_key(|(_, place)| **place);
        partition_keys.iter().for_each(|(key, _)| put_partition_key(&mut bytes, key));
        let mut hash_keys: Vec<(&u128, &usize)> = self.hash_keys.iter().collect();
        hash_keys.sort_by_key(|(_, place)| **place);
        hash_keys.iter().for_each(|(key, _)| put_hash_key(&mut bytes, &key.to_string()));
        for record in &self.records {
            let hash_key = record.explicit_hash_key.map(|key| self.hash_keys[&key]);
            put_record(&mut bytes, self.partition_keys[&record.partition_key], hash_key, &record.data);
        }
        let digest = Md5::digest(&bytes[MAGIC.len()..]);
        bytes.extend(digest);
        let first = self.records.into_iter().next();
        let (partition_key, explicit) =
            first.map(|first| (first.partition_key, first.explicit_hash_key)).unwrap_or_default();
        NewRecord {
            explicit_hash_key: Some(explicit.unwrap_or_else(|| hash_key_of(&partition_key))),
            partition_key,
            data: Bytes::from(bytes),
        }
    }
}
