use proptest::prelude::*;
use prost::Message;

use thalweg_types::TraceContext;

use super::*;

fn channels() -> impl Strategy<Value = ChannelId> {
    (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(exchange, from, to)| ChannelId { exchange, from, to })
}

fn payloads() -> impl Strategy<Value = Payload> {
    let bytes = || prop::collection::vec(any::<u8>(), 1..20).prop_map(Bytes::from);
    prop_oneof![
        (any::<u64>(), bytes(), bytes(), any::<bool>()).prop_map(|(cost, header, body, more)| Payload::Batch {
            cost,
            header,
            body,
            more
        }),
        (bytes(), any::<bool>()).prop_map(|(body, more)| Payload::Batch { cost: 0, header: Bytes::new(), body, more }),
        any::<i64>().prop_map(|micros| Payload::Watermark(Watermark(micros))),
        Just(Payload::Idle),
        any::<u64>().prop_map(|micros| Payload::Marker(LatencyMarker(micros))),
        (any::<u64>(), any::<bool>(), any::<u128>(), any::<u64>()).prop_map(|(id, is_unaligned, trace, span)| {
            let trace = TraceContext::new(trace, span, is_unaligned);
            Payload::Barrier(Barrier { checkpoint: CheckpointId(id), is_unaligned, trace })
        }),
        Just(Payload::End),
    ]
}

proptest! {
    #[test]
    fn frames_survive_the_wire(channel in channels(), sequence in any::<u64>(), payload in payloads()) {
        let frame = SenderFrame::Channel(ChannelFrame { channel, sequence, payload });
        let bytes = v1::SenderFrame::from(frame.clone()).encode_to_vec();
        let back = v1::SenderFrame::decode(bytes.as_slice()).unwrap();
        prop_assert_eq!(SenderFrame::try_from(back).unwrap(), frame);
    }

    #[test]
    fn credits_survive_the_wire(channel in channels(), granted in any::<u64>()) {
        let frame = ReceiverFrame::Credit { channel, granted };
        prop_assert_eq!(ReceiverFrame::try_from(v1::ReceiverFrame::from(frame.clone())).unwrap(), frame);
    }

    /// Any bytes give a frame or an error.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(frame) = v1::SenderFrame::decode(bytes.as_slice()) {
            let _ = SenderFrame::try_from(frame);
        }
        if let Ok(frame) = v1::ReceiverFrame::decode(bytes.as_slice()) {
            let _ = ReceiverFrame::try_from(frame);
        }
    }
}

#[test]
fn frames_without_channel_are_refused() {
    use v1::sender_frame::Frame;
    let frame = v1::SenderFrame { frame: Some(Frame::End(v1::EndFrame { channel: None, sequence: 0 })) };
    assert_eq!(SenderFrame::try_from(frame), Err(malformed("it names no channel")));
    assert_eq!(SenderFrame::try_from(v1::SenderFrame { frame: None }), Err(malformed("it is empty")));
    assert!(ReceiverFrame::try_from(v1::ReceiverFrame { frame: None }).is_err());
}

#[test]
fn a_barrier_of_a_sender_that_knows_no_traces_has_none() {
    let channel = Some(v1::Channel { exchange: 0, from: 0, to: 0 });
    let barrier = v1::BarrierFrame { channel, sequence: 3, checkpoint: 7, unaligned: true, trace: None };
    let frame = v1::SenderFrame { frame: Some(v1::sender_frame::Frame::Barrier(barrier)) };
    let SenderFrame::Channel(frame) = SenderFrame::try_from(frame).unwrap() else { panic!("another frame") };
    assert_eq!(frame.payload, Payload::Barrier(Barrier::unaligned(CheckpointId(7))));
}

#[test]
fn cost_without_header_is_refused() {
    let channel = Some(v1::Channel { exchange: 0, from: 0, to: 0 });
    let frame = v1::BatchFrame { channel, cost: 5, ..v1::BatchFrame::default() };
    let frame = v1::SenderFrame { frame: Some(v1::sender_frame::Frame::Batch(frame)) };
    assert!(SenderFrame::try_from(frame).is_err());
}
