use std::{collections::BTreeMap, sync::Arc};

use arrow_schema::Schema;
use proptest::prelude::*;

use super::*;
use crate::graph::{Calc, CollectOperator, Operator, OperatorKind};

fn operator(id: u32, parallelism: Parallelism) -> Operator {
    let kind = OperatorKind::Calc(Calc { filter: None, projection: None });
    Operator { id: OperatorId(id), name: String::new(), kind, parallelism, output: Arc::new(Schema::empty()) }
}

fn edge(from: u32, to: u32, distribution: Distribution) -> Edge {
    Edge { from: OperatorId(from), to: OperatorId(to), port: 0, distribution }
}

fn graph(operators: Vec<Operator>, edges: Vec<Edge>) -> JobGraph {
    let settings = BTreeMap::new();
    JobGraph { format: 1, engine_version: String::new(), key_groups: 8, operators, edges, settings }
}

fn operators_of(plan: &ChainPlan) -> Vec<Vec<u32>> {
    plan.chains.iter().map(|chain| chain.operators.iter().map(|id| id.0).collect()).collect()
}

/// 0 -> 1 -> (2 and 3), 3 -hash-> 4 -gather-> 5: a source read by two branches.
fn branching() -> JobGraph {
    let mut operators: Vec<_> = (0..5).map(|id| operator(id, Parallelism::Job)).collect();
    operators.push(operator(5, Parallelism::One));
    operators[5].kind = OperatorKind::Collect(CollectOperator { query: 0 });
    let hash = Distribution::Hash { keys: vec![] };
    let forward = |from, to| edge(from, to, Distribution::Forward);
    graph(
        operators,
        vec![forward(0, 1), forward(1, 2), forward(1, 3), edge(3, 4, hash), edge(4, 5, Distribution::Gather)],
    )
}

#[test]
fn forward_edges_fuse_and_others_do_not() {
    let plan = ChainPlan::of(&branching());
    assert_eq!(operators_of(&plan), [vec![0, 1, 2, 3], vec![4], vec![5]]);
    let crossing: Vec<_> = plan.exchanges.iter().map(|exchange| (exchange.from.0, exchange.to.0)).collect();
    assert_eq!(crossing, [(0, 1), (1, 2)]);
}

#[test]
fn a_union_begins_a_chain_of_its_own() {
    let operators = (0..3).map(|id| operator(id, Parallelism::Job)).collect();
    let edges = vec![edge(0, 2, Distribution::Forward), edge(1, 2, Distribution::Forward)];
    let plan = ChainPlan::of(&graph(operators, edges));
    assert_eq!(operators_of(&plan), [vec![0], vec![1], vec![2]]);
    let inputs = plan.inputs(SubtaskId { chain: ChainId(2), index: 1 }, 3);
    assert_eq!(inputs.iter().map(|id| (id.exchange, id.from, id.to)).collect::<Vec<_>>(), [(0, 1, 1), (1, 1, 1)]);
}

#[test]
fn keyless_chains_have_one_subtask() {
    let plan = ChainPlan::of(&branching());
    let subtasks: Vec<_> = plan.subtasks(2).map(|subtask| subtask.to_string()).collect();
    assert_eq!(subtasks, ["chain-0/0", "chain-0/1", "chain-1/0", "chain-1/1", "chain-2/0"]);
}

proptest! {
    /// Every channel that a sender has is one that its receiver expects, and the other way round.
    #[test]
    fn both_ends_agree_on_the_channels(parallelism in 1u32..9) {
        let plan = ChainPlan::of(&branching());
        let mut sent: Vec<ChannelId> = Vec::new();
        let mut received: Vec<ChannelId> = Vec::new();
        for subtask in plan.subtasks(parallelism) {
            for exchange in plan.exchanges.iter().filter(|exchange| exchange.from == subtask.chain) {
                sent.extend(plan.outputs(subtask, exchange, parallelism));
            }
            received.extend(plan.inputs(subtask, parallelism));
        }
        sent.sort();
        received.sort();
        prop_assert_eq!(sent, received);
    }
}
