//! The hash by which Java's clients, and those that follow them, choose the partition of a key.

/// Multiplies; from MurmurHash2 (Austin Appleby, 2008), as all constants here.
const M: u32 = 0x5bd1_e995;
const R: u32 = 24;
/// Java's clients took this one.
const SEED: u32 = 0x9747_b28c;

/// The partition of a key among so many. Both librdkafka (`murmur2_random`) and Java's clients choose this one.
#[must_use]
pub fn partition_of_key(key: &[u8], partitions: u32) -> u32 {
    // Java's integers have a sign, which its clients cut off.
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

fn murmur2(data: &[u8]) -> u32 {
    let (words, rest) = data.as_chunks::<4>();
    // No record is longer than 2 GiB.
    let mut hash = SEED ^ u32::try_from(data.len()).unwrap_or(u32::MAX);
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(M);
        mixed ^= mixed >> R;
        hash = hash.wrapping_mul(M) ^ mixed.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `org.apache.kafka.common.utils.Utils.murmur2` of Apache Kafka 4.4: the hash, and the partition among 12.
    const KNOWN: &[(&str, i32, u32)] = &[
        ("", 275_646_681, 9),
        ("a", -1_563_381_124, 4),
        ("21", -973_932_308, 0),
        ("abc", 479_470_107, 3),
        ("foobar", -790_332_482, 6),
        ("Zürich", -1_551_140_815, 1),
        ("\u{0}\u{ff}", -1_951_946_001, 11),
        ("a-little-bit-long-string", -985_981_536, 8),
        ("a-little-bit-longer-string", -1_486_304_829, 11),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971, 5),
    ];

    #[test]
    fn keys_hash_as_in_java() {
        for (key, hash, partition) in KNOWN {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), *hash, "{key}");
            assert_eq!(partition_of_key(key.as_bytes(), 12), *partition, "{key}");
        }
    }
}
