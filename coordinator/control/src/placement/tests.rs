//! Facts and properties of placement.

use proptest::prelude::*;

use super::*;

fn offer(node: u64, zone: &str, free: u32) -> NodeOffer {
    NodeOffer { node: NodeId(node), zone: zone.to_owned(), free }
}

fn plan(nodes: &[NodeOffer], parallelism: u32, previous: Option<&Assignment>, avoid: &Avoid) -> Assignment {
    let request = PlacementRequest { parallelism, key_groups: 16, nodes, previous, avoid };
    let proposal = plan_assignment(&request).unwrap();
    check_assignment(&request, &proposal).unwrap();
    proposal
}

/// Slices and key groups as one line: `1 2 1 | 0000 1111`.
fn shown(assignment: &Assignment) -> String {
    let join = |items: Vec<String>, by: &str| items.join(by);
    let slices = assignment.slices.iter().map(|node| node.0.to_string()).collect();
    let groups = assignment.key_groups.owners().iter().map(u32::to_string).collect();
    format!("{} | {}", join(slices, " "), join(groups, ""))
}

#[test]
fn slices_spread_over_nodes_and_zones() {
    let nodes = [offer(1, "a", 2), offer(2, "a", 2), offer(3, "b", 2)];
    let none = Avoid::default();
    assert_eq!(shown(&plan(&nodes, 2, None, &none)), "1 3 | 0000000011111111");
    assert_eq!(shown(&plan(&nodes, 4, None, &none)), "1 3 2 3 | 0000111122223333");
}

#[test]
fn a_lost_node_moves_only_its_own_slices() {
    let nodes = [offer(1, "", 4), offer(2, "", 4), offer(3, "", 4)];
    let none = Avoid::default();
    let before = plan(&nodes, 6, None, &none);
    assert_eq!(before.slices, [1, 2, 3, 1, 2, 3].map(NodeId));
    let after = plan(&nodes[..2], 6, Some(&before), &none);
    assert_eq!(after.slices, [1, 2, 1, 1, 2, 2].map(NodeId));
    assert_eq!(after.key_groups, before.key_groups);
}

fn groups(assignment: &Assignment) -> String {
    assignment.key_groups.owners().iter().map(u32::to_string).collect()
}

#[test]
fn a_new_node_takes_its_share_and_no_more() {
    let nodes = [offer(1, "", 4), offer(2, "", 4)];
    let none = Avoid::default();
    let before = plan(&nodes[..1], 4, None, &none);
    assert_eq!(plan(&nodes, 4, Some(&before), &none).slices, [1, 1, 2, 2].map(NodeId));
}

#[test]
fn more_slices_take_key_groups_from_each_former_owner() {
    let nodes = [offer(1, "", 8)];
    let none = Avoid::default();
    let before = plan(&nodes, 2, None, &none);
    let after = plan(&nodes, 4, Some(&before), &none);
    assert_eq!(groups(&after), "0000222211113333");
    assert_eq!(groups(&plan(&nodes, 2, Some(&after), &none)), "0000000011111111");
}

#[test]
fn a_failed_node_and_a_broken_pair_are_avoided_while_there_is_room() {
    let nodes = [offer(1, "", 2), offer(2, "", 2), offer(3, "", 2)];
    let node = Avoid { nodes: [NodeId(1)].into(), pairs: BTreeSet::new() };
    assert_eq!(plan(&nodes, 4, None, &node).slices, [2, 3, 2, 3].map(NodeId));
    assert_eq!(plan(&nodes, 5, None, &node).slices.len(), 5, "not enough room without it");
    let pair = Avoid { nodes: BTreeSet::new(), pairs: [(NodeId(2), NodeId(3))].into() };
    let chosen = plan(&nodes, 4, None, &pair).slices;
    assert!(!(chosen.contains(&NodeId(2)) && chosen.contains(&NodeId(3))), "{chosen:?}");
}

#[test]
fn too_few_slots_are_refused_with_the_numbers() {
    let nodes = [offer(1, "", 1), offer(2, "", 1)];
    let none = Avoid::default();
    let request = PlacementRequest { parallelism: 3, key_groups: 16, nodes: &nodes, previous: None, avoid: &none };
    assert_eq!(plan_assignment(&request), Err(NoRoom { wanted: 3, free: 2 }));
}

#[test]
fn the_checker_finds_each_fault() {
    let nodes = [offer(1, "", 2), offer(2, "", 1)];
    let none = Avoid::default();
    let request = PlacementRequest { parallelism: 2, key_groups: 4, nodes: &nodes, previous: None, avoid: &none };
    let proposal = |slices: &[u64], owners: &[u32]| Assignment {
        slices: slices.iter().map(|node| NodeId(*node)).collect(),
        key_groups: KeyGroupTable::new(owners.to_vec()),
    };
    let fault = |slices: &[u64], owners: &[u32]| check_assignment(&request, &proposal(slices, owners)).unwrap_err();
    assert_eq!(fault(&[1], &[0, 0, 1, 1]), AssignmentFault::Slices { found: 1, wanted: 2 });
    assert_eq!(fault(&[2, 2], &[0, 0, 1, 1]), AssignmentFault::Overfull { node: NodeId(2), held: 2, free: 1 });
    assert_eq!(fault(&[1, 9], &[0, 0, 1, 1]), AssignmentFault::Overfull { node: NodeId(9), held: 1, free: 0 });
    assert_eq!(fault(&[1, 2], &[0, 0, 1]), AssignmentFault::Unowned(3));
    assert_eq!(fault(&[1, 2], &[0, 0, 1, 2]), AssignmentFault::Unowned(3));
    assert_eq!(fault(&[1, 2], &[0, 0, 0, 1]), AssignmentFault::Uneven { least: 1, most: 3 });
}

fn offers() -> impl Strategy<Value = Vec<NodeOffer>> {
    let node = (prop_oneof![Just("a"), Just("b"), Just("c")], 0..5u32);
    prop::collection::vec(node, 1..8)
        .prop_map(|nodes| nodes.into_iter().zip(1..).map(|((zone, free), id)| offer(id, zone, free)).collect())
}

fn any_avoid() -> impl Strategy<Value = Avoid> {
    let node = || (1..8u64).prop_map(NodeId);
    (prop::collection::btree_set(node(), 0..3), prop::collection::btree_set((node(), node()), 0..3))
        .prop_map(|(nodes, pairs)| Avoid { nodes, pairs })
}

fn moved<T: PartialEq>(before: &[T], after: &[T]) -> usize {
    before.iter().zip(after).filter(|(one, other)| one != other).count()
}

proptest! {
    #[test]
    fn every_plan_passes_the_checker_and_is_a_fixed_point(
        first in offers(),
        second in offers(),
        avoid in any_avoid(),
        key_groups in prop_oneof![Just(1u16), Just(4), Just(16), Just(64)],
        parallelism in (1..12u32, 1..12u32),
    ) {
        let none = Avoid::default();
        let mut request =
            PlacementRequest { parallelism: parallelism.0, key_groups, nodes: &first, previous: None, avoid: &none };
        let before = plan_assignment(&request).ok();
        if let Some(before) = &before {
            prop_assert_eq!(check_assignment(&request, before), Ok(()));
        }
        request = PlacementRequest {
            parallelism: parallelism.1, key_groups, nodes: &second, previous: before.as_ref(), avoid: &avoid,
        };
        let free: u32 = second.iter().map(|offer| offer.free).sum();
        match plan_assignment(&request) {
            Err(no_room) => {
                prop_assert_eq!(no_room, NoRoom { wanted: parallelism.1, free });
                prop_assert!(free < parallelism.1);
            }
            Ok(plan) => {
                prop_assert_eq!(check_assignment(&request, &plan), Ok(()));
                let again = PlacementRequest { previous: Some(&plan), ..request };
                prop_assert_eq!(plan_assignment(&again).unwrap(), plan);
            }
        }
    }

    #[test]
    fn moves_are_no_more_than_the_loads_ask_for(
        nodes in offers(), gone in any::<prop::sample::Index>(), parallelism in 1..12u32,
    ) {
        let none = Avoid::default();
        let request =
            PlacementRequest { parallelism, key_groups: 64, nodes: &nodes, previous: None, avoid: &none };
        let Ok(before) = plan_assignment(&request) else { return Ok(()) };
        let lost = nodes[gone.index(nodes.len())].node;
        let left: Vec<NodeOffer> = nodes.iter().filter(|offer| offer.node != lost).cloned().collect();
        let request = PlacementRequest { nodes: &left, previous: Some(&before), ..request };
        let Ok(after) = plan_assignment(&request) else { return Ok(()) };
        let on_lost = before.slices.iter().filter(|node| **node == lost).count();
        prop_assert_eq!(moved(&before.slices, &after.slices), on_lost);
        prop_assert_eq!(&before.key_groups, &after.key_groups);
    }

    #[test]
    fn key_groups_move_no_more_than_the_shares_ask_for(
        path in prop::collection::vec(1..20u32, 2..6),
    ) {
        let mut table = KeyGroupTable::even(64, path[0]);
        for parallelism in &path[1..] {
            let next = spread_key_groups(&table, *parallelism);
            let share = shares(&table, *parallelism);
            let least: usize = (0..*parallelism)
                .map(|slice| share[slice as usize].saturating_sub(table.owned_by(slice).count()))
                .sum();
            prop_assert_eq!(moved(table.owners(), next.owners()), least);
            table = next;
        }
    }
}
