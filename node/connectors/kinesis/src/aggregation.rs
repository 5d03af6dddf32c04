//! Records that the Kinesis Producer Library (KPL) has packed into one, taken apart and made.
//!
//! ```text
//! F3 89 9A C2 | message of protobuf | MD5 of the message, 16 bytes
//!
//! message AggregatedRecord {
//!   repeated string partition_key_table = 1;
//!   repeated string explicit_hash_key_table = 2;
//!   repeated Record records = 3;
//! }
//! message Record {
//!   required uint64 partition_key_index = 1;
//!   optional uint64 explicit_hash_key_index = 2;
//!   required bytes data = 3;
//!   repeated Tag tags = 4;
//! }
//! ```
//!
//! What does not fit in every respect is a record like others, as for the Kinesis Client Library (KCL): the magic bytes may begin any
//! data. So is one with a partition key that is longer than Kinesis takes (`PARTITION_KEY_CHARS_MAX`). Tags and unknown fields are
//! passed over.
//!
//! All of it is looked at first, and taken apart one by one: a few bytes can name a long key, so that all parts together may take
//! hundreds of times the memory of the record.

mod message;
mod pack;

use bytes::Bytes;
use md5::{Digest as _, Md5};

pub use self::{message::SubRecords, pack::Packer};
use crate::{HashKeyRange, hash_key_of};

/// What an aggregated record begins with.
const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
/// The bytes of an MD5.
const DIGEST_BYTES: usize = 16;

/// One of the records that were packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubRecord {
    /// What its producer gave.
    pub partition_key: String,
    /// What its producer gave, if it did.
    pub explicit_hash_key: Option<u128>,
    /// Its bytes.
    pub data: Bytes,
}

impl SubRecord {
    /// What chooses its shard.
    #[must_use]
    pub fn hash_key(&self) -> u128 {
        self.explicit_hash_key.unwrap_or_else(|| hash_key_of(&self.partition_key))
    }

    /// Whether it belongs to a shard of these hash keys. If not, its producer packed it before the shard was split or merged,
    /// and sends it again on its own, to the right shard: the KPL does, and readers leave it out here, as the KCL does.
    #[must_use]
    pub fn belongs_to(&self, shard: &HashKeyRange) -> bool {
        shard.contains(self.hash_key())
    }
}

/// The records that were packed into this data, in their order, each made when it is asked for; `None`: it is a record like others.
#[must_use]
pub fn unpack(data: &Bytes) -> Option<SubRecords> {
    if !data.starts_with(&MAGIC) || data.len() < MAGIC.len() + DIGEST_BYTES {
        return None;
    }
    let message = data.slice(MAGIC.len()..data.len() - DIGEST_BYTES);
    let digest = &data[data.len() - DIGEST_BYTES..];
    if Md5::digest(&message).as_slice() != digest {
        return None;
    }
    SubRecords::of(message)
}

#[cfg(test)]
mod tests;
