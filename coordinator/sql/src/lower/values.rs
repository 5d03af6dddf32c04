//! Rows that stand in the text: a source of one subtask. Its options hold the rows.

use std::collections::BTreeMap;

use thalweg_types::{
    OperatorKind,
    connector::{TableConnector, VALUES_CONNECTOR, VALUES_ROWS},
    graph::{Parallelism, SourceOperator},
};

use super::{
    Lowerer,
    calc::plain,
    graph::Draft,
    relation::{Base, Relation, RelationColumn, Stage},
};
use crate::values::ValuesNode;

impl Lowerer<'_> {
    pub(super) fn values(&mut self, rows: &ValuesNode) -> Relation {
        let schema = rows.columns();
        let columns: Vec<RelationColumn> = schema.fields().iter().map(|field| plain(field.name())).collect();
        let options = BTreeMap::from([(VALUES_ROWS.to_owned(), rows.stream.to_string())]);
        let source = SourceOperator {
            table: if rows.count == 1 { "of 1 row".to_owned() } else { format!("of {} rows", rows.count) },
            connector: TableConnector { name: VALUES_CONNECTOR.to_owned(), options, secrets: BTreeMap::new() },
            physical: schema.clone(),
            predicates: Vec::new(),
            projection: None,
            watermark: None,
        };
        let kind = OperatorKind::Source(Box::new(source));
        let operator = self.graph.add(Draft { kind, parallelism: Parallelism::One, output: schema.clone() }, &[]);
        let base = Base { operators: vec![operator], schema, stage: Stage::None };
        let width = columns.len();
        Relation::of(base, columns, width)
    }
}
