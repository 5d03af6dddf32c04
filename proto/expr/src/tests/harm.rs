//! Bytes that `encode` never gave yield an error, or an expression that has an encoding; never a panic.

use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::Value;

use super::{FUNCTIONS, generate};
use crate::{decode, encode};

fn check_bytes(bytes: &[u8]) {
    if let Ok(expr) = decode(bytes, &FUNCTIONS) {
        super::check(&expr);
    }
}

/// Every scalar within a JSON value.
fn parts<'a>(value: &'a mut Value, found: &mut Vec<&'a mut Value>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| parts(item, found)),
        Value::Object(fields) => fields.values_mut().for_each(|field| parts(field, found)),
        _ => found.push(value),
    }
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn branch() -> impl Strategy<Value = String> {
    let number = prop_oneof![Just(-1), Just(0), Just(3), Just(i64::MAX), any::<i64>()].prop_map(|n| n.to_string());
    prop_oneof![
        number,
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("[]".to_owned()),
        Just(r#"{"int":1}"#.to_owned()),
        Just(r#"{"items":[null,{"int":1},{"items":[]}]}"#.to_owned()),
        Just(r#"{"bytes":"00"}"#.to_owned()),
        Just(r#""Int8""#.to_owned()),
        Just(r#"{"FixedSizeBinary":1}"#.to_owned()),
        Just(r#"{"Dictionary":["Int8","Utf8"]}"#.to_owned()),
    ]
}

proptest! {
    #[test]
    fn bytes_that_are_no_expression_do_no_harm(bytes in vec(any::<u8>(), 0..64)) {
        check_bytes(&bytes);
    }

    #[test]
    fn changed_bytes_do_no_harm(
        expr in generate::expression(),
        changes in vec((any::<Index>(), any::<u8>(), any::<bool>()), 1..4),
    ) {
        let mut bytes = encode(&expr).unwrap();
        for (at, byte, cut) in changes {
            let at = at.index(bytes.len());
            let change = if cut { vec![] } else { vec![byte] };
            bytes.splice(at..=at, change);
        }
        check_bytes(&bytes);
    }

    #[test]
    fn changed_values_do_no_harm(expr in generate::expression(), at in any::<Index>(), by in branch()) {
        let mut changed = json(&encode(&expr).unwrap());
        let mut found = Vec::new();
        parts(&mut changed, &mut found);
        let at = at.index(found.len());
        *found.swap_remove(at) = json(by.as_bytes());
        check_bytes(changed.to_string().as_bytes());
    }

    #[test]
    fn values_of_another_type_do_no_harm(expr in generate::literal(), data_type in generate::any_type()) {
        let mut changed = json(&encode(&expr).unwrap());
        changed["nodes"][0]["literal"]["type"] = serde_json::to_value(data_type).unwrap();
        check_bytes(changed.to_string().as_bytes());
    }

    #[test]
    fn nodes_in_any_order_do_no_harm(expr in generate::expression(), moves in vec((any::<Index>(), any::<Index>()), 1..4)) {
        let mut changed = json(&encode(&expr).unwrap());
        let nodes = changed["nodes"].as_array_mut().unwrap();
        for (from, to) in moves {
            let (from, to) = (from.index(nodes.len()), to.index(nodes.len()));
            nodes.swap(from, to);
        }
        check_bytes(changed.to_string().as_bytes());
    }
}
