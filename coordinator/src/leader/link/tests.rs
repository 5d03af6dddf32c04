//! What outlives a session of a node, and what does not.

use thalweg_types::{
    ClusterId, NodeId,
    session::{Action, ReportBody},
};

use super::*;

fn session(number: u64) -> SessionId {
    SessionId { term: Term(1), number }
}

fn greeted() -> CoordinatorMessage {
    greeting(NodeId(1), Term(1), std::time::Duration::from_secs(3))
}

fn order(attempt: u32) -> Order {
    let cluster = ClusterId("c".to_owned());
    Order { term: Term(1), cluster, job: JobId(1), attempt: Attempt(attempt), action: Action::Cancel, trace: None }
}

fn gone(attempt: u32) -> Report {
    Report { job: JobId(1), attempt: Attempt(attempt), body: ReportBody::Gone }
}

/// Opens a session whose queue has room for so many messages. Its greeting takes one.
fn open(link: &mut NodeLink, number: u64, room: usize) -> mpsc::Receiver<CoordinatorMessage> {
    let (outgoing, said) = mpsc::channel(room);
    link.open(session(number), outgoing, greeted());
    said
}

fn all(said: &mut mpsc::Receiver<CoordinatorMessage>) -> Vec<CoordinatorMessage> {
    std::iter::from_fn(|| said.try_recv().ok()).collect()
}

fn ordered(sequence: u64, attempt: u32) -> CoordinatorMessage {
    CoordinatorMessage::Order { sequence, order: order(attempt) }
}

#[test]
fn orders_that_were_not_acknowledged_come_again_with_their_numbers() {
    let mut link = NodeLink::new(Incarnation(1));
    link.order(order(1));
    let mut said = open(&mut link, 1, 8);
    link.order(order(2));
    link.order(order(3));
    assert_eq!(all(&mut said), [greeted(), ordered(1, 1), ordered(2, 2), ordered(3, 3)]);
    assert_eq!(link.on_acknowledged(2), Some(order(2)));
    assert_eq!(link.on_acknowledged(2), None, "once");
    let mut said = open(&mut link, 2, 8);
    link.order(order(4));
    assert_eq!(all(&mut said), [greeted(), ordered(1, 1), ordered(3, 3), ordered(4, 4)]);
}

#[test]
fn a_session_that_is_not_read_is_given_up_and_loses_no_order() {
    let mut link = NodeLink::new(Incarnation(1));
    let _unread = open(&mut link, 1, 2);
    link.order(order(1));
    assert!(link.is_open(session(1)));
    link.order(order(2));
    assert!(!link.is_open(session(1)), "its queue is full");
    let mut said = open(&mut link, 2, 8);
    assert_eq!(all(&mut said), [greeted(), ordered(1, 1), ordered(2, 2)]);
}

#[test]
fn reports_are_acknowledged_once_they_are_settled_and_the_node_repeats_the_others() {
    let mut link = NodeLink::new(Incarnation(1));
    let mut said = open(&mut link, 1, 8);
    link.hold(5, gone(1));
    link.hold(6, gone(2));
    link.settle(|report| *report == gone(2));
    link.settle(|report| *report == gone(2));
    assert_eq!(all(&mut said), [greeted(), CoordinatorMessage::ReportAcknowledged { sequence: 6 }]);
    let mut said = open(&mut link, 2, 8);
    link.settle(|_| true);
    assert_eq!(all(&mut said), [greeted()], "what was not repeated in this session is not acknowledged in it");
}

#[test]
fn a_node_is_of_use_once_it_has_told_what_it_has_and_dropped_what_is_over() {
    let mut link = NodeLink::new(Incarnation(1));
    link.is_reattached = true;
    assert!(!link.is_attached(), "without a session");
    let _said = open(&mut link, 1, 8);
    assert!(!link.is_attached(), "each session tells anew");
    link.is_reattached = true;
    link.leftovers.insert((JobId(1), Attempt(1)));
    assert!(!link.is_attached());
    link.leftovers.clear();
    assert!(link.is_attached());
    link.close();
    assert!(!link.is_attached());
}
