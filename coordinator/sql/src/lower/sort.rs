//! `ORDER BY`, `LIMIT` and `OFFSET` of bounded input. A sort is pending until the `LIMIT` above it is known; a `LIMIT`
//! without a sort below becomes a `Limit`.
//!
//! ```text
//! ORDER BY a LIMIT 3   Sort a limit 3 [one]                       emits its rows when its input has ended
//! LIMIT 3              Limit 3 [one] <- gather - Limit 3          ends sources when it has enough rows
//! ```
//!
//! The operators above a `Sort` have one subtask each, so its rows reach the client or table in order. A `Sort` emits
//! after all its input, so none of its columns is event time any more.

use datafusion_common::ScalarValue;
use datafusion_expr::{Expr, Limit, SortExpr};
use thalweg_types::{
    OperatorId, OperatorKind,
    graph::{Parallelism, RowRange, Sort, SortColumn},
};

use super::{
    Lowerer,
    calc::{Emitted, Layout, Wanted, plain},
    graph::{Draft, Feed, Routing},
    relation::{Base, Branch, Relation, RelationColumn, Stage, at},
};
use crate::{errors::Result, words::word_after};

impl Lowerer<'_> {
    pub(super) fn sort(&mut self, sort: &datafusion_expr::logical_plan::Sort) -> Result<Relation> {
        let input = self.lower(&sort.input)?;
        let by: Vec<Expr> = sort.expr.iter().map(|SortExpr { expr, .. }| expr.clone()).collect();
        let schema = sort.input.schema();
        let mut wanted = visible(&input);
        for expr in &by {
            let bound = input.bind(expr, schema).map_err(|error| self.failed(&error))?;
            wanted.push(("sort_key".to_owned(), bound));
        }
        let emitted = self.emit(&input, &wanted, Layout::Loose)?;
        self.check_end(&emitted.operators, &by, &["ORDER"])?;
        let (columns, keys) = emitted.positions.split_at(input.width);
        let order = sort.expr.iter().zip(keys).map(|(sort, column)| SortColumn {
            column: *column,
            descending: !sort.asc,
            nulls_first: sort.nulls_first,
        });
        let stage = Stage::Sort(Sort { order: order.collect(), range: RowRange::default() });
        let base = Base { operators: emitted.operators, schema: emitted.schema, stage };
        let exprs = columns.iter().map(|column| base.column(*column)).collect();
        let plain_columns = input.columns.iter().take(input.width).map(|column| plain(&column.name)).collect();
        Ok(Relation {
            branches: vec![Branch { base, filter: None, exprs }],
            columns: plain_columns,
            width: input.width,
        })
    }

    pub(super) fn limit(&mut self, limit: &Limit) -> Result<Relation> {
        let range = RowRange {
            offset: limit.skip.as_deref().map(|skip| self.count(skip)).transpose()?.unwrap_or(0),
            limit: limit.fetch.as_deref().map(|fetch| self.count(fetch)).transpose()?,
        };
        let mut input = self.lower(&limit.input)?;
        if let [Branch { base: Base { stage: Stage::Sort(sort), .. }, filter: None, .. }] =
            input.branches.as_mut_slice()
            && sort.range == RowRange::default()
        {
            sort.range = range;
            return Ok(input);
        }
        let wanted: Wanted =
            input.columns.iter().enumerate().map(|(index, column)| (column.name.clone(), at(index))).collect();
        let emitted = self.emit(&input, &wanted, Layout::Loose)?;
        self.check_end(&emitted.operators, &[], &["LIMIT", "OFFSET", "FETCH"])?;
        Ok(self.limited_to(range, emitted, &input))
    }

    fn limited_to(&mut self, range: RowRange, emitted: Emitted, input: &Relation) -> Relation {
        let mut senders = emitted.operators.clone();
        // No subtask needs to emit more rows than are wanted in all.
        if let (Some(needed), Parallelism::Job) = (range.needed(), self.graph.parallelism_of(&senders)) {
            let local = RowRange { offset: 0, limit: Some(needed) };
            senders = senders.iter().map(|sender| self.add_limit(local, &[*sender], Parallelism::Job)).collect();
        }
        let operator = self.add_limit(range, &senders, Parallelism::One);
        let base = Base { operators: vec![operator], schema: emitted.schema, stage: Stage::None };
        let exprs = emitted.positions.iter().map(|position| base.column(*position)).collect();
        let columns: Vec<RelationColumn> = input.columns.clone();
        Relation { branches: vec![Branch { base, filter: None, exprs }], columns, width: input.width }
    }

    fn add_limit(&mut self, range: RowRange, senders: &[OperatorId], parallelism: Parallelism) -> OperatorId {
        let parallelism = match parallelism {
            Parallelism::Job => self.graph.parallelism_of(senders),
            Parallelism::One => Parallelism::One,
        };
        let output = self.graph.operator(senders[0]).output.clone();
        let draft = Draft { kind: OperatorKind::Limit(range), parallelism, output };
        self.graph.add(draft, &[Feed { port: 0, senders: senders.to_vec(), routing: Routing::Local }])
    }

    /// Adds the `Sort` operator.
    pub(super) fn sorted(&mut self, branch: &Branch, sort: &Sort) -> Branch {
        let base = &branch.base;
        let draft = Draft {
            kind: OperatorKind::Sort(sort.clone()),
            parallelism: Parallelism::One,
            output: base.schema.clone(),
        };
        let feed = Feed { port: 0, senders: base.operators.clone(), routing: Routing::Gather };
        let operator = self.graph.add(draft, &[feed]);
        let base = Base { operators: vec![operator], schema: base.schema.clone(), stage: Stage::None };
        Branch { base, filter: branch.filter.clone(), exprs: branch.exprs.clone() }
    }

    /// Refuses an operation that needs the end of its input if a table below has no end.
    fn check_end(&self, operators: &[OperatorId], exprs: &[Expr], words: &[&str]) -> Result<()> {
        let Some((table, connector, remedy)) = self.without_end(operators) else { return Ok(()) };
        let first = words.iter().find(|word| self.has_word(word)).copied().unwrap_or(words[0]);
        let what = if first == "ORDER" { "ORDER BY" } else { first };
        let message = format!("{what} needs an end of its input, and table '{table}' ({connector}) has none: {remedy}");
        let hint = "ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY …) keeps the first rows of each window; \
                    `thalweg preview` shows some rows of any query";
        Err(self.refuse(exprs, Some(first), &message).with_hint(hint))
    }

    /// A table below these operators that never ends, its connector, and what would give it an end.
    fn without_end(&self, operators: &[OperatorId]) -> Option<(&str, &str, String)> {
        self.graph.sources_of(operators).find_map(|source| {
            let remedy = source.connector.lacks_end()?;
            Some((source.table.as_str(), source.connector.name.as_str(), remedy))
        })
    }

    fn has_word(&self, word: &str) -> bool {
        let start = self.statement.first().map(|token| token.span.start);
        start.is_some_and(|start| word_after(self.statement, start, word).is_some())
    }

    fn count(&self, expr: &Expr) -> Result<u64> {
        let number = match expr {
            Expr::Literal(value, _) => match value.cast_to(&arrow::datatypes::DataType::Int64) {
                Ok(ScalarValue::Int64(Some(number))) => u64::try_from(number).ok(),
                _ => None,
            },
            _ => None,
        };
        number.ok_or_else(|| {
            let message = format!("{expr} is not a number of rows");
            self.refuse(&[], Some("LIMIT"), &message)
        })
    }
}

/// The plan's columns, as they are.
fn visible(input: &Relation) -> Wanted {
    let columns = input.columns.iter().take(input.width).enumerate();
    columns.map(|(index, column)| (column.name.clone(), at(index))).collect()
}
