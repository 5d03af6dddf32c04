use proptest::prelude::*;

use super::*;

#[test]
fn what_is_not_hexadecimal_is_refused() {
    for text in ["0", "0g", "é0", "+1"] {
        assert_eq!(from_hex(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn bytes_survive_the_round_trip(bytes in any::<Vec<u8>>()) {
        prop_assert_eq!(from_hex(&to_hex(&bytes)), Some(bytes));
    }
}
