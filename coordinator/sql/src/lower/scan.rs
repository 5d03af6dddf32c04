//! Scans of tables. Each table has one source, with the columns that any query of the script uses.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::{DFSchema, ScalarValue, plan_datafusion_err};
use datafusion_expr::{Expr, ExprSchemable, TableScan};
use thalweg_types::{
    ExprBytes, OperatorId, OperatorKind,
    connector::{Fields, TABLE_COLUMNS},
    graph::{Parallelism, SourceOperator, WatermarkGenerator, WatermarkStrategy},
};

use super::{
    Lowerer,
    graph::Draft,
    relation::{Base, Branch, Relation, RelationColumn, Role, Stage, column},
};
use crate::{
    catalog::{Column, Promise, StreamTable, Table, TableKey, Watermark},
    errors::Result,
    prune::{Need, TableUse, collect},
};

impl Lowerer<'_> {
    pub(super) fn scan(&mut self, scan: &TableScan) -> Result<Relation> {
        let Some(StreamTable(table)) = scan.source.downcast_ref::<StreamTable>() else {
            return Err(self.refuse(&[], Some("FROM"), &format!("'{}' cannot be read", scan.table_name)));
        };
        if table.spec.source.is_none() {
            let message =
                format!("table '{}' cannot be read: connector '{}' is a sink only", table.name, table.spec.name);
            return Err(self.refuse(&[], Some(&table.name), &message));
        }
        // A record has its key's columns, too; a file lacks those of its directory.
        if !table.partition_by.is_empty() && table.connector.written_path().is_some() {
            let message = format!("table '{}' is PARTITIONED BY columns, and can be written only", table.name);
            return Err(self.refuse(&[], Some(&table.name), &message));
        }
        if let Some(reason) = table.connector.unfit_to_read() {
            let message = format!("table '{}' cannot be read: {reason}", table.name);
            return Err(self.refuse(&[], Some(&table.name), &message));
        }
        let source = self.source(table)?;
        let schema = self.graph.operator(source).output.clone();
        let indexes: Vec<usize> = scan.projection.clone().unwrap_or_else(|| (0..table.schema.fields().len()).collect());
        let event_time = table.watermark.as_ref().map(|watermark| watermark.column);
        let mut exprs = Vec::with_capacity(indexes.len());
        let mut columns = Vec::with_capacity(indexes.len());
        for index in indexes {
            let field = table.schema.field(index);
            exprs.push(match schema.column_with_name(field.name()) {
                Some(_) => column(field.name()),
                None => unused(field.data_type()),
            });
            let role = Role { event_time: event_time == Some(index), ..Role::default() };
            columns.push(RelationColumn { name: field.name().clone(), role });
        }
        let base = Base { operators: vec![source], schema, stage: Stage::None };
        let width = columns.len();
        Ok(Relation { branches: vec![Branch { base, filter: None, exprs }], columns, width })
    }

    fn source(&mut self, table: &Arc<Table>) -> Result<OperatorId> {
        if let Some(known) = self.sources.get(&TableKey::of(table)) {
            return Ok(*known);
        }
        let used = self.uses.tables.remove(&TableKey::of(table)).unwrap_or_default();
        let (kind, output) = self.source_operator(table, &used).map_err(|error| self.failed(&error))?;
        let draft = Draft { kind: OperatorKind::Source(Box::new(kind)), parallelism: Parallelism::Job, output };
        let id = self.graph.add(draft, &[]);
        self.sources.insert(TableKey::of(table), id);
        Ok(id)
    }

    fn source_operator(
        &self,
        table: &Table,
        used: &TableUse,
    ) -> datafusion_common::Result<(SourceOperator, SchemaRef)> {
        let watermark = table.watermark.as_ref().filter(|_| used.event_time);
        let outputs = output_needs(table, used, watermark)?;
        let physical_needs = physical_needs(table, &outputs)?;
        let physical: SchemaRef =
            Arc::new(Schema::new_with_metadata(physical_fields(table, &physical_needs)?, declared_columns(table)));
        let df_physical = DFSchema::try_from(physical.as_ref().clone())?;
        let mut fields = Vec::with_capacity(outputs.len());
        let mut exprs = Vec::with_capacity(outputs.len());
        for index in outputs.keys() {
            let known = &table.columns[*index].field;
            let expr = table.columns[*index].expression().unwrap_or_else(|| column(known.name()));
            let given = expr.to_field(&df_physical)?.1;
            fields.push(Field::new(known.name(), given.data_type().clone(), given.is_nullable()));
            exprs.push(expr);
        }
        let output: SchemaRef = Arc::new(Schema::new(fields));
        let projection = match output.fields() == physical.fields() {
            true => None,
            false => Some(
                exprs.iter().map(|expr| self.encoded(expr)).collect::<datafusion_common::Result<Vec<ExprBytes>>>()?,
            ),
        };
        let mut predicates = used.predicates();
        predicates.retain(|predicate| predicate.path.first().is_some_and(|name| is_as_read(table, &physical, name)));
        let operator = SourceOperator {
            table: table.name.clone(),
            connector: table.connector.clone(),
            physical,
            predicates,
            projection,
            watermark: watermark.map(|watermark| self.strategy(watermark, table, &output)).transpose()?,
        };
        Ok((operator, output))
    }

    fn strategy(
        &self,
        watermark: &Watermark,
        table: &Table,
        output: &Schema,
    ) -> datafusion_common::Result<WatermarkStrategy> {
        let generator = match &watermark.promise {
            Promise::Delay { micros } => WatermarkGenerator::BoundedDelay { delay_micros: *micros },
            Promise::Expression(expr) => WatermarkGenerator::Expression(self.encoded(expr)?),
        };
        let column = output.index_of(table.schema.field(watermark.column).name())?;
        Ok(WatermarkStrategy { column, generator, idle_timeout_micros: watermark.idle_timeout_micros })
    }
}

/// The columns that the source emits: those used and those of the watermark. At least one, because a reader must
/// produce something.
fn output_needs(
    table: &Table,
    used: &TableUse,
    watermark: Option<&Watermark>,
) -> datafusion_common::Result<BTreeMap<usize, Need>> {
    let mut outputs = used.columns.clone();
    if let Some(watermark) = watermark {
        outputs.insert(watermark.column, Need::Whole);
        if let Promise::Expression(expr) = &watermark.promise {
            let schema = DFSchema::try_from(table.schema.as_ref().clone())?;
            collect(expr, &schema, Need::Whole, &mut outputs);
        }
    }
    if outputs.is_empty() {
        let fixed_width = |index: &usize| table.columns[*index].field.data_type().is_primitive();
        let physical: Vec<usize> =
            (0..table.columns.len()).filter(|index| table.columns[*index].is_physical()).collect();
        let cheapest = physical.iter().copied().find(fixed_width).or(physical.first().copied());
        outputs.extend(cheapest.map(|index| (index, Need::Presence)));
    }
    Ok(outputs)
}

/// Schema metadata with the names of all columns of records that the table declares, in order, if its records have no
/// names.
fn declared_columns(table: &Table) -> HashMap<String, String> {
    let formats = [table.connector.value_format(), table.connector.key_format()];
    if !formats.into_iter().flatten().any(|format| matches!(format.fields, Fields::Ordered | Fields::Only)) {
        return HashMap::new();
    }
    let declared = table.columns.iter().filter(|column| column.is_physical() && column.metadata.is_none());
    let names: Vec<serde_json::Value> = declared.map(|column| column.field.name().as_str().into()).collect();
    HashMap::from([(TABLE_COLUMNS.to_owned(), serde_json::Value::from(names).to_string())])
}

/// The columns that the reader must produce for these outputs.
fn physical_needs(table: &Table, outputs: &BTreeMap<usize, Need>) -> datafusion_common::Result<BTreeMap<usize, Need>> {
    let schema = DFSchema::try_from(table.schema.as_ref().clone())?;
    let mut needs = BTreeMap::new();
    for (index, need) in outputs {
        match &table.columns[*index].computed {
            Some(expr) => collect(expr, &schema, Need::Whole, &mut needs),
            None => collect(&column(table.columns[*index].field.name()), &schema, need.clone(), &mut needs),
        }
    }
    if let Some(name) = table.connector.option("replay.column") {
        let is_it = |column: &Column| column.field.name() == name && column.is_physical();
        let index = table.columns.iter().position(is_it);
        let unknown =
            || plan_datafusion_err!("table '{}': its replay.column '{name}' is not one of its columns", table.name);
        needs.entry(index.ok_or_else(unknown)?).or_insert(Need::Whole);
    }
    if needs.is_empty()
        && let Some(first) = table.columns.iter().position(Column::is_physical)
    {
        needs.insert(first, Need::Presence);
    }
    Ok(needs)
}

/// What the reader must produce: of the connector's metadata, what it has.
fn physical_fields(table: &Table, needs: &BTreeMap<usize, Need>) -> datafusion_common::Result<Vec<Field>> {
    let field = |(index, need): (&usize, &Need)| {
        let Column { field, metadata, .. } = &table.columns[*index];
        match metadata {
            None => Ok(need.prune(field)),
            Some(metadata) if metadata.spec.read => Ok(metadata.own.clone()),
            Some(metadata) => Err(plan_datafusion_err!(
                "column '{}' of table '{}' is written only: connector '{}' does not read metadata '{}'",
                field.name(),
                table.name,
                table.spec.name,
                metadata.spec.key
            )),
        }
    };
    needs.iter().map(field).collect()
}

/// Whether a column is read, and has the values that the reader gives.
fn is_as_read(table: &Table, physical: &Schema, name: &str) -> bool {
    let is_it = |column: &&Column| column.field.name() == name;
    let column = table.columns.iter().find(is_it).filter(|_| physical.column_with_name(name).is_some());
    column.is_some_and(|column| column.expression().is_none())
}

/// A NULL in place of a column that nothing uses.
fn unused(data_type: &DataType) -> Expr {
    Expr::Literal(ScalarValue::try_from(data_type).unwrap_or(ScalarValue::Null), None)
}
