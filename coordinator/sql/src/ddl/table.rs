//! Checks a parsed `CREATE TABLE`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, Operator};
use sqlparser::{
    ast::Ident,
    parser::Parser,
    tokenizer::{Location, TokenWithSpan},
};
use thalweg_functions::names::sql_type;
use thalweg_types::{
    connector::{ConnectorSpec, TableConnector},
    settings::parse_duration,
};

use super::{
    columns::{ColumnClause, TableElements, WatermarkClause},
    fields, keys, metadata,
    options::check_connector,
    partition::{self, PartitionColumns},
    queryable,
    statement::CreateTable,
    written::Written,
};
use crate::{
    catalog::{Column, Promise, Table, Watermark, is_timestamp},
    context::Context,
    declared_type::arrow_type,
    dialect::ThalwegDialect,
    errors::{Result, SqlError},
    intervals::interval_micros,
    limits, text,
};

/// Checks a declaration against its connector and plans its expressions.
pub(crate) fn build(create: &CreateTable, context: &Context<'_>, tokens: &[TokenWithSpan]) -> Result<Table> {
    let at = create.name.span.start;
    let name = create.name.value.clone();
    let (spec, connector) = check_connector(&create.options, &name, at)?;
    let mut columns = physical_columns(&create.elements, spec, at)?;
    add_computed(&create.elements, &mut columns, context, tokens)?;
    if !columns.iter().any(Column::is_physical) {
        return Err(SqlError::at(at, format!("table '{name}' declares no columns")));
    }
    check_primary_key(&create.elements.primary_key, &columns)?;
    let key = match queryable::is_queryable(spec) {
        true => queryable::key(&create.elements.primary_key, &mut columns, spec, at)?,
        false => Vec::new(),
    };
    let schema = Arc::new(Schema::new(columns.iter().map(|column| column.field.clone()).collect::<Vec<_>>()));
    check_column_options(&create.options, &columns)?;
    if spec.keys {
        keys::check(&create.options, &columns)?;
        keys::check_only(&create.options, &connector, &columns)?;
    }
    check_replay(&create.options, &connector)?;
    if spec.options.iter().any(|option| option.key == "fields.*") {
        fields::check(&create.options, &columns)?;
    }
    let partitions = match &create.partitioned {
        Some(clause) => partition::columns(clause, &columns, spec)?,
        None => PartitionColumns { indexes: key, ..PartitionColumns::default() },
    };
    partition::check_delivery(&connector, (&create.options, at), &partitions, &columns)?;
    let watermark = match &create.elements.watermark {
        Some(clause) => Some(watermark(clause, &schema, &connector, context, tokens)?),
        None => None,
    };
    if let (Some(clause), false) = (&create.elements.watermark, spec.source.is_some()) {
        return Err(SqlError::at(
            clause.at,
            format!("connector '{}' cannot be read, so it has no watermark", spec.name),
        ));
    }
    let PartitionColumns { indexes: partition_by, computed: partition_computed } = partitions;
    Ok(Table { name, columns, schema, connector, spec, partition_by, partition_computed, watermark })
}

fn physical_columns(elements: &TableElements, spec: &ConnectorSpec, at: Location) -> Result<Vec<Column>> {
    let fixed = fixed_columns(spec)?;
    let mut columns: Vec<Column> = Vec::new();
    for clause in &elements.columns {
        let (name, data_type, type_at, nullable) = match clause {
            ColumnClause::Physical { name, data_type, type_at, nullable } => (name, data_type, type_at, nullable),
            ColumnClause::Metadata(clause) => {
                check_new(&clause.name, &columns)?;
                columns.push(metadata::column(clause, spec)?);
                continue;
            }
            ColumnClause::Computed { .. } => continue,
        };
        let data_type = arrow_type(data_type).map_err(|reason| SqlError::at(*type_at, reason))?;
        let field = Field::new(&name.value, data_type, *nullable);
        if !fixed.is_empty() {
            check_fixed(name, &field, *type_at, &fixed, spec)?;
        }
        check_new(name, &columns)?;
        columns.push(Column { field, computed: None, metadata: None });
    }
    if columns.is_empty() {
        columns.extend(fixed.into_iter().map(|field| Column { field, computed: None, metadata: None }));
    }
    if columns.is_empty() && elements.columns.is_empty() {
        return Err(SqlError::at(at, "the table declares no columns"));
    }
    Ok(columns)
}

/// Inserts the computed columns at the positions where they are declared. Each may use the columns before it.
fn add_computed(
    elements: &TableElements,
    columns: &mut Vec<Column>,
    context: &Context<'_>,
    tokens: &[TokenWithSpan],
) -> Result<()> {
    let declares_physical = elements.columns.iter().any(|clause| match clause {
        ColumnClause::Physical { .. } | ColumnClause::Metadata(_) => true,
        ColumnClause::Computed { .. } => false,
    });
    for (index, clause) in elements.columns.iter().enumerate() {
        let ColumnClause::Computed { name, expression } = clause else { continue };
        check_new(name, columns)?;
        let schema = Schema::new(columns.iter().map(|column| column.field.clone()).collect::<Vec<_>>());
        let planned = context.plan_expr(expression, &schema, tokens)?;
        let field = datafusion_common::DFSchema::try_from(schema)
            .and_then(|schema| planned.to_field(&schema))
            .map_err(|error| SqlError::from_plan(&error, tokens).with_place(Some(name.span.start)))?
            .1;
        let refused = |reason| SqlError::at(name.span.start, reason);
        limits::check_type(field.data_type()).map_err(refused)?;
        let computed = inline(planned, columns).map_err(|error| SqlError::from_plan(&error, tokens))?;
        limits::check_computed(&computed).map_err(refused)?;
        let column = Column {
            field: Field::new(&name.value, field.data_type().clone(), field.is_nullable()),
            computed: Some(computed),
            metadata: None,
        };
        let place = if declares_physical { index.min(columns.len()) } else { columns.len() };
        columns.insert(place, column);
    }
    Ok(())
}

/// Replaces columns by their expressions over the physical columns.
fn inline(expr: Expr, columns: &[Column]) -> datafusion_common::Result<Expr> {
    let replaced = expr.transform_up(|expr| {
        let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
        let known = columns.iter().find(|known| known.field.name() == &column.name);
        Ok(match known.and_then(Column::expression) {
            Some(expression) => Transformed::yes(expression),
            None => Transformed::no(expr),
        })
    });
    replaced.map(|replaced| replaced.data)
}

fn check_new(name: &Ident, columns: &[Column]) -> Result<()> {
    if columns.iter().any(|column| *column.field.name() == name.value) {
        return Err(SqlError::at(name.span.start, format!("column '{}' is declared twice", name.value)));
    }
    Ok(())
}

/// The columns that the connector prescribes, from their declaration in its spec.
fn fixed_columns(spec: &ConnectorSpec) -> Result<Vec<Field>> {
    if spec.fixed_columns.is_empty() {
        return Ok(Vec::new());
    }
    let tokens = text::statements_of(&text::tokens_of(&format!("{})", spec.fixed_columns))?);
    let mut parser = Parser::new(&ThalwegDialect).with_tokens_with_locations(tokens.into_iter().flatten().collect());
    let elements = TableElements::parse(&mut parser)?;
    let fields = elements.columns.iter().filter_map(|clause| match clause {
        ColumnClause::Physical { name, data_type, nullable, .. } => {
            Some(arrow_type(data_type).map(|data_type| Field::new(&name.value, data_type, *nullable)))
        }
        ColumnClause::Metadata(_) | ColumnClause::Computed { .. } => None,
    });
    fields.collect::<Result<_, String>>().map_err(SqlError::new)
}

fn check_fixed(name: &Ident, field: &Field, type_at: Location, fixed: &[Field], spec: &ConnectorSpec) -> Result<()> {
    let Some(known) = fixed.iter().find(|known| known.name() == field.name()) else {
        let error =
            SqlError::at(name.span.start, format!("connector '{}' has no column '{}'", spec.name, field.name()));
        let names: Vec<&str> = fixed.iter().map(|known| known.name().as_str()).collect();
        return Err(error.with_hint(format!("it has {}", names.join(", "))).with_suggestion(field.name(), names));
    };
    if !is_part_of(field.data_type(), known.data_type()) {
        let message =
            format!("column '{}' of connector '{}' is {}", field.name(), spec.name, sql_type(known.data_type()));
        return Err(SqlError::at(type_at, message));
    }
    Ok(())
}

/// Whether a declared type is the prescribed one, or a struct with some of its fields.
fn is_part_of(declared: &DataType, fixed: &DataType) -> bool {
    match (declared, fixed) {
        (DataType::Struct(declared), DataType::Struct(fixed)) => declared.iter().all(|field| {
            fixed.find(field.name()).is_some_and(|(_, known)| is_part_of(field.data_type(), known.data_type()))
        }),
        _ => declared == fixed,
    }
}

fn check_primary_key(key: &[Ident], columns: &[Column]) -> Result<()> {
    for name in key {
        let Some(column) = columns.iter().find(|column| *column.field.name() == name.value) else {
            return Err(SqlError::at(name.span.start, format!("unknown column '{}'", name.value))
                .with_suggestion(&name.value, columns.iter().map(|column| column.field.name().as_str())));
        };
        if column.metadata.is_some() {
            let message = format!("'{}' is a METADATA column, which cannot be part of a PRIMARY KEY", name.value);
            return Err(SqlError::at(name.span.start, message));
        }
    }
    Ok(())
}

/// Checks options whose value names a column.
fn check_column_options(options: &[Written], columns: &[Column]) -> Result<()> {
    let physical = || columns.iter().filter(|column| column.is_physical()).map(|column| column.field.name().as_str());
    for option in options {
        if option.key == "replay.column" {
            let found = columns.iter().find(|column| *column.field.name() == option.value);
            if !found.is_some_and(|column| column.is_physical() && is_timestamp(column.field.data_type())) {
                let message = format!("option 'replay.column': '{}' is not a physical timestamp column", option.value);
                return Err(SqlError::at(option.value_at, message).with_suggestion(&option.value, physical()));
            }
        }
    }
    Ok(())
}

/// Refuses to replay a table whose splits are found while the job runs. The replay clock starts at the earliest first record of all splits, and splits
/// that are found later may hold earlier ones: these would come at once, in no order.
fn check_replay(options: &[Written], connector: &TableConnector) -> Result<()> {
    let replayed = options.iter().find(|option| option.key == "replay.column");
    let Some(option) = replayed.filter(|_| connector.finds_splits()) else { return Ok(()) };
    let remedy = connector.finds_splits_by().map_or_else(String::new, |finds| format!(": leave its '{finds}' out"));
    let message = format!(
        "option 'replay.column' needs a table whose splits are known when the job begins, and this one finds further ones\
         {remedy}"
    );
    Err(SqlError::at(option.key_at, message))
}

fn watermark(
    clause: &WatermarkClause,
    schema: &Schema,
    connector: &TableConnector,
    context: &Context<'_>,
    tokens: &[TokenWithSpan],
) -> Result<Watermark> {
    let name = &clause.column.value;
    let Some((column, field)) = schema.column_with_name(name) else {
        return Err(SqlError::at(clause.column.span.start, format!("unknown column '{name}'"))
            .with_suggestion(name, schema.fields().iter().map(|field| field.name().as_str())));
    };
    if !is_timestamp(field.data_type()) {
        let message = format!("event time must be a TIMESTAMP, but '{name}' is {}", sql_type(field.data_type()));
        return Err(SqlError::at(clause.column.span.start, message));
    }
    let expr = context.plan_expr(&clause.expression, schema, tokens)?;
    let result = datafusion_common::DFSchema::try_from(schema.clone()).and_then(|schema| expr.get_type(&schema));
    let result = result.map_err(|error| SqlError::from_plan(&error, tokens).with_place(Some(clause.at)))?;
    if !is_timestamp(&result) {
        return Err(SqlError::at(clause.at, format!("a watermark must be a TIMESTAMP, not {}", sql_type(&result))));
    }
    let idle = connector.option("scan.watermark.idle-timeout").and_then(parse_duration);
    let idle_timeout_micros = idle.and_then(|idle| i64::try_from(idle.as_micros()).ok());
    if expr.column_refs().is_empty() {
        return Err(SqlError::at(clause.at, "a watermark must be computed from its column, not be the same for ever"));
    }
    let promise = match delay_of(&expr, name) {
        Some(micros) if micros < 0 => {
            return Err(SqlError::at(clause.at, "a watermark cannot be ahead of its column"));
        }
        Some(micros) => Promise::Delay { micros },
        None => Promise::Expression(expr),
    };
    Ok(Watermark { column, promise, idle_timeout_micros })
}

/// The delay in microseconds of `column` or `column - interval`; negative for `column + interval`. `None` for other
/// expressions.
fn delay_of(expr: &Expr, name: &str) -> Option<i64> {
    match expr {
        Expr::Column(column) if column.name == name => Some(0),
        Expr::Cast(cast) => delay_of(&cast.expr, name),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => {
            let base = delay_of(left, name)?;
            let Expr::Literal(value, _) = right.as_ref() else { return None };
            base.checked_add(interval_micros(value)?)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => {
            let (time, interval) = if matches!(**left, Expr::Literal(..)) { (right, left) } else { (left, right) };
            let Expr::Literal(value, _) = interval.as_ref() else { return None };
            delay_of(time, name)?.checked_sub(interval_micros(value)?)
        }
        _ => None,
    }
}
