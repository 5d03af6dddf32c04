//! The persisted forms, byte for byte. What an older engine wrote must stay readable. A change here needs a new format
//! number, and new files: `cargo test -p thalweg-cluster-state --lib -- --ignored golden` makes them. Those of older formats
//! stay.

use std::{fs, path::Path, time::Duration};

use thalweg_types::{
    Attempt, ClusterId, Incarnation, JobId, NodeId,
    job::{Failure, FailureKind},
};

use super::{
    begin, begin_checkpoint, committed, complete, complete_checkpoint, fail, forget, published, register, restart, run,
    running, submit,
};
use crate::{ClusterState, Command, EndMode, FORMAT, Verdict};

const COMMANDS: &str = include_str!("golden/commands-6.jsonl");
/// Written before output could be given up.
const COMMANDS_5: &str = include_str!("golden/commands-5.jsonl");
/// Written before publications told their sinks.
const COMMANDS_4: &str = include_str!("golden/commands-4.jsonl");
/// Written before the times of submission and end were recorded.
const COMMANDS_3: &str = include_str!("golden/commands-3.jsonl");
/// Written before failed jobs could be started again.
const COMMANDS_2: &str = include_str!("golden/commands-2.jsonl");
/// Written before there were checkpoints.
const COMMANDS_1: &str = include_str!("golden/commands-1.jsonl");
const SNAPSHOT: &str = include_str!("golden/snapshot-6.json");
const SNAPSHOT_5: &str = include_str!("golden/snapshot-5.json");
const SNAPSHOT_4: &str = include_str!("golden/snapshot-4.json");
const SNAPSHOT_3: &str = include_str!("golden/snapshot-3.json");
const SNAPSHOT_2: &str = include_str!("golden/snapshot-2.json");
const SNAPSHOT_1: &str = include_str!("golden/snapshot-1.json");

fn one_of_each() -> Vec<Command> {
    let (node, incarnation) = (NodeId(1), Incarnation(10));
    let (job, attempt) = (JobId(1), Attempt(1));
    vec![
        Command::InitCluster { cluster: ClusterId("c0ffee".to_owned()) },
        register(1, 10, 2),
        Command::LeaveNode { node, incarnation },
        Command::LoseNode { node, incarnation, reason: "silent".to_owned() },
        Command::ForgetNodes { nodes: vec![node] },
        submit("r"),
        begin(1, 1, &[(1, 10), (2, 20)]),
        run(1, 1),
        complete(1, 1),
        fail(1, 1, FailureKind::Link, Verdict::Restart),
        fail(1, 1, FailureKind::Data, Verdict::Fail),
        Command::FailJob { job, failure: Failure { kind: FailureKind::Data, message: "unreadable".to_owned() } },
        Command::FinishJob { job, attempt },
        Command::EndJob { job, mode: EndMode::Cancel },
        Command::EndJob { job, mode: EndMode::Stop },
        Command::ForgetJobs { jobs: vec![job] },
        begin_checkpoint(1, 1, 1),
        complete_checkpoint(1, 1, 1),
        committed(1, 1),
        forget(1, &[1, 2]),
        Command::MoveAttempt { job, attempt },
        restart(&running(), "again", 1),
        published(1, 2, &[7, 8]),
        Command::EndJob { job, mode: EndMode::Abandon },
    ]
}

#[test]
fn commands_have_the_bytes_of_format_6() {
    let written: Vec<String> =
        one_of_each().iter().map(|command| String::from_utf8(command.to_bytes(Duration::ZERO)).unwrap()).collect();
    assert_eq!(written, COMMANDS.lines().collect::<Vec<_>>());
    let read: Vec<Command> = COMMANDS.lines().map(|line| Command::from_bytes(line.as_bytes()).unwrap().0).collect();
    assert_eq!(read, one_of_each());
}

/// A state in which a job has run, with a checkpoint that these sinks have published.
fn state(sinks: &[u64]) -> ClusterState {
    let mut state = running();
    let _ = state.apply(6, Command::InitCluster { cluster: ClusterId("c0ffee".to_owned()) });
    let _ = state.apply(7, register(2, 21, 2));
    let publishing = published(1, 1, sinks);
    let checkpoints = [begin_checkpoint(1, 1, 1), complete_checkpoint(1, 1, 1), publishing, complete(1, 1)];
    for (command, index) in checkpoints.into_iter().zip(8..) {
        state.apply(index, command).into_result().unwrap();
    }
    state
}

#[test]
#[ignore = "writes files of the repository"]
fn golden_files_of_the_newest_format_are_made() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/golden");
    let line = |command: &Command| [command.to_bytes(Duration::ZERO).as_slice(), b"\n"].concat();
    let commands: Vec<Vec<u8>> = one_of_each().iter().map(line).collect();
    fs::write(folder.join(format!("commands-{FORMAT}.jsonl")), commands.concat()).unwrap();
    fs::write(folder.join(format!("snapshot-{FORMAT}.json")), [state(&[7]).to_bytes().as_slice(), b"\n"].concat())
        .unwrap();
}

#[test]
fn a_snapshot_has_the_bytes_of_format_6() {
    let newest = state(&[7]);
    assert_eq!(String::from_utf8(newest.to_bytes()).unwrap(), SNAPSHOT.trim_end());
    assert_eq!(ClusterState::from_bytes(SNAPSHOT.trim_end().as_bytes()).unwrap(), newest);
    assert_eq!(ClusterState::from_bytes(SNAPSHOT_5.trim_end().as_bytes()).unwrap(), newest);
    let state = state(&[]);
    assert_eq!(ClusterState::from_bytes(SNAPSHOT_4.trim_end().as_bytes()).unwrap(), state);
    assert_eq!(ClusterState::from_bytes(SNAPSHOT_3.trim_end().as_bytes()).unwrap(), state);
    assert_eq!(ClusterState::from_bytes(SNAPSHOT_2.trim_end().as_bytes()).unwrap(), state);
}

#[test]
fn times_are_part_of_the_bytes_where_they_are_known() {
    let command = Command::ForgetNodes { nodes: vec![NodeId(1)] };
    let bytes = command.to_bytes(Duration::from_millis(1234));
    assert_eq!(
        String::from_utf8_lossy(&bytes),
        r#"{"format":6,"at_ms":1234,"command":{"forget_nodes":{"nodes":[1]}}}"#
    );
    assert_eq!(Command::from_bytes(&bytes).unwrap(), (command, 1234));
}

#[test]
fn what_formats_3_to_5_wrote_is_read() {
    for written in [COMMANDS_3, COMMANDS_4, COMMANDS_5] {
        let commands = written.lines().map(|line| Command::from_bytes(line.as_bytes()).unwrap().0);
        assert_eq!(commands.collect::<Vec<_>>(), one_of_each()[..written.lines().count()]);
    }
}

#[test]
fn what_format_2_wrote_is_read() {
    let commands = COMMANDS_2.lines().map(|line| Command::from_bytes(line.as_bytes()).unwrap().0);
    assert_eq!(commands.collect::<Vec<_>>(), one_of_each()[..COMMANDS_2.lines().count()]);
}

#[test]
fn what_format_1_wrote_is_read() {
    let commands = COMMANDS_1.lines().map(|line| Command::from_bytes(line.as_bytes()).unwrap().0);
    let known = COMMANDS_1.lines().count();
    assert_eq!(commands.collect::<Vec<_>>(), one_of_each()[..known]);
    let mut state = running();
    let _ = state.apply(6, Command::InitCluster { cluster: ClusterId("c0ffee".to_owned()) });
    let _ = state.apply(7, register(2, 21, 2));
    let _ = state.apply(8, complete(1, 1));
    assert_eq!(ClusterState::from_bytes(SNAPSHOT_1.trim_end().as_bytes()).unwrap(), state);
}

#[test]
fn a_snapshot_of_another_format_is_refused() {
    let newer = SNAPSHOT.replacen("\"format\":6", "\"format\":7", 1);
    let error = ClusterState::from_bytes(newer.trim_end().as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "the snapshot of the cluster state cannot be read: format 7, expected 6");
}
