//! The sink of a query's rows: a table, or the client.

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::{
    ScalarValue,
    tree_node::{Transformed, TreeNode as _},
};
use datafusion_expr::{Cast, Expr, LogicalPlan};
use sqlparser::tokenizer::{Location, TokenWithSpan};
use thalweg_functions::names::sql_type;
use thalweg_types::{
    OperatorId, OperatorKind,
    connector::TTL,
    graph::{CollectOperator, Parallelism, SinkOperator, SourceOperator},
};

use super::{
    Lowerer,
    calc::{Layout, Wanted},
    graph::{Draft, Routing},
    relation::{Relation, at},
};
use crate::{
    catalog::{Column, Table},
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

impl Output {
    /// Whether watermarks end what it has written.
    pub(super) fn ends_by_time(&self) -> bool {
        match &self.target {
            Target::Table { table, .. } => ends_by_ttl(table) || table.connector.completes_by_time(),
            Target::Client(_) => false,
        }
    }
}

impl Lowerer<'_> {
    pub(super) fn write(&mut self, relation: &Relation, output: &Output) -> Result<()> {
        match &output.target {
            Target::Client(query) => self.collect(relation, output, *query),
            Target::Table { table, sources, at } => {
                let sink = self.insert(relation, table, sources, *at)?;
                if output.ends_by_time() { self.check_time(sink, table, *at) } else { Ok(()) }
            }
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

    fn insert(
        &mut self,
        relation: &Relation,
        table: &Table,
        sources: &[Option<usize>],
        place: Location,
    ) -> Result<OperatorId> {
        if let Some(reason) = table.connector.unfit_to_write() {
            return Err(SqlError::at(place, format!("table '{}' cannot be written: {reason}", table.name)));
        }
        let (sent, written) = (table.sent(), table.written());
        let mut wanted: Wanted = Vec::with_capacity(sources.len());
        let mut given: BTreeMap<&str, Expr> = BTreeMap::new();
        for ((declared, field), source) in written.fields().iter().zip(sent.fields()).zip(sources) {
            let expr = match source {
                Some(index) => {
                    let value = self.cast_to_column(relation, *index, declared, table, place)?;
                    given.insert(declared.name(), value.clone());
                    cast_unless(declared.data_type() == field.data_type(), value, field.data_type())
                }
                None => {
                    let null = ScalarValue::try_from(field.data_type()).map_err(|error| self.failed(&error))?;
                    Expr::Literal(null, None)
                }
            };
            wanted.push((field.name().clone(), expr));
        }
        let mut fields: Vec<Field> = sent.fields().iter().map(|field| field.as_ref().clone()).collect();
        for column in table.partition_computed.iter().map(|at| &table.columns[*at]) {
            wanted.push((column.field.name().clone(), self.computed(column, &given, &written)?));
            fields.push(column.field.clone().with_nullable(true));
        }
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let emitted = self.emit(relation, &wanted, Layout::Within(schema.clone()))?;
        let (routing, parallelism) = match together(table, &schema) {
            None => (Routing::Local, self.graph.parallelism_of(&emitted.operators)),
            Some(columns) if columns.is_empty() => (Routing::Gather, Parallelism::One),
            Some(columns) => (Routing::Hash(columns), Parallelism::Job),
        };
        let draft = Draft {
            kind: OperatorKind::Sink(SinkOperator {
                table: table.name.clone(),
                connector: table.connector.clone(),
                partition_by: table.partition_by.clone(),
            }),
            parallelism,
            output: as_declared(&emitted.schema, &schema),
        };
        Ok(self.graph.add_new(draft, &[emitted.feed(0, routing)]))
    }

    /// Refuses what waits for a watermark where some source has none: it would never come. The end of the input completes
    /// partitions, too.
    fn check_time(&self, sink: OperatorId, table: &Table, place: Location) -> Result<()> {
        let by_ttl = ends_by_ttl(table);
        let is_endless = |source: &SourceOperator| source.connector.lacks_end().is_some();
        let lacks = |source: &&SourceOperator| {
            source.watermark.is_none() && !source.connector.is_written() && (by_ttl || is_endless(source))
        };
        let Some(source) = self.graph.sources_of(&[sink]).find(lacks) else { return Ok(()) };
        let (option, what) = match by_ttl {
            true => (format!("'{TTL}'"), "its rows would end"),
            false => {
                ("'sink.partition-commit.trigger' = 'partition-time'".to_owned(), "its partitions would be complete")
            }
        };
        let message = format!(
            "table '{}' has {option}, but table '{}' has no watermark, by which {what}",
            table.name, source.table
        );
        Err(SqlError::at(place, message).with_hint("declare it: WATERMARK FOR column AS column"))
    }

    /// A computed column of the row that is written. Columns that get no value are NULL.
    fn computed(&self, column: &Column, given: &BTreeMap<&str, Expr>, written: &Schema) -> Result<Expr> {
        let Some(computed) = column.computed.clone() else {
            return Err(SqlError::new(format!("column '{}' is not computed", column.field.name())));
        };
        let replaced = computed.transform_up(|expr| {
            let Expr::Column(named) = &expr else { return Ok(Transformed::no(expr)) };
            if let Some(value) = given.get(named.name.as_str()) {
                return Ok(Transformed::yes(value.clone()));
            }
            let data_type = written.field_with_name(&named.name)?.data_type();
            Ok(Transformed::yes(Expr::Literal(ScalarValue::try_from(data_type)?, None)))
        });
        replaced.map(|replaced| replaced.data).map_err(|error| self.failed(&error))
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

/// Whether keys that get no rows end, by watermarks.
fn ends_by_ttl(table: &Table) -> bool {
    table.connector.is_queryable() && table.connector.option(TTL).is_some()
}

/// By which columns rows are routed so that all of a directory's come to one subtask; none if only a single subtask
/// would do. `None`: rows stay where they are.
fn together(table: &Table, schema: &Schema) -> Option<Vec<usize>> {
    if table.connector.is_queryable() {
        return Some(table.partition_by.clone());
    }
    let template = table.connector.path_template().ok().flatten();
    let is_partitioned = template.is_some() || !table.partition_by.is_empty();
    if !is_partitioned || !table.connector.keeps_partitions_together() {
        return None;
    }
    Some(match template {
        Some(template) => template.whole_columns().filter_map(|name| schema.index_of(name).ok()).collect(),
        None => table.partition_by.clone(),
    })
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
