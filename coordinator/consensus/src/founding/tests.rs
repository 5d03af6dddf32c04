//! Single decisions. Properties of whole runs are in `model`.

use std::collections::{BTreeMap, BTreeSet};

use thalweg_proto::v1;
use thalweg_types::{ClusterId, MemberId};

use super::decide::{Decision, Holds, Sight, decide};
use crate::{config::FirstMembers, refusal::Refusal};

mod model;

fn list(members: impl IntoIterator<Item = u64>) -> FirstMembers {
    members.into_iter().map(|member| (MemberId(member), format!("m{member}:1"))).collect()
}

fn sight(member: u64, holds: Holds) -> Sight {
    let cluster = Some(ClusterId("river".to_owned()));
    Sight { incarnation: 100 + member, cluster, member: MemberId(member), holds, first: list(1..=3) }
}

fn judge(answers: [(u64, Option<Sight>); 2], overrides_silence: bool) -> Result<Decision, Refusal> {
    let answers: BTreeMap<MemberId, Option<Sight>> =
        answers.into_iter().map(|(member, answer)| (MemberId(member), answer)).collect();
    decide(&sight(1, Holds::Nothing), &answers, overrides_silence)
}

fn members(members: &[u64]) -> BTreeSet<MemberId> {
    members.iter().map(|member| MemberId(*member)).collect()
}

#[test]
fn a_group_is_founded_where_nobody_has_promised_anything() {
    for holds in [Holds::Nothing, Holds::Founding] {
        let answers = [(2, Some(sight(2, Holds::Nothing))), (3, Some(sight(3, holds)))];
        assert_eq!(judge(answers, false), Ok(Decision::Found));
    }
    assert_eq!(decide(&sight(1, Holds::Nothing), &BTreeMap::new(), false), Ok(Decision::Found), "a lone member");
}

#[test]
fn one_that_holds_more_forbids_it_whoever_else_is_silent() {
    let more = |member| Some(sight(member, Holds::More));
    for overrides in [false, true] {
        assert_eq!(judge([(2, None), (3, more(3))], overrides), Ok(Decision::Apply(members(&[3]))));
        let answers = [(2, more(2)), (3, Some(sight(3, Holds::Nothing)))];
        assert_eq!(judge(answers, overrides), Ok(Decision::Apply(members(&[2]))));
    }
    // By now it may have any number and know other members.
    let later = Sight { member: MemberId(9), first: list(4..=9), ..sight(3, Holds::More) };
    assert_eq!(judge([(2, None), (3, Some(later))], false), Ok(Decision::Apply(members(&[3]))));
}

#[test]
fn whoever_is_silent_is_waited_for_unless_a_person_says_otherwise() {
    let answers = || [(2, Some(sight(2, Holds::Nothing))), (3, None)];
    assert_eq!(judge(answers(), false), Ok(Decision::Wait(members(&[3]))));
    assert_eq!(judge(answers(), true), Ok(Decision::Found));
}

#[test]
fn what_was_told_differently_is_refused_by_name() {
    let refused = |answer: Sight| judge([(2, Some(answer)), (3, None)], false).unwrap_err();
    let other_list = refused(Sight { first: list(2..=4), ..sight(2, Holds::Nothing) });
    assert_eq!(
        other_list.to_string(),
        "the lists of first members differ: this is member-1 and was told 1=m1:1,2=m2:1,3=m3:1; member-2 at m2:1 was told \
         2=m2:1,3=m3:1,4=m4:1. Give all of them the same list (--members)"
    );
    let joins = refused(Sight { first: list([]), ..sight(2, Holds::Nothing) });
    assert!(joins.to_string().contains("was told none (--join)"), "{joins}");
    let elsewhere = Some(ClusterId("lake".to_owned()));
    for holds in [Holds::Nothing, Holds::Founding, Holds::More] {
        let other = refused(Sight { cluster: elsewhere.clone(), ..sight(2, holds) });
        assert_eq!(other.to_string(), "member-2 at m2:1 is of cluster lake, and this is member-1 of cluster river");
    }
    let own = refused(Sight { incarnation: 101, ..sight(1, Holds::Nothing) });
    assert!(own.to_string().starts_with("the same process answers for member-1 and for member-2 at m2:1"), "{own}");
    let moved = refused(sight(3, Holds::Nothing));
    assert_eq!(moved.to_string(), "m2:1 stands in the list of first members for member-2, and member-3 answers there");
    let twice = judge([(2, Some(sight(2, Holds::More))), (3, Some(sight(2, Holds::More)))], false).unwrap_err();
    assert!(matches!(twice, Refusal::SameProcess { .. }), "{twice}");
}

#[test]
fn answers_survive_the_wire_and_what_is_no_answer_is_refused() {
    for holds in [Holds::Nothing, Holds::Founding, Holds::More] {
        let answer = sight(2, holds);
        assert_eq!(Sight::try_from(v1::PeekResponse::from(answer.clone())), Ok(answer));
    }
    let unnamed = Sight { cluster: None, ..sight(2, Holds::Nothing) };
    assert_eq!(Sight::try_from(v1::PeekResponse::from(unnamed.clone())), Ok(unnamed));
    assert!(Sight::try_from(v1::PeekResponse::default()).is_err());
    let wire = v1::PeekResponse::from(sight(2, Holds::More));
    assert!(Sight::try_from(v1::PeekResponse { member: 0, ..wire.clone() }).is_err());
    assert!(Sight::try_from(v1::PeekResponse { holds: 77, ..wire }).is_err());
}
