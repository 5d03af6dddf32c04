use proptest::prelude::*;
use raft::eraftpb::{ConfState, EntryType, Snapshot};

use super::*;
use crate::{
    membership::{Roster, Seat},
    record_codec::encode_snapshot,
};

fn post(member: u64) -> Post {
    Post { member: MemberId(member), cluster: ClusterId("c".to_owned()), address: format!("m{member}:1") }
}

fn message(kind: MessageType) -> Message {
    let mut message = Message::default();
    message.set_msg_type(kind);
    message.from = 1;
    message.to = 2;
    message.term = 3;
    message
}

fn append(bytes: usize) -> Message {
    let mut entry = Entry::default();
    entry.set_entry_type(EntryType::EntryNormal);
    entry.data = vec![7; bytes].into();
    entry.index = 5;
    entry.term = 3;
    let mut message = message(MessageType::MsgAppend);
    message.index = 4;
    message.log_term = 2;
    message.set_entries(vec![entry].into());
    message
}

fn snapshot(members: &[u64], voters: &[u64]) -> Message {
    let seat = Seat { address: "m:1".to_owned(), is_promotable: true, application: None };
    let seats = members.iter().map(|member| (MemberId(*member), seat.clone())).collect();
    let roster = Roster { seats, ..Roster::default() };
    let mut snapshot = Snapshot::default();
    snapshot.set_data(encode_snapshot(&roster, b"state"));
    snapshot.mut_metadata().index = 9;
    snapshot.mut_metadata().term = 2;
    snapshot.mut_metadata().set_conf_state(ConfState::from((voters.to_vec(), vec![])));
    let mut message = message(MessageType::MsgSnapshot);
    message.set_snapshot(snapshot);
    message
}

/// Sends a message from member 1 to member 2.
fn pass(message: &Message) -> Result<Option<Incoming>, Refusal> {
    let mut assembly = Assembly::new(post(2));
    let mut arrived = None;
    for envelope in post(1).envelopes(message) {
        assert!(arrived.is_none(), "nothing arrives before the last piece");
        arrived = assembly.accept(envelope)?;
    }
    Ok(arrived)
}

fn refusal(message: &Message) -> String {
    pass(message).expect_err("it must be refused").to_string()
}

#[test]
fn messages_arrive_whole_whatever_their_size() {
    for bytes in [0, 10, PIECE_BYTES, 3 * PIECE_BYTES + 17] {
        let sent = append(bytes);
        let arrived = pass(&sent).expect("accepted").expect("complete");
        assert_eq!(arrived.message, sent);
        assert_eq!(arrived.address, "m1:1");
    }
    let pieces: Vec<_> = post(1).envelopes(&append(3 * PIECE_BYTES)).collect();
    assert_eq!(pieces.iter().map(|piece| piece.more).collect::<Vec<_>>(), [true, true, true, false]);
    assert!(pieces.iter().all(|piece| piece.message.len() <= PIECE_BYTES));
}

#[test]
fn pieces_of_one_message_do_not_leak_into_the_next() {
    let mut assembly = Assembly::new(post(2));
    for _ in 0..2 {
        let sent = append(2 * PIECE_BYTES);
        let arrived: Vec<_> =
            post(1).envelopes(&sent).filter_map(|piece| assembly.accept(piece).expect("accepted")).collect();
        assert_eq!(arrived.len(), 1);
        assert_eq!(arrived[0].message, sent);
    }
}

#[test]
fn other_clusters_and_members_are_refused() {
    let envelope = post(1).envelopes(&append(1)).next().expect("one");
    let other = RaftEnvelope { cluster: "d".to_owned(), ..envelope.clone() };
    assert!(matches!(Assembly::new(post(2)).accept(other), Err(Refusal::OtherCluster { .. })));
    let other = RaftEnvelope { to: 3, ..envelope.clone() };
    assert!(matches!(Assembly::new(post(2)).accept(other), Err(Refusal::OtherMember { to: 3, .. })));
    let other = RaftEnvelope { from: 4, ..envelope.clone() };
    assert!(matches!(Assembly::new(post(2)).accept(other), Err(Refusal::Malformed(_))));
    let other = RaftEnvelope { from_address: "nowhere".to_owned(), ..envelope.clone() };
    assert!(matches!(Assembly::new(post(2)).accept(other), Err(Refusal::Malformed(_))));
    let mut assembly = Assembly::new(post(2));
    assembly.accept(envelope.clone()).expect("accepted");
    let other = RaftEnvelope { from: 4, ..envelope };
    assert_eq!(
        assembly.accept(other).expect_err("refused").to_string(),
        "malformed raft message: a stream has one sender"
    );
}

#[test]
fn a_message_that_never_ends_is_refused() {
    let mut assembly = Assembly::new(post(2));
    let piece = RaftEnvelope {
        more: true,
        message: vec![0; 64 << 20].into(),
        ..post(1).envelopes(&append(0)).next().expect("one")
    };
    let refused = (0..9).find_map(|_| assembly.accept(piece.clone()).err());
    assert_eq!(refused, Some(Refusal::TooLarge));
}

#[test]
fn what_members_never_send_is_refused() {
    for kind in
        [MessageType::MsgPropose, MessageType::MsgTransferLeader, MessageType::MsgHup, MessageType::MsgSnapStatus]
    {
        assert_eq!(refusal(&message(kind)), "malformed raft message: its type is never sent");
    }
    let mut without_term = message(MessageType::MsgHeartbeat);
    without_term.term = 0;
    assert_eq!(refusal(&without_term), "malformed raft message: its term");
}

#[test]
fn entries_with_a_gap_or_of_later_terms_are_refused() {
    let mut gap = append(1);
    gap.mut_entries()[0].index = 6;
    let mut later = append(1);
    later.mut_entries()[0].term = 4;
    let mut falling = append(1);
    (falling.log_term, falling.mut_entries()[0].term) = (3, 2);
    for broken in [gap, later, falling] {
        assert_eq!(refusal(&broken), "malformed raft message: its entries are no log");
    }
}

#[test]
fn places_that_no_log_has_are_refused() {
    let place = |index, log_term, entry_term| {
        let mut message = append(1);
        (message.index, message.log_term) = (index, log_term);
        (message.mut_entries()[0].index, message.mut_entries()[0].term) = (index + 1, entry_term);
        message
    };
    assert!(pass(&place(0, 0, 1)).expect("the beginning of a log").is_some());
    for broken in [place(1_000_000, 0, 3), place(0, 1, 3), place(4, 4, 4)] {
        assert_eq!(refusal(&broken), "malformed raft message: its place in the log");
    }
    assert_eq!(refusal(&place(0, 0, 0)), "malformed raft message: its entries are no log");
    let mut far = message(MessageType::MsgAppendResponse);
    far.index = 1 << 63;
    assert_eq!(refusal(&far), "malformed raft message: its numbers");
}

#[test]
fn entries_that_no_member_could_apply_are_refused() {
    let entry = |kind, context: &[u8]| {
        let mut message = append(1);
        message.mut_entries()[0].set_entry_type(kind);
        message.mut_entries()[0].context = context.to_vec().into();
        message
    };
    let broken = [
        entry(EntryType::EntryNormal, b"?"),
        entry(EntryType::EntryConfChange, b""),
        entry(EntryType::EntryConfChangeV2, b""),
    ];
    for broken in broken {
        assert!(refusal(&broken).starts_with("malformed raft message"), "{broken:?}");
    }
}

#[test]
fn snapshots_are_checked_with_their_members() {
    assert!(pass(&snapshot(&[1, 2], &[2, 1])).expect("accepted").is_some());
    assert_eq!(refusal(&snapshot(&[1, 2], &[1])), "malformed raft message: its snapshot's members and seats differ");
    assert_eq!(refusal(&snapshot(&[], &[])), "malformed raft message: its snapshot's members");
    assert_eq!(refusal(&snapshot(&[0, 1], &[0, 1])), "malformed raft message: its snapshot's members and seats differ");
    let mut joint = snapshot(&[1], &[1]);
    joint.mut_snapshot().mut_metadata().mut_conf_state().auto_leave = true;
    assert_eq!(refusal(&joint), "malformed raft message: its snapshot's members");
    let mut broken = snapshot(&[1], &[1]);
    broken.mut_snapshot().set_data(Bytes::from_static(&[1, 9]));
    assert!(matches!(pass(&broken), Err(Refusal::Record(_))));
}

#[test]
fn reads_must_name_their_origin() {
    let mut read = message(MessageType::MsgReadIndex);
    read.term = 0;
    assert_eq!(refusal(&read), "malformed raft message: it names no read");
    let data = Origin { member: MemberId(1), incarnation: 2, number: 3 }.encode().into();
    let entry = Entry { data, ..Entry::default() };
    read.set_entries(vec![entry].into());
    assert!(pass(&read).expect("accepted").is_some());
}

#[test]
fn groups_are_refused_at_every_depth() {
    // Field 20, group start, a thousand times: protobuf 2.28 would recurse into it.
    let group: Vec<u8> = [0xa3, 0x01].repeat(1000);
    let within = |field: u8, inner: &[u8]| {
        let mut bytes = vec![field << 3 | 2];
        let mut length = inner.len();
        while length > 0x7f {
            bytes.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
            length >>= 7;
        }
        bytes.push(u8::try_from(length).expect("seven bits"));
        bytes.extend_from_slice(inner);
        bytes
    };
    let in_members = within(9, &within(2, &within(1, &group)));
    for bytes in [group.clone(), within(7, &group), within(9, &group), within(9, &within(2, &group)), in_members] {
        assert_eq!(refuse_groups(&bytes, Shape::Message), Err(Refusal::Malformed("it holds a group")));
    }
    // In a field of bytes they are only bytes.
    assert_eq!(refuse_groups(&within(12, &group), Shape::Message), Ok(()));
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>, more: bool) {
        let envelope = RaftEnvelope { message: bytes.into(), more, ..post(1).envelopes(&append(0)).next().expect("one") };
        let _ = Assembly::new(post(2)).accept(envelope);
    }

    #[test]
    fn a_damaged_message_is_parsed_or_refused(at: prop::sample::Index, value: u8) {
        let mut bytes = encode_message(&snapshot(&[1, 2], &[1, 2])).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = value;
        let _ = parse(&bytes.into());
    }
}
