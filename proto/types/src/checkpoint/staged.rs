//! The objects that a committable names: rows that a sink's writer has staged beside the checkpoints, for the committer.
//!
//! They are no state: nobody restores them. They are needed until what they hold is published, and go with the manifest
//! that names them, with what older attempts have left, or by `Action::Discard`.

use serde_json::Value;

/// The member of a committable that lists them: an array of `StateObject`s. The rest of a committable only its connector
/// understands.
pub const STAGED: &str = "staged";

/// The names of the objects that a committable lists.
pub fn staged_objects(committable: &Value) -> impl Iterator<Item = &str> {
    let listed = committable.get(STAGED).and_then(Value::as_array);
    listed.into_iter().flatten().filter_map(|object| object.get("name")?.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::checkpoint::StateObject;

    #[test]
    fn a_committable_names_its_objects() {
        let object = |name: &str| StateObject { name: name.to_owned(), bytes: 1, checksum: 2 };
        let committable = json!({ "rows": 3, STAGED: [object("a"), object("b")] });
        assert_eq!(staged_objects(&committable).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn other_committables_name_none() {
        for other in [json!("part-1"), json!({ "hidden": "a" }), json!({ STAGED: "a" }), json!({ STAGED: [1, {}] })] {
            assert_eq!(staged_objects(&other).count(), 0, "{other}");
        }
    }
}
