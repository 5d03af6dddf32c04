//! Offsets of partitions, as options have them.

use std::collections::{BTreeMap, BTreeSet};

/// Reads `partition:0,offset:42;partition:1,offset:300`. `None`: it is something else, or names a partition twice.
#[must_use]
pub fn parse_partition_offsets(text: &str) -> Option<BTreeMap<i32, i64>> {
    let mut offsets = BTreeMap::new();
    for pair in text.trim().trim_end_matches(';').split(';') {
        let (partition, offset) = pair.split_once(',')?;
        let partition: i32 = partition.trim().strip_prefix("partition:")?.trim().parse().ok()?;
        let offset: i64 = offset.trim().strip_prefix("offset:")?.trim().parse().ok()?;
        if partition < 0 || offset < 0 || offsets.insert(partition, offset).is_some() {
            return None;
        }
    }
    Some(offsets)
}

/// The first partition that is named twice.
pub(super) fn repeated_partition(text: &str) -> Option<i32> {
    let pairs = text
        .split(';')
        .filter_map(|pair| pair.split_once(',')?.0.trim().strip_prefix("partition:")?.trim().parse().ok());
    let mut seen = BTreeSet::new();
    pairs.into_iter().find(|partition: &i32| !seen.insert(*partition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_of_partitions_are_read_as_flink_writes_them() {
        let read = |text: &str| parse_partition_offsets(text).map(|offsets| offsets.into_iter().collect::<Vec<_>>());
        assert_eq!(read("partition:0,offset:42;partition:1,offset:300"), Some(vec![(0, 42), (1, 300)]));
        assert_eq!(read(" partition: 3 , offset: 0 ;"), Some(vec![(3, 0)]));
        for wrong in [
            "",
            ";",
            "0:42",
            "partition:0",
            "partition:0,offset:-1",
            "partition:-1,offset:1",
            "partition:0,offset:1,x",
            "partition:0,offset:1;partition:0,offset:2",
            "partition:0,offset:1;;partition:1,offset:2",
            "partition:0,offset:9223372036854775808",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_partition_that_is_named_twice_is_told() {
        assert_eq!(repeated_partition("partition:0,offset:1;partition:7,offset:2; partition: 7,offset:2"), Some(7));
        for other in ["partition:0,offset:1;partition:1,offset:1", "partition:0", ""] {
            assert_eq!(repeated_partition(other), None, "{other}");
        }
    }
}
