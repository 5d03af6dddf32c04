use proptest::prelude::*;

use super::*;

#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Failed {
    text: &'static str,
    source: Option<Box<Failed>>,
}

#[test]
fn causes_follow_an_error_each_once() {
    let failed = |text, source| Failed { text, source };
    let told = failed("no route", None);
    let repeats = failed("could not dial a:1: no route", Some(Box::new(told)));
    let error = failed("could not deploy", Some(Box::new(repeats)));
    assert_eq!(with_causes(&error), "could not deploy: could not dial a:1: no route");
    assert_eq!(with_causes(&failed("alone", None)), "alone");
    let of_table = failed("table t failed", Some(Box::new(failed("table t: no", None))));
    assert_eq!(with_causes(&of_table), "table t failed: no");
    let of_other = failed("table t failed", Some(Box::new(failed("table tt: no", None))));
    assert_eq!(with_causes(&of_other), "table t failed: table tt: no");
}

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
