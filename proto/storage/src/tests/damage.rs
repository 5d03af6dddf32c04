//! Damage is an error: never a panic, never other rows.

use std::sync::Arc;

use object_store::{ObjectStoreExt as _, memory::InMemory};
use thalweg_types::job::FailureKind;

use super::rig::{block_on, groups, plain_rows, state_file, stored};
use crate::{Compression, StateFileBuilder, StateReader, StorageError, checkpoint_store::parse_manifest};

/// Opens a file and reads all of it.
fn read_whole(bytes: Vec<u8>) -> Result<(), StorageError> {
    let reader = StateReader::of_bytes(Arc::new(InMemory::new()), "x.state", bytes.into())?;
    let all: Vec<u32> = (0..).take(reader.entries().len()).collect();
    block_on(reader.read_all(&all)).map(|_| ())
}

#[test]
fn every_byte_of_a_state_file_counts() {
    let whole = state_file(0).to_bytes();
    assert!(read_whole(whole.to_vec()).is_ok());
    for at in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.to_vec();
            bytes[at] ^= flip;
            let error = read_whole(bytes).expect_err("a byte is another one");
            assert!(matches!(error, StorageError::Corrupt { .. }), "byte {at}: {error:?}");
            assert_eq!(error.failure_kind(), FailureKind::Data);
        }
    }
}

#[test]
fn a_state_file_that_is_cut_or_grown_is_damaged() {
    let whole = state_file(0).to_bytes();
    for length in 0..whole.len() {
        assert!(read_whole(whole[..length].to_vec()).is_err(), "cut to {length}");
        assert!(read_whole(whole[length..].to_vec()).is_err() || length == 0, "begins at {length}");
    }
    assert!(read_whole([&whole[..], b"x"].concat()).is_err());
    assert!(read_whole([&whole[..], &whole[..]].concat()).is_err());
}

#[test]
fn a_footer_that_lies_is_damage() {
    let whole = state_file(0).to_bytes();
    let trailer = 24;
    let length = u32::from_le_bytes(whole[whole.len() - trailer..][..4].try_into().expect("four bytes"));
    let footer_at = whole.len() - trailer - usize::try_from(length).expect("it is short");
    let footer = std::str::from_utf8(&whole[footer_at..whole.len() - trailer]).expect("it is JSON");
    let lies = [
        ("\"lowest\":0,\"highest\":1", "\"lowest\":1,\"highest\":1"),
        ("\"lowest\":0,\"highest\":1", "\"lowest\":0,\"highest\":2"),
        ("\"rows\":3", "\"rows\":4"),
        ("\"rows\":3", "\"rows\":18446744073709551615"),
        ("\"offset\":12", "\"offset\":13"),
        ("\"bytes\":", "\"bytes\":1844674407370955"),
        ("\"segments\"", "\"pieces\""),
    ];
    for (truth, lie) in lies {
        let false_footer = footer.replace(truth, lie);
        assert_ne!(false_footer, footer, "{truth}");
        let mut bytes = whole[..footer_at].to_vec();
        bytes.extend_from_slice(false_footer.as_bytes());
        bytes.extend_from_slice(&u32::try_from(false_footer.len()).expect("it is short").to_le_bytes());
        bytes.extend_from_slice(&xxhash_rust::xxh3::xxh3_64(false_footer.as_bytes()).to_le_bytes());
        bytes.extend_from_slice(&whole[whole.len() - 12..]);
        let error = read_whole(bytes).expect_err("the footer lies");
        assert!(matches!(error, StorageError::Corrupt { .. }), "{lie}: {error:?}");
    }
}

#[test]
fn another_version_is_told() {
    let whole = state_file(0).to_bytes();
    let mut bytes = whole.to_vec();
    let at = bytes.len() - 12;
    bytes[at] = 3;
    assert!(read_whole(bytes).expect_err("it is not known").to_string().contains("version 3"));
    let error = parse_manifest("m", br#"{"format":3,"more":true}"#).expect_err("it is not known");
    assert!(error.to_string().contains("format 3, and 1 to 2 are known"), "{error}");
}

#[test]
fn a_byte_of_a_manifest_counts() {
    block_on(async {
        let (_, store, manifest) = stored(Arc::new(InMemory::new())).await;
        let reference = store.put_manifest("m.json", &manifest).await.expect("memory takes it");
        let whole = store.read("m.json").await.expect("it is there");
        for at in 0..whole.len() {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 1;
            // Whatever it says now, parsing it does not panic.
            parse_manifest("m.json", &bytes).ok();
            parse_manifest("m.json", &whole[..at]).expect_err("it is cut");
            store.store.put(&"below/m.json".into(), bytes.into()).await.expect("memory takes it");
            let error = store.get_manifest(&reference).await.expect_err("a byte is another one");
            assert!(matches!(error, StorageError::Corrupt { .. }), "byte {at}: {error:?}");
        }
    });
}

#[test]
fn owners_that_there_are_not_are_damage() {
    let bytes = |owners: String, parallelism: u32| {
        format!(
            r#"{{"format":1,"cluster":"c","job":1,"attempt":1,"checkpoint":1,"key_groups":{owners},
                "parallelism":{parallelism},"subtasks":[]}}"#
        )
    };
    assert!(parse_manifest("m", bytes("[0,1]".to_owned(), 2).as_bytes()).is_ok());
    assert!(parse_manifest("m", bytes("[0,2]".to_owned(), 2).as_bytes()).is_err());
    assert!(parse_manifest("m", bytes(format!("{:?}", vec![0; 40_000]), 2).as_bytes()).is_err());
}

#[test]
#[should_panic(expected = "each row has a key group")]
fn rows_without_key_groups_are_a_mistake() {
    StateFileBuilder::new(1, Compression::WhereItSaves)
        .add(thalweg_types::OperatorId(0), "t", &groups(&[1]), &plain_rows(&[1, 2]))
        .ok();
}
