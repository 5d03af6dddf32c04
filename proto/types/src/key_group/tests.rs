use proptest::prelude::*;

use super::*;

#[test]
fn one_group_takes_every_hash() {
    assert_eq!(KeyGroup::of_hash(u64::MAX, 1), KeyGroup(0));
}

#[test]
fn the_top_bits_name_the_group() {
    assert_eq!(KeyGroup::of_hash(0xff00_0000_0000_0000, 256), KeyGroup(255));
    assert_eq!(KeyGroup::of_hash(0x00ff_ffff_ffff_ffff, 256), KeyGroup(0));
}

proptest! {
    #[test]
    fn groups_are_total(hash in any::<u64>(), bits in 0u32..16) {
        let groups = 1u16 << bits;
        prop_assert!(KeyGroup::of_hash(hash, groups).0 < groups);
    }

    /// Every group has one owner, and the numbers of groups that slices own differ by at most one.
    #[test]
    fn an_even_table_is_disjoint_whole_and_fair(bits in 0u32..12, parallelism in 1u32..64) {
        let groups = 1u16 << bits;
        let table = KeyGroupTable::even(groups, parallelism);
        let owned: Vec<Vec<KeyGroup>> = (0..parallelism).map(|slice| table.owned_by(slice).collect()).collect();
        let mut all: Vec<KeyGroup> = owned.iter().flatten().copied().collect();
        all.sort();
        prop_assert_eq!(all, (0..groups).map(KeyGroup).collect::<Vec<_>>());
        let sizes = || owned.iter().map(Vec::len);
        prop_assert!(sizes().max().unwrap() - sizes().min().unwrap() <= 1);
        prop_assert!(owned.iter().zip(0u32..).all(|(groups, slice)| groups.iter().all(|group| table.owner(*group) == slice)));
    }
}
