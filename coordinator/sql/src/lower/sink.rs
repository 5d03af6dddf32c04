//! The sink of a query's rows: a table, or the client.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::ScalarValue;
use datafusion_expr::{Cast, Expr, LogicalPlan};
use sqlparser::tokenizer::{Location, TokenWithSpan};
use thalweg_functions::names::sql_type;
use thalweg_types::{
    OperatorKind,
    graph::{CollectOperator, Parallelism, SinkOperator},
};

use super::{
    Lowerer,
    calc::{Layout, Wanted},
    graph::{Draft, Routing},
    relation::{Relation, at},
};
use crate::{
    catalog::Table,
    errors::{Result, SqlError},
    implicit::is_implicit,
};

/// One output of a script: a query and where its rows go.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) plan: LogicalPlan,
    pub(crate) target: Target,
    /// The tokens of its statement.
    pub(crate) tokens: Vec<TokenWithSpan>,
}

/// Where the rows of a query go.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// Into a table. `sources` has, for each column that is written, the query's column; `None` is NULL.
    Table { table: Arc<Table>, sources: Vec<Option<usize>>, at: Location },
    /// To the client, as the bare query with this number.
    Client(u32),
}

impl Lowerer<'_> {
    pub(super) fn write(&mut self, relation: &Relation, output: &Output) -> Result<()> {
        match &output.target {
            Target::Client(query) => self.collect(relation, output, *query),
            Target::Table { table, sources, at } => self.insert(relation, table, sources, *at),
        }
    }

    fn collect(&mut self, relation: &Relation, output: &Output, query: u32) -> Result<()> {
        let names = output.plan.schema().fields().iter().map(|field| field.name().clone());
        let wanted: Wanted = names.enumerate().map(|(index, name)| (name, at(index))).collect();
        let emitted = self.emit(relation, &wanted, Layout::Exact)?;
        let draft = Draft {
            kind: OperatorKind::Collect(CollectOperator { query }),
            parallelism: Parallelism::One,
            output: emitted.schema.clone(),
        };
        self.graph.add_new(draft, &[emitted.feed(0, Routing::Gather)]);
        Ok(())
    }

    fn insert(&mut self, relation: &Relation, table: &Table, sources: &[Option<usize>], place: Location) -> Result<()> {
        if let Some(reason) = table.connector.unfit_to_write() {
            return Err(SqlError::at(place, format!("table '{}' cannot be written: {reason}", table.name)));
        }
        let schema: SchemaRef = Arc::new(table.sent());
        let written = table.written();
        let mut wanted: Wanted = Vec::with_capacity(sources.len());
        for ((declared, field), source) in written.fields().iter().zip(schema.fields()).zip(sources) {
            let expr = match source {
                Some(index) => {
                    let given = self.cast_to_column(relation, *index, declared, table, place)?;
                    cast_unless(declared.data_type() == field.data_type(), given, field.data_type())
                }
                None => {
                    let null = ScalarValue::try_from(field.data_type()).map_err(|error| self.failed(&error))?;
                    Expr::Literal(null, None)
                }
            };
            wanted.push((field.name().clone(), expr));
        }
        let emitted = self.emit(relation, &wanted, Layout::Within(schema.clone()))?;
        let draft = Draft {
            kind: OperatorKind::Sink(SinkOperator {
                table: table.name.clone(),
                connector: table.connector.clone(),
                partition_by: table.partition_by.clone(),
            }),
            parallelism: self.graph.parallelism_of(&emitted.operators),
            output: as_declared(&emitted.schema, &schema),
        };
        self.graph.add_new(draft, &[emitted.feed(0, Routing::Local)]);
        Ok(())
    }

    /// The query's column with the type of the table's column. Refuses casts that could lose values silently.
    fn cast_to_column(
        &self,
        relation: &Relation,
        index: usize,
        field: &Field,
        table: &Table,
        place: Location,
    ) -> Result<Expr> {
        let Some(branch) = relation.branches.first() else { return Err(SqlError::new("a relation without branches")) };
        let given = branch.field_of(&branch.exprs[index], field.name()).map_err(|error| self.failed(&error))?;
        if given.data_type() == field.data_type() {
            return Ok(at(index));
        }
        if !is_implicit(given.data_type(), field.data_type()) {
            let (from, to) = (sql_type(given.data_type()), sql_type(field.data_type()));
            let name = &relation.columns[index].name;
            let message = format!(
                "column '{}' of table '{}' is {to}, but the query gives {from} ('{name}', column {})",
                field.name(),
                table.name,
                index + 1
            );
            return Err(SqlError::at(place, message).with_hint(format!("CAST(… AS {to})")));
        }
        Ok(cast_unless(false, at(index), field.data_type()))
    }
}

fn cast_unless(is_fit: bool, expr: Expr, to: &DataType) -> Expr {
    if is_fit { expr } else { Expr::Cast(Cast::new(Box::new(expr), to.clone())) }
}

/// The schema with each column's metadata as in `known`, and NULLs allowed where the table allows them: what a format writes follows the
/// table, whatever query it comes from. Only the sink has it: other operators compare schemas.
fn as_declared(schema: &Schema, known: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().zip(known.fields()).map(|(field, known)| {
        field.as_ref().clone().with_nullable(known.is_nullable()).with_metadata(known.metadata().clone())
    });
    Arc::new(Schema::new(fields.collect::<Vec<Field>>()))
}
