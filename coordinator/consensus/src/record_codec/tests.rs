use proptest::prelude::*;

use super::*;

fn seat() -> impl Strategy<Value = Seat> {
    ("[a-z.0-9]{1,40}:[1-9][0-9]{0,3}", any::<bool>(), any::<Option<u64>>())
        .prop_map(|(address, is_promotable, application)| Seat { address, is_promotable, application })
}

fn roster() -> impl Strategy<Value = Roster> {
    let member = || any::<u64>().prop_map(MemberId);
    let seats = prop::collection::btree_map(member(), seat(), 0..6);
    (seats, prop::collection::btree_set(member(), 0..6)).prop_map(|(seats, retired)| Roster { seats, retired })
}

proptest! {
    #[test]
    fn origins_come_back(member: u64, incarnation: u64, number: u64) {
        let origin = Origin { member: MemberId(member), incarnation, number };
        prop_assert_eq!(Origin::decode(&origin.encode()), Ok(origin));
    }

    #[test]
    fn seats_come_back(seat in seat()) {
        prop_assert_eq!(decode_seat(&encode_seat(&seat)), Ok(seat));
    }

    #[test]
    fn snapshots_come_back(roster in roster(), state: Vec<u8>) {
        let bytes = encode_snapshot(&roster, &state);
        prop_assert_eq!(decode_snapshot(&bytes), Ok((roster, Bytes::from(state))));
    }

    #[test]
    fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
        let _ = Origin::decode(&bytes);
        let _ = decode_seat(&bytes);
        let _ = decode_snapshot(&Bytes::from(bytes));
    }

    #[test]
    fn what_is_cut_off_is_refused(seat in seat(), keep in 0.0..1.0f64) {
        let bytes = encode_seat(&seat);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a position within a short vector"
        )]
        let length = (bytes.len() as f64 * keep) as usize;
        prop_assert!(decode_seat(&bytes[..length]).is_err());
    }
}

#[test]
fn each_version_has_these_bytes() {
    let origin = Origin { member: MemberId(2), incarnation: 3, number: 4 };
    let mut expected = vec![1];
    expected.extend([2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(origin.encode(), expected);
    assert_eq!(origin.encode().len(), Origin::BYTES);

    let seat = Seat { address: "a:1".to_owned(), is_promotable: true, application: None };
    assert_eq!(encode_seat(&seat), [2, 1, 3, 0, b'a', b':', b'1']);
    assert_eq!(decode_seat(&[1, 1, 3, 0, b'a', b':', b'1']), Ok(seat.clone()), "version 1");
    let admitted = Seat { application: Some(5), ..seat.clone() };
    assert_eq!(encode_seat(&admitted), [2, 3, 5, 0, 0, 0, 0, 0, 0, 0, 3, 0, b'a', b':', b'1']);

    let roster = Roster { seats: [(MemberId(7), seat)].into(), retired: [MemberId(9)].into() };
    let bytes = encode_snapshot(&roster, b"state");
    assert_eq!(bytes.as_ref(), b"\x03\x01\0\0\0\x07\0\0\0\0\0\0\0\x01\x03\0a:1\x01\0\0\0\x09\0\0\0\0\0\0\0state");
    let older = Bytes::from_static(b"\x02\x01\0\0\0\x07\0\0\0\0\0\0\0\x01\x03\0a:1\x01\0\0\0\x09\0\0\0\0\0\0\0state");
    assert_eq!(decode_snapshot(&older), decode_snapshot(&bytes), "version 2");
}

#[test]
fn other_versions_are_refused_by_name() {
    assert_eq!(decode_seat(&[9, 0, 0, 0]), Err(RecordError::Version("seat of a member", 9)));
    assert_eq!(
        decode_snapshot(&Bytes::from_static(&[1])).unwrap_err().to_string(),
        "the snapshot has version 1, which this program does not know"
    );
}
