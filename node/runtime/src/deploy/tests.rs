//! How the memory budget bounds the windows of channels.

use super::*;

const MIB: u64 = 1 << 20;

#[test]
fn a_channel_has_the_window_that_is_set_or_its_share_of_a_quarter_of_the_memory() {
    assert_eq!(window_of(MIB, 1024 * MIB, 0), MIB, "there is no channel");
    assert_eq!(window_of(MIB, 1024 * MIB, 256), MIB, "they fill the quarter");
    assert_eq!(window_of(MIB, 1024 * MIB, 512), MIB / 2);
    assert_eq!(window_of(MIB, 400 * MIB, 1000), 100 * MIB / 1000);
}

#[test]
fn however_many_channels_there_are_each_has_the_smallest_window_unless_less_is_set() {
    assert_eq!(window_of(MIB, 1024 * MIB, 4096), WINDOW_BYTES_MIN);
    assert_eq!(window_of(MIB, 1024 * MIB, 1_000_000), WINDOW_BYTES_MIN);
    assert_eq!(window_of(MIB, 0, 1), WINDOW_BYTES_MIN);
    assert_eq!(window_of(1024, 1024 * MIB, 1_000_000), 1024);
}
