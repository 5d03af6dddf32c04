use tokio::sync::oneshot::{self, Receiver, error::TryRecvError};

use super::*;

type Answer = Receiver<Result<(), ConsensusError>>;

fn read(reads: &mut Reads) -> Answer {
    let (reply, answer) = oneshot::channel();
    reads.on_read(reply);
    answer
}

fn is_open(answer: &mut Answer) -> bool {
    answer.try_recv() == Err(TryRecvError::Empty)
}

#[test]
fn readers_are_answered_once_the_confirmed_index_is_applied() {
    let mut reads = Reads::default();
    let mut early = read(&mut reads);
    reads.on_asked(1);
    let mut late = read(&mut reads);
    reads.on_confirmed(1, 5);
    reads.on_applied(4);
    assert!(is_open(&mut early));
    reads.on_applied(5);
    assert_eq!(early.try_recv(), Ok(Ok(())));
    // It came after the request went out, so the confirmation is not for it.
    reads.on_applied(100);
    assert!(is_open(&mut late));
    assert!(reads.has_waiting());
}

#[test]
fn a_request_without_an_answer_is_asked_again_and_its_late_answer_counts_for_nobody() {
    let mut reads = Reads::default();
    let mut reader = read(&mut reads);
    reads.on_asked(1);
    reads.on_tick(2, 10);
    assert!(!reads.has_waiting());
    reads.on_tick(2, 10);
    assert!(reads.has_waiting());
    reads.on_confirmed(1, 5);
    reads.on_applied(5);
    assert!(is_open(&mut reader));
    reads.on_asked(2);
    reads.on_confirmed(2, 6);
    reads.on_applied(6);
    assert_eq!(reader.try_recv(), Ok(Ok(())));
}

#[test]
fn readers_that_nobody_confirms_are_told_after_the_limit() {
    let mut reads = Reads::default();
    let mut reader = read(&mut reads);
    for tick in 1..=10 {
        assert!(is_open(&mut reader), "at {tick}");
        if reads.has_waiting() {
            reads.on_asked(tick);
        }
        reads.on_tick(2, 10);
    }
    assert_eq!(reader.try_recv(), Ok(Err(ConsensusError::Unconfirmed)));
}

#[test]
fn without_a_leader_all_but_the_confirmed_are_refused() {
    let mut reads = Reads::default();
    let mut confirmed = read(&mut reads);
    reads.on_asked(1);
    reads.on_confirmed(1, 5);
    let (mut asked, mut waiting) = (read(&mut reads), read(&mut reads));
    reads.on_asked(2);
    reads.refuse(&ConsensusError::NotLeader { leader: None });
    for refused in [&mut asked, &mut waiting] {
        assert_eq!(refused.try_recv(), Ok(Err(ConsensusError::NotLeader { leader: None })));
    }
    reads.on_applied(5);
    assert_eq!(confirmed.try_recv(), Ok(Ok(())));
}

#[test]
fn too_many_readers_are_told_to_come_back() {
    let mut reads = Reads::default();
    let held: Vec<Answer> = (0..READERS_MAX).map(|_| read(&mut reads)).collect();
    assert_eq!(read(&mut reads).try_recv(), Ok(Err(ConsensusError::Busy)));
    assert!(held.into_iter().all(|mut answer| is_open(&mut answer)));
}
