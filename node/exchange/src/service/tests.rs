use bytes::Bytes;
use proptest::prelude::*;
use thalweg_types::{Attempt, CheckpointId, ENGINE_VERSION, JobId, Watermark, checkpoint::Barrier};
use tokio::sync::mpsc;

use super::*;
use crate::{Element, ExchangeError, Inbound, InboundChannel, ipc::Encoder};

const WINDOW: u64 = 10_000;

struct Case {
    receiver: Receiver,
    inbound: Inbound,
    told: mpsc::Receiver<crate::PeerFailure>,
}

fn id(to: u32) -> ChannelId {
    ChannelId { exchange: 1, from: 0, to }
}

fn batch(rows: i64) -> arrow::array::RecordBatch {
    let column: arrow::array::ArrayRef = std::sync::Arc::new(arrow::array::Int64Array::from_iter_values(0..rows));
    arrow::array::RecordBatch::try_from_iter([("n", column)]).unwrap()
}

fn case() -> Case {
    let channel = |to| InboundChannel { id: id(to), schema: batch(0).schema(), from: NodeId(4) };
    let inbound = Inbound::new(vec![channel(0), channel(1)], WINDOW);
    let (report, told) = mpsc::channel(4);
    let endpoints = Arc::new(Endpoints::new(NodeId(5), JobId(1), Attempt(1), [&inbound], report));
    let hello = Hello {
        version: ENGINE_VERSION.to_owned(),
        job: JobId(1),
        attempt: Attempt(1),
        from: NodeId(4),
        to: NodeId(5),
    };
    let (_, channels) = endpoints.accept(&hello).unwrap();
    Case { receiver: Receiver::new(NodeId(4), endpoints, &channels), inbound, told }
}

fn frame(channel: ChannelId, sequence: u64, payload: Payload) -> SenderFrame {
    SenderFrame::Channel(ChannelFrame { channel, sequence, payload })
}

fn rows(count: i64, cost: u64) -> Payload {
    let encoded = Encoder::new(false).encode(&batch(count)).unwrap();
    Payload::Batch { cost, header: encoded.header, body: encoded.body, more: false }
}

/// Passes frames, and returns which rule the last one broke.
fn broken(frames: impl IntoIterator<Item = SenderFrame>) -> Option<String> {
    let mut case = case();
    let mut broke = None;
    for frame in frames {
        assert_eq!(broke, None, "frames follow a violation");
        broke = case.receiver.on_frame(frame).err();
    }
    broke
}

#[test]
fn a_stream_in_order_is_taken() {
    let mut case = case();
    let (header, body) = match rows(50, 400) {
        Payload::Batch { header, body, .. } => (header, body),
        _ => unreachable!(),
    };
    let part = |header: &Bytes, cost, range: std::ops::Range<usize>, more| Payload::Batch {
        cost,
        header: header.clone(),
        body: body.slice(range),
        more,
    };
    let frames = [
        frame(id(0), 0, part(&header, 400, 0..100, true)),
        frame(id(1), 0, Payload::Watermark(Watermark(3))),
        frame(id(0), 1, part(&Bytes::new(), 0, 100..200, true)),
        frame(id(0), 2, part(&Bytes::new(), 0, 200..body.len(), false)),
        frame(id(0), 3, Payload::End),
        frame(id(1), 1, Payload::End),
        frame(id(0), 4, Payload::Barrier(Barrier::aligned(CheckpointId(9)))),
    ];
    for frame in frames {
        case.receiver.on_frame(frame).unwrap();
    }
    case.receiver.endpoints.close();
    drop(case.receiver);
    assert!(case.told.try_recv().is_err());
    let mut context = Context::from_waker(std::task::Waker::noop());
    let mut seen = Vec::new();
    while let Poll::Ready(next) = case.inbound.poll_next(&mut context) {
        seen.push(next.unwrap());
    }
    assert!(seen.contains(&(0, Element::Batch { batch: batch(50), cost: 400 })));
    assert_eq!(seen.len(), 5);
}

#[test]
fn every_broken_rule_is_named() {
    let expect = |frames: Vec<SenderFrame>, text: &str| {
        let broke = broken(frames).unwrap_or_default();
        assert!(broke.contains(text), "{broke:?} does not say {text:?}");
    };
    let end = |sequence| frame(id(0), sequence, Payload::End);
    expect(vec![frame(id(7), 0, Payload::End)], "is not one of node-4");
    expect(vec![end(1)], "frame 1 of exchange-1:0->0 where 0 was due");
    expect(vec![end(0), end(1)], "goes on after its end");
    expect(vec![frame(id(0), 0, rows(10, WINDOW)), frame(id(0), 1, rows(10, 100))], "100 bytes was sent");
    expect(vec![frame(id(0), 0, rows(100_000, 100))], "charged 100");
    let part = Payload::Batch { cost: 0, header: Bytes::new(), body: Bytes::new(), more: false };
    expect(vec![frame(id(0), 0, part)], "a part of no batch");
    let free = Payload::Batch { cost: 0, header: Bytes::from_static(b"x"), body: Bytes::new(), more: false };
    expect(vec![frame(id(0), 0, free)], "charged nothing");
    let long = Payload::Batch { cost: 1, header: Bytes::from(vec![1; 1 << 20]), body: Bytes::new(), more: false };
    expect(vec![frame(id(0), 0, long)], "1048576 bytes in a batch charged 1");
    let open = Payload::Batch { cost: 8, header: Bytes::from_static(b"x"), body: Bytes::new(), more: true };
    expect(vec![frame(id(0), 0, open), frame(id(0), 1, Payload::End)], "left unfinished");
    let hello = Hello { version: String::new(), job: JobId(1), attempt: Attempt(1), from: NodeId(4), to: NodeId(5) };
    expect(vec![SenderFrame::Hello(hello)], "second Hello");
}

/// An incomplete batch takes memory too, so it is charged with its first part, whatever its header claims.
#[test]
fn a_batch_in_parts_needs_credit_from_the_first() {
    let first = |cost| Payload::Batch { cost, header: Bytes::from_static(b"x"), body: Bytes::new(), more: true };
    let mut case = case();
    case.receiver.on_frame(frame(id(0), 0, rows(10, WINDOW - 5))).unwrap();
    let refused = case.receiver.on_frame(frame(id(0), 1, first(6))).unwrap_err();
    assert!(refused.contains("a batch of 6 bytes was sent"), "{refused}");
    let mut case = self::case();
    case.receiver.on_frame(frame(id(0), 0, first(6))).unwrap();
    assert_eq!(case.inbound.held_bytes(), 6);
    let refused = broken([frame(id(0), 0, first(u64::MAX / 4))]).unwrap();
    assert!(refused.contains("0 of 10000 bytes in flight"), "{refused}");
}

#[test]
fn a_bad_batch_is_found_by_the_reader_and_names_the_peer() {
    let mut case = case();
    let bad =
        Payload::Batch { cost: 8, header: Bytes::from_static(b"not flatbuffers"), body: Bytes::new(), more: false };
    case.receiver.on_frame(frame(id(0), 0, bad)).unwrap();
    let mut context = Context::from_waker(std::task::Waker::noop());
    let Poll::Ready(Err(error)) = case.inbound.poll_next(&mut context) else { panic!("a bad batch was read") };
    assert!(matches!(error, ExchangeError::Violation { peer: NodeId(4), .. }));
}

#[test]
fn a_stream_that_ends_early_is_told_once() {
    let mut case = case();
    case.receiver.on_frame(frame(id(0), 0, Payload::End)).unwrap();
    drop(case.receiver);
    assert_eq!(case.told.try_recv().unwrap().peer, NodeId(4));
    assert!(case.told.try_recv().is_err());
}

fn payloads() -> impl Strategy<Value = Payload> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..30).prop_map(Bytes::from);
    prop_oneof![
        (0i64..2000, 0u64..WINDOW * 2).prop_map(|(count, cost)| rows(count, cost)),
        (any::<u64>(), bytes(), bytes(), any::<bool>()).prop_map(|(cost, header, body, more)| Payload::Batch {
            cost,
            header,
            body,
            more
        }),
        any::<i64>().prop_map(|micros| Payload::Watermark(Watermark(micros))),
        Just(Payload::Idle),
        any::<u64>().prop_map(|id| Payload::Barrier(Barrier::aligned(CheckpointId(id)))),
        Just(Payload::End),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Any frame is taken or refused. What is taken can be decoded, or is a violation. Nothing panics.
    #[test]
    fn any_frames_are_taken_or_refused(frames in prop::collection::vec((0u32..3, 0u64..2, payloads()), 0..40)) {
        let mut case = case();
        let mut sequences = [0u64; 3];
        let mut context = Context::from_waker(std::task::Waker::noop());
        for (to, skip, payload) in frames {
            let sequence = sequences[to as usize] + skip / 2;
            sequences[to as usize] += 1;
            if case.receiver.on_frame(frame(id(to), sequence, payload)).is_err() {
                break;
            }
            while let Poll::Ready(Ok((channel, element))) = case.inbound.poll_next(&mut context) {
                if let Element::Batch { cost, .. } = element {
                    case.inbound.release(channel, cost);
                }
            }
        }
    }
}
