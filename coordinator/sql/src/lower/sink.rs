//! The sink of a query's rows: a table, or the client.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, SchemaRef};
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
    /// Into a table. `sources` has, for each physical column, the query's column; `None` is NULL.
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
        let schema: SchemaRef = Arc::new(table.physical());
        let mut wanted: Wanted = Vec::with_capacity(sources.len());
        for (field, source) in schema.fields().iter().zip(sources) {
            let expr = match source {
                Some(index) => self.cast_to_column(relation, *index, field, table, place)?,
                None => {
                    let null = ScalarValue::try_from(field.data_type()).map_err(|error| self.failed(&error))?;
                    Expr::Literal(null, None)
                }
            };
            wanted.push((field.name().clone(), expr));
        }
        let emitted = self.emit(relation, &wanted, Layout::Within(schema))?;
        let draft = Draft {
            kind: OperatorKind::Sink(SinkOperator {
                table: table.name.clone(),
                connector: table.connector.clone(),
                partition_by: table.partition_by.clone(),
            }),
            parallelism: self.graph.parallelism_of(&emitted.operators),
            output: emitted.schema.clone(),
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
        Ok(Expr::Cast(Cast::new(Box::new(at(index)), field.data_type().clone())))
    }
}

/// Whether `INSERT` may cast implicitly: as in Flink, and never to a narrower kind. A value that does not fit at run
/// time (a decimal with too many digits) fails the job.
fn is_implicit(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    let text = |kind: &T| matches!(kind, T::Utf8 | T::Utf8View | T::LargeUtf8);
    let bytes = |kind: &T| matches!(kind, T::Binary | T::BinaryView | T::LargeBinary);
    let width = |kind: &T| match kind {
        T::Int8 => Some(1),
        T::UInt8 | T::Int16 => Some(2),
        T::UInt16 | T::Int32 => Some(3),
        T::UInt32 | T::Int64 => Some(4),
        T::UInt64 => Some(5),
        _ => None,
    };
    match (from, to) {
        (T::Null, _) => true,
        (T::UInt64, T::Int64) => true,
        (from, to) if text(from) && text(to) || bytes(from) && bytes(to) => true,
        (from, to) if width(from).is_some() && width(to).is_some() => width(from) <= width(to),
        (from, T::Float64) => width(from).is_some() || matches!(from, T::Float32 | T::Decimal128(_, _)),
        (from, T::Float32) => width(from).is_some() || matches!(from, T::Decimal128(_, _)),
        (from, T::Decimal128(_, _)) => width(from).is_some() || matches!(from, T::Decimal128(_, _)),
        (T::Timestamp(_, from), T::Timestamp(_, to)) => from.is_some() == to.is_some(),
        (T::List(from), T::List(to)) => {
            from.data_type() == to.data_type() || is_implicit(from.data_type(), to.data_type())
        }
        (T::Struct(from), T::Struct(to)) => {
            from.len() == to.len()
                && from.iter().zip(to).all(|(from, to)| {
                    from.name() == to.name()
                        && (from.data_type() == to.data_type() || is_implicit(from.data_type(), to.data_type()))
                })
        }
        _ => false,
    }
}
