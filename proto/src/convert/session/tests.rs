use std::{collections::BTreeMap, sync::Arc};

use arrow_schema::{DataType, Field, Schema};
use proptest::{collection::vec, option, prelude::*, sample::Index};
use prost::Message as _;
use serde_json::json;
use thalweg_types::{
    Assignment, CheckpointId, ClusterId, JobGraph, KeyGroupTable, Operator, OperatorKind, TraceContext, Watermark,
    checkpoint::{
        BatchRef, InFlightRows, ManifestRef, OperatorSnapshot, Prepared, RecordCounts, SnapshotCost, SourceSnapshot,
        SplitProgress, SplitState, StateObject, SubtaskSnapshot,
    },
    connector::TableConnector,
    graph::{Distribution, Edge, FORMAT, Parallelism, SinkOperator, SourceOperator},
    job::{Failure, FailureKind},
    session::{Action, Deployment, Order, Publication, SplitAssignment},
};

use super::*;

/// A source (0) that feeds a sink (1).
fn graph(key_groups: u16) -> JobGraph {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    let connector = TableConnector { name: "files".to_owned(), options: BTreeMap::new(), secrets: BTreeMap::new() };
    let source = SourceOperator {
        table: "t".to_owned(),
        connector: connector.clone(),
        physical: schema.clone(),
        predicates: Vec::new(),
        projection: None,
        watermark: None,
    };
    let operator = |id, kind| Operator {
        id: OperatorId(id),
        name: format!("operator {id}"),
        kind,
        parallelism: Parallelism::Job,
        output: schema.clone(),
    };
    JobGraph {
        format: FORMAT,
        engine_version: "1".to_owned(),
        key_groups,
        operators: vec![
            operator(0, OperatorKind::Source(Box::new(source))),
            operator(
                1,
                OperatorKind::Sink(SinkOperator { table: "u".to_owned(), connector, partition_by: Vec::new() }),
            ),
        ],
        edges: vec![Edge { from: OperatorId(0), to: OperatorId(1), port: 0, distribution: Distribution::Forward }],
        settings: BTreeMap::new(),
    }
}

prop_compose! {
    fn metrics()(counts in any::<[u64; 10]>(), watermark: i64) -> SubtaskMetrics {
        let [records_in, records_out, bytes_in, bytes_out, busy_micros, blocked_micros, idle_micros, late, dead, failed] =
            counts;
        SubtaskMetrics {
            records_in, records_out, bytes_in, bytes_out, busy_micros, blocked_micros, idle_micros, watermark,
            late_records: late, dead_letters: dead, failed_rows: failed,
        }
    }
}

prop_compose! {
    fn subtask()(chain: u32, index in 0u32..4096) -> SubtaskId {
        SubtaskId { chain: ChainId(chain), index }
    }
}

prop_compose! {
    fn split()(id in ".{1,8}", sequence in ".{0,8}", ordinal: u32, position: u64) -> Split {
        Split { id: SplitId(id.clone()), sequence, ordinal, payload: json!({"path": id, "from": position}) }
    }
}

prop_compose! {
    fn batch_ref()(object in "[a-z]{1,8}", segments in vec(any::<u32>(), 1..3)) -> BatchRef {
        BatchRef { object, segments }
    }
}

prop_compose! {
    fn progress()(
        split in split(), state in prop::sample::select(vec![SplitState::Unread, SplitState::Open, SplitState::Finished]),
        watermark: i64, is_idle: bool, held in vec(batch_ref(), 0..2),
    ) -> SplitProgress {
        SplitProgress { split, state, watermark: Watermark(watermark), is_idle, held }
    }
}

fn checkpoint_id() -> impl Strategy<Value = CheckpointId> {
    (1u64..).prop_map(CheckpointId)
}

fn manifest() -> impl Strategy<Value = ManifestRef> {
    (checkpoint_id(), "[a-z/]{1,9}", any::<u64>(), any::<u64>())
        .prop_map(|(checkpoint, name, bytes, checksum)| ManifestRef { checkpoint, name, bytes, checksum })
}

fn prepared() -> impl Strategy<Value = Prepared> {
    (checkpoint_id(), committables()).prop_map(|(epoch, committables)| Prepared { epoch, committables })
}

prop_compose! {
    fn cost()(numbers in any::<[u64; 5]>(), is_unaligned: bool) -> SnapshotCost {
        let [alignment_micros, freeze_micros, upload_micros, uploaded_bytes, state_bytes] = numbers;
        SnapshotCost { alignment_micros, freeze_micros, upload_micros, uploaded_bytes, state_bytes, is_unaligned }
    }
}

prop_compose! {
    fn snapshot()(
        subtask in subtask(), is_finished: bool, value: i64, rows in vec(batch_ref(), 0..3),
        splits in option::of(vec(progress(), 0..3)), exchange: u32, prepared in vec(prepared(), 0..3), cost in cost(),
        (bytes, checksum) in any::<(u64, u64)>(),
    ) -> SubtaskSnapshot {
        SubtaskSnapshot {
            subtask,
            is_finished,
            operators: vec![OperatorSnapshot {
                operator: OperatorId(1),
                values: BTreeMap::from([("watermark".to_owned(), value)]),
                tables: BTreeMap::from([("windows".to_owned(), rows.clone())]),
            }],
            source: splits.map(|splits| SourceSnapshot { source: OperatorId(0), splits }),
            in_flight: vec![InFlightRows { exchange, to: subtask.index, batches: rows }],
            objects: vec![StateObject { name: "o".to_owned(), bytes, checksum }],
            counts: RecordCounts::default(),
            prepared,
            cost,
        }
    }
}

prop_compose! {
    fn committables()(subtask in 0u32..4096, names in vec(".{0,8}", 0..3)) -> SinkCommittables {
        SinkCommittables { sink: OperatorId(1), subtask, committables: names.into_iter().map(Value::from).collect() }
    }
}

fn failure() -> impl Strategy<Value = Failure> {
    let kinds = [FailureKind::Node, FailureKind::Link, FailureKind::Store, FailureKind::Operator, FailureKind::Data];
    (prop::sample::select(kinds.to_vec()), ".{0,20}").prop_map(|(kind, message)| Failure { kind, message })
}

fn host_and_port() -> impl Strategy<Value = String> {
    ("[a-z]{1,9}", 1u16..).prop_map(|(host, port)| format!("{host}:{port}"))
}

prop_compose! {
    fn registration()(
        node in 1u64.., incarnation: u64, address in host_and_port(), http in option::of(host_and_port()),
        slots in 0u32..=4096, zone in "\\PC{0,5}",
    ) -> NodeRegistration {
        NodeRegistration {
            node: NodeId(node), incarnation: Incarnation(incarnation), address, http_address: http.unwrap_or_default(),
            slots, zone, version: "0.1".to_owned(),
        }
    }
}

prop_compose! {
    fn deployment()(
        slices in vec(1u64..6, 1..9), groups in (0u32..5).prop_map(|bits| 1u16 << bits), owners in vec(any::<Index>(), 16),
        splits in vec(vec(progress(), 0..3), 0..4), restore in option::of(manifest()), takes_checkpoints in any::<bool>(),
    ) -> Deployment {
        let owner = |index: &Index| u32::try_from(index.index(slices.len())).expect("fewer than ten slices");
        let owners = owners.iter().take(usize::from(groups)).map(owner).collect();
        let splits = splits.into_iter().take(slices.len()).zip(0u32..);
        Deployment {
            graph: graph(groups),
            addresses: (1..6).map(|node| (NodeId(node), format!("node{node}:{node}"))).collect(),
            splits: splits
                .map(|(splits, subtask)| SplitAssignment { source: OperatorId(0), subtask, splits })
                .collect(),
            assignment: Assignment {
                slices: slices.into_iter().map(NodeId).collect(),
                key_groups: KeyGroupTable::new(owners),
            },
            checkpoints: "memory://checkpoints".to_owned(),
            takes_checkpoints,
            restore,
        }
    }
}

prop_compose! {
    fn publication()(
        (first, second, third) in (checkpoint_id(), checkpoint_id(), checkpoint_id()),
        committables in vec(committables(), 0..3),
        has_published in any::<bool>(),
    ) -> Publication {
        let mut ids = [first, second, third];
        ids.sort_unstable();
        let [last, checkpoint, complete] = ids;
        let published = (has_published && last < checkpoint).then_some((OperatorId(0), last));
        Publication {
            graph: graph(256),
            checkpoint,
            committables,
            published: published.into_iter().collect(),
            complete,
            checkpoints: "memory://checkpoints".to_owned(),
        }
    }
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Discover { graph: Box::new(graph(256)), sources: vec![OperatorId(0)] }),
        deployment().prop_map(|deployment| Action::Deploy(Box::new(deployment))),
        Just(Action::Start),
        Just(Action::Cancel),
        Just(Action::Stop),
        checkpoint_id().prop_map(|checkpoint| Action::BeginCheckpoint { checkpoint }),
        checkpoint_id().prop_map(|checkpoint| Action::AbortCheckpoint { checkpoint }),
        (checkpoint_id(), proptest::option::of(manifest()))
            .prop_map(|(checkpoint, manifest)| Action::ConfirmCheckpoint { checkpoint, manifest }),
        publication().prop_map(|publication| Action::Commit(Box::new(publication))),
        any::<u32>().prop_map(|before| Action::Discard {
            graph: Box::new(graph(256)),
            before: Attempt(before),
            checkpoints: "memory://checkpoints".to_owned(),
        }),
    ]
}

fn report() -> impl Strategy<Value = Report> {
    let about = || (any::<u64>().prop_map(JobId), any::<u32>().prop_map(Attempt));
    let sources = vec((any::<u32>().prop_map(OperatorId), vec(split(), 0..3)), 0..3);
    let discovery = prop_oneof![sources.prop_map(Ok), failure().prop_map(Err)];
    let result = || prop_oneof![Just(Ok(())), failure().prop_map(Err)];
    let peer = option::of((1u64..).prop_map(NodeId));
    prop_oneof![
        (about(), discovery).prop_map(|((job, attempt), splits)| Report {
            job,
            attempt,
            body: ReportBody::Discovered { splits }
        }),
        about().prop_map(|(job, attempt)| Report { job, attempt, body: ReportBody::Ready }),
        (about(), subtask(), metrics(), vec(prepared(), 0..3)).prop_map(
            |((job, attempt), subtask, metrics, prepared)| {
                Report { job, attempt, body: ReportBody::Finished { subtask, metrics, prepared } }
            }
        ),
        (about(), checkpoint_id(), snapshot()).prop_map(|((job, attempt), checkpoint, snapshot)| Report {
            job,
            attempt,
            body: ReportBody::Snapshot { checkpoint, snapshot: snapshot.into() }
        }),
        (about(), checkpoint_id(), subtask(), failure()).prop_map(|((job, attempt), checkpoint, subtask, failure)| {
            Report { job, attempt, body: ReportBody::SnapshotFailed { checkpoint, subtask, failure } }
        }),
        about().prop_map(|(job, attempt)| Report { job, attempt, body: ReportBody::CheckpointWanted }),
        (about(), option::of(subtask()), failure(), peer).prop_map(|((job, attempt), subtask, failure, peer)| {
            Report { job, attempt, body: ReportBody::Failed { subtask, failure, peer } }
        }),
        about().prop_map(|(job, attempt)| Report { job, attempt, body: ReportBody::Gone }),
        (about(), checkpoint_id(), result()).prop_map(|((job, attempt), checkpoint, result)| Report {
            job,
            attempt,
            body: ReportBody::Committed { checkpoint, result }
        }),
        (about(), any::<u32>(), result()).prop_map(|((job, attempt), before, result)| Report {
            job,
            attempt,
            body: ReportBody::Discarded { before: Attempt(before), result }
        }),
    ]
}

fn node_message() -> impl Strategy<Value = NodeMessage> {
    let states = [SubtaskState::Ready, SubtaskState::Running, SubtaskState::Finished, SubtaskState::Failed];
    let reattached = (any::<u64>(), any::<u32>(), subtask(), prop::sample::select(states.to_vec())).prop_map(
        |(job, attempt, subtask, state)| SubtaskReport { job: JobId(job), attempt: Attempt(attempt), subtask, state },
    );
    let measured = (any::<u64>().prop_map(JobId), any::<u32>().prop_map(Attempt), subtask(), metrics());
    prop_oneof![
        registration().prop_map(NodeMessage::Register),
        vec(reattached, 0..4).prop_map(|subtasks| NodeMessage::Reattach { subtasks }),
        vec(measured, 0..4).prop_map(|metrics| NodeMessage::Heartbeat { metrics }),
        (any::<u64>(), option::of(".{1,9}"))
            .prop_map(|(sequence, refused)| NodeMessage::Acknowledge { sequence, refused }),
        (any::<u64>(), report()).prop_map(|(sequence, report)| NodeMessage::Report { sequence, report }),
        Just(NodeMessage::Leaving),
    ]
}

fn trace() -> impl Strategy<Value = Option<TraceContext>> {
    (any::<u128>(), any::<u64>(), any::<bool>())
        .prop_map(|(trace, span, is_sampled)| TraceContext::new(trace, span, is_sampled))
}

fn coordinator_message() -> impl Strategy<Value = CoordinatorMessage> {
    prop_oneof![
        (1u64.., any::<u64>(), 1u64..86_400_000).prop_map(|(node, term, lease_ms)| CoordinatorMessage::Registered {
            node: NodeId(node),
            term: Term(term),
            lease_ms
        }),
        ".{0,9}".prop_map(|reason| CoordinatorMessage::Refused { reason }),
        (any::<u64>(), any::<u64>(), ".{1,9}", any::<u64>(), any::<u32>(), action(), trace()).prop_map(
            |(sequence, term, cluster, job, attempt, action, trace)| CoordinatorMessage::Order {
                sequence,
                order: Order {
                    term: Term(term),
                    cluster: ClusterId(cluster),
                    job: JobId(job),
                    attempt: Attempt(attempt),
                    action,
                    trace
                }
            }
        ),
        any::<u64>().prop_map(|sequence| CoordinatorMessage::ReportAcknowledged { sequence }),
        Just(CoordinatorMessage::LeaveRecorded),
    ]
}

/// Overwrites some bytes, then truncates.
fn damaged(mut bytes: Vec<u8>, damage: &[(Index, u8)], keep: Option<&Index>) -> Vec<u8> {
    if bytes.is_empty() {
        return bytes;
    }
    for (at, byte) in damage {
        let at = at.index(bytes.len());
        bytes[at] = *byte;
    }
    if let Some(keep) = keep {
        bytes.truncate(keep.index(bytes.len()));
    }
    bytes
}

/// Whatever decodes is a value of the domain: it survives another trip.
fn parse_both(bytes: &[u8]) {
    let node = v1::NodeMessage::decode(bytes).ok().and_then(|wire| NodeMessage::try_from(wire).ok());
    if let Some(message) = node {
        assert_eq!(NodeMessage::try_from(v1::NodeMessage::from(message.clone())), Ok(message));
    }
    let leader = v1::CoordinatorMessage::decode(bytes).ok().and_then(|wire| CoordinatorMessage::try_from(wire).ok());
    if let Some(message) = leader {
        assert_eq!(CoordinatorMessage::try_from(v1::CoordinatorMessage::from(message.clone())), Ok(message));
    }
}

proptest! {
    #[test]
    fn node_messages_survive_the_wire(message in node_message()) {
        let bytes = v1::NodeMessage::from(message.clone()).encode_to_vec();
        let wire = v1::NodeMessage::decode(bytes.as_slice()).expect("just encoded");
        prop_assert_eq!(NodeMessage::try_from(wire), Ok(message));
    }

    #[test]
    fn coordinator_messages_survive_the_wire(message in coordinator_message()) {
        let bytes = v1::CoordinatorMessage::from(message.clone()).encode_to_vec();
        let wire = v1::CoordinatorMessage::decode(bytes.as_slice()).expect("just encoded");
        prop_assert_eq!(CoordinatorMessage::try_from(wire), Ok(message));
    }

    #[test]
    fn random_bytes_are_refused_or_read(bytes in vec(any::<u8>(), 0..200)) {
        parse_both(&bytes);
    }

    #[test]
    fn damaged_messages_are_refused_or_read(
        node in node_message(), leader in coordinator_message(),
        damage in vec((any::<Index>(), any::<u8>()), 0..6), keep in option::of(any::<Index>()),
    ) {
        parse_both(&damaged(v1::NodeMessage::from(node).encode_to_vec(), &damage, keep.as_ref()));
        parse_both(&damaged(v1::CoordinatorMessage::from(leader).encode_to_vec(), &damage, keep.as_ref()));
    }
}

/// Checks that a sound deployment on node 1 is refused after one change, for a reason that contains `reason`.
#[track_caller]
fn check_refused(change: impl FnOnce(&mut v1::Deploy), reason: &str) {
    let sound = Deployment {
        graph: graph(2),
        assignment: Assignment { slices: vec![NodeId(1)], key_groups: KeyGroupTable::new(vec![0, 0]) },
        addresses: vec![(NodeId(1), "host:1".to_owned())],
        splits: vec![SplitAssignment { source: OperatorId(0), subtask: 0, splits: Vec::new() }],
        checkpoints: "memory://checkpoints".to_owned(),
        takes_checkpoints: true,
        restore: None,
    };
    let mut wire = v1::Deploy::from(sound.clone());
    assert_eq!(Deployment::try_from(wire.clone()), Ok(sound));
    change(&mut wire);
    let error = Deployment::try_from(wire).expect_err("it was changed for the worse").to_string();
    assert!(error.contains(reason), "{error}");
}

#[test]
fn deployments_that_do_not_hold_together_are_refused() {
    check_refused(|wire| wire.graph.clear(), "cannot be read");
    check_refused(|wire| wire.slices.clear(), "0 slices");
    check_refused(|wire| wire.slices = vec![1; SLICES_MAX + 1], "4097 slices");
    check_refused(|wire| wire.slices = vec![0], "id 0");
    check_refused(|wire| wire.slices = vec![2], "node-2 holds a slice but has no address");
    check_refused(|wire| wire.key_group_owners = vec![0], "1 key groups have owners, the graph has 2");
    check_refused(|wire| wire.key_group_owners = vec![0, 1], "slice 1 owns a key group");
    check_refused(|wire| wire.addresses.push(wire.addresses[0].clone()), "two addresses");
    check_refused(|wire| wire.addresses[0].address = "host".to_owned(), "'host' is not host:port");
    check_refused(|wire| wire.addresses[0].address = "host:0".to_owned(), "'host:0' is not host:port");
    check_refused(|wire| wire.splits[0].source = 1, "op-1 is not a source");
    check_refused(|wire| wire.splits[0].source = 9, "op-9 is not a source");
    check_refused(|wire| wire.splits[0].subtask = 1, "op-0 has no subtask 1");
    check_refused(|wire| wire.splits.push(wire.splits[0].clone()), "named twice");
    check_refused(|wire| wire.splits[0].splits.push(b"{".to_vec()), "JSON cannot be read");
    check_refused(|wire| wire.checkpoints.clear(), "where checkpoints are kept");
}

#[test]
fn publications_that_do_not_hold_together_are_refused() {
    let sound = Publication {
        graph: graph(2),
        checkpoint: CheckpointId(4),
        committables: Vec::new(),
        published: [(OperatorId(1), CheckpointId(2))].into(),
        complete: CheckpointId(5),
        checkpoints: "memory://checkpoints".to_owned(),
    };
    let wire = v1::Commit::from(sound.clone());
    assert_eq!(Publication::try_from(wire.clone()), Ok(sound));
    let refused = |change: fn(&mut v1::Commit), reason: &str| {
        let mut wire = wire.clone();
        change(&mut wire);
        let error = Publication::try_from(wire).expect_err("it was changed for the worse").to_string();
        assert!(error.contains(reason), "{error}");
    };
    refused(|wire| wire.complete = 3, "checkpoint-4 is to be published and not complete");
    refused(|wire| wire.complete = 0, "0");
    refused(|wire| wire.published[0].sink = 9, "op-9 is not an operator");
    refused(|wire| wire.published.push(wire.published[0]), "twice");
    refused(|wire| wire.checkpoints.clear(), "where checkpoints are kept");
}

#[test]
fn an_order_of_no_cluster_is_refused() {
    let cluster = ClusterId("c".to_owned());
    let order =
        Order { term: Term(1), cluster, job: JobId(1), attempt: Attempt(1), action: Action::Cancel, trace: None };
    let wire = order::to_wire(1, order.clone());
    assert_eq!(order::from_wire(wire.clone()), Ok(order));
    let error = order::from_wire(v1::Order { cluster: String::new(), ..wire }).expect_err("whose is it?");
    assert!(error.to_string().contains("names no cluster"), "{error}");
}

#[test]
fn an_order_of_a_leader_that_knows_no_traces_has_none() {
    let cluster = ClusterId("c".to_owned());
    let trace = TraceContext::new(1, 2, true);
    let order = Order { term: Term(1), cluster, job: JobId(1), attempt: Attempt(1), action: Action::Start, trace };
    let older = v1::Order { trace: None, ..order::to_wire(1, order.clone()) }.encode_to_vec();
    let read = order::from_wire(v1::Order::decode(older.as_slice()).unwrap());
    assert_eq!(read, Ok(Order { trace: None, ..order.clone() }));
    let damaged = v1::TraceContext { trace: vec![1; 3], ..v1::TraceContext::default() };
    let wire = v1::Order { trace: Some(damaged), ..order::to_wire(1, order.clone()) };
    assert_eq!(order::from_wire(wire), Ok(Order { trace: None, ..order }), "what it orders counts all the same");
}

#[test]
fn unknown_words_are_refused() {
    let failure = v1::Failure { kind: "cosmic".to_owned(), message: String::new() };
    assert!(Failure::try_from(failure).is_err());
    let subtask = Some(v1::SubtaskRef { job: 1, attempt: 1, chain: 0, index: 0 });
    assert!(SubtaskReport::try_from(v1::SubtaskReport { subtask, state: "lost".to_owned() }).is_err());
    assert!(SubtaskReport::try_from(v1::SubtaskReport { subtask, state: "running".to_owned() }).is_ok());
    assert!(SubtaskReport::try_from(v1::SubtaskReport { subtask: None, state: "running".to_owned() }).is_err());
}

#[test]
fn a_refusal_without_words_is_still_a_refusal() {
    let message = NodeMessage::Acknowledge { sequence: 1, refused: Some(String::new()) };
    let back = NodeMessage::try_from(v1::NodeMessage::from(message)).expect("it is well formed");
    assert!(matches!(back, NodeMessage::Acknowledge { sequence: 1, refused: Some(reason) } if !reason.is_empty()));
}

#[test]
fn a_failed_subtask_is_of_the_attempt_that_is_reported() {
    let report = Report {
        job: JobId(1),
        attempt: Attempt(2),
        body: ReportBody::Failed {
            subtask: Some(SubtaskId::default()),
            failure: Failure { kind: FailureKind::Data, message: "m".to_owned() },
            peer: None,
        },
    };
    let mut wire = report::to_wire(7, report);
    assert!(Report::try_from(wire.clone()).is_ok());
    wire.attempt = 3;
    assert!(Report::try_from(wire).is_err());
}

#[test]
fn leases_are_neither_zero_nor_endless() {
    let registered = |lease_ms| {
        let message = v1::coordinator_message::Message::Registered(v1::Registered { node: 1, term: 1, lease_ms });
        CoordinatorMessage::try_from(v1::CoordinatorMessage { message: Some(message) })
    };
    assert!(registered(0).is_err());
    assert!(registered(u64::MAX).is_err());
    assert!(registered(1000).is_ok());
}

#[test]
fn texts_of_a_registration_are_short_and_plain() {
    let registration = NodeRegistration {
        node: NodeId(1),
        incarnation: Incarnation(1),
        address: "a:1".to_owned(),
        http_address: String::new(),
        slots: 1,
        zone: "z".repeat(255),
        version: "1".to_owned(),
    };
    let refused = |change: &dyn Fn(&mut v1::Registration, String), text: &str| {
        let mut wire = v1::Registration::from(registration.clone());
        change(&mut wire, text.to_owned());
        NodeRegistration::try_from(wire).err().map(|error| error.to_string())
    };
    assert_eq!(refused(&|_, _| {}, ""), None);
    let long = format!("{}:1", "h".repeat(1 << 20));
    for text in [long.as_str(), "a\u{1b}[2J:1"] {
        for change in [
            |wire: &mut v1::Registration, text| wire.version = text,
            |wire: &mut v1::Registration, text| wire.zone = text,
            |wire: &mut v1::Registration, text| wire.address = text,
            |wire: &mut v1::Registration, text| wire.http_address = text,
        ] {
            let reason = refused(&change, text).expect("it is refused");
            assert!(reason.len() < 200 && reason.contains("at most 255 bytes"), "{reason}");
        }
    }
}
