//! The tables and views of a script, as of one statement. They are local to the script.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::Column as PlanColumn;
use datafusion_expr::{Cast, Expr, LogicalPlan, TableSource, TableType};
use thalweg_types::connector::{ConnectorSpec, MetadataSpec, TableConnector};

/// The tables and views of a script.
#[derive(Debug, Default, Clone)]
pub(crate) struct Catalog {
    entries: BTreeMap<String, Entry>,
}

/// What a name stands for.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    Table(Arc<Table>),
    View(Arc<View>),
}

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
    /// Physical and computed columns, in the order of the declaration.
    pub(crate) schema: SchemaRef,
    pub(crate) connector: TableConnector,
    pub(crate) spec: &'static ConnectorSpec,
    /// `PARTITIONED BY`: indexes among the columns that are written, and behind these the computed ones; or the `PRIMARY KEY` by
    /// which newest rows are kept.
    pub(crate) partition_by: Vec<usize>,
    /// The computed ones of `PARTITIONED BY`: indexes among all columns.
    pub(crate) partition_computed: Vec<usize>,
    pub(crate) watermark: Option<Watermark>,
}

/// Identity of a table. A name is not enough: after `DROP TABLE` another table may have it. The key is an address, so
/// it is valid only while something holds the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TableKey(*const Table);

impl TableKey {
    pub(crate) fn of(table: &Arc<Table>) -> Self {
        Self(Arc::as_ptr(table))
    }
}

#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) field: Field,
    /// For a computed column, its expression over the physical columns.
    pub(crate) computed: Option<Expr>,
    /// For a physical column that is one of the connector's metadata.
    pub(crate) metadata: Option<Metadata>,
}

/// A column of the connector's metadata.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub(crate) spec: &'static MetadataSpec,
    /// The column with the connector's type and key: as a source gives it, and a sink takes it.
    pub(crate) own: Field,
    /// Whether `INSERT` passes it over.
    pub(crate) is_virtual: bool,
}

impl Column {
    pub(crate) fn is_physical(&self) -> bool {
        self.computed.is_none()
    }

    /// Whether `INSERT` gives it a value.
    pub(crate) fn is_written(&self) -> bool {
        self.is_physical() && !self.metadata.as_ref().is_some_and(|metadata| metadata.is_virtual)
    }

    /// Its expression over the physical columns, unless it is one of them as it is.
    pub(crate) fn expression(&self) -> Option<Expr> {
        let cast = |metadata: &Metadata| {
            let own = Expr::Column(PlanColumn::from_name(self.field.name()));
            let is_own = metadata.own.data_type() == self.field.data_type();
            (!is_own).then(|| Expr::Cast(Cast::new(Box::new(own), self.field.data_type().clone())))
        };
        self.computed.clone().or_else(|| cast(self.metadata.as_ref()?))
    }
}

#[derive(Debug)]
pub(crate) struct Watermark {
    /// The event-time column's index in the table.
    pub(crate) column: usize,
    pub(crate) promise: Promise,
    pub(crate) idle_timeout_micros: Option<i64>,
}

/// How the watermark follows from a record.
#[derive(Debug)]
pub(crate) enum Promise {
    Delay {
        micros: i64,
    },
    /// An expression over the table's columns.
    Expression(Expr),
}

#[derive(Debug)]
pub(crate) struct View {
    pub(crate) plan: LogicalPlan,
    pub(crate) schema: SchemaRef,
}

impl Catalog {
    pub(crate) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    pub(crate) fn insert(&mut self, name: String, entry: Entry) {
        self.entries.insert(name, entry);
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.entries.remove(name);
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// What DataFusion gets when it plans a scan of this name.
    pub(crate) fn source(&self, name: &str) -> Option<Arc<dyn TableSource>> {
        Some(match self.entries.get(name)? {
            Entry::Table(table) => Arc::new(StreamTable(table.clone())),
            Entry::View(view) => Arc::new(StreamView(view.clone())),
        })
    }
}

impl Entry {
    pub(crate) fn schema(&self) -> &SchemaRef {
        match self {
            Self::Table(table) => &table.schema,
            Self::View(view) => &view.schema,
        }
    }
}

impl Table {
    /// The columns that `INSERT` fills. Metadata that gets no value is the connector's to choose.
    pub(crate) fn written(&self) -> Schema {
        let fields = self.columns.iter().filter(|column| column.is_written()).map(|column| match &column.metadata {
            Some(_) => column.field.clone().with_nullable(true),
            None => column.field.clone(),
        });
        Schema::new(fields.collect::<Vec<_>>())
    }

    /// The same columns as the sink takes them.
    pub(crate) fn sent(&self) -> Schema {
        let fields = self.columns.iter().filter(|column| column.is_written()).map(|column| match &column.metadata {
            Some(metadata) => metadata.own.clone().with_nullable(true),
            None => column.field.clone(),
        });
        Schema::new(fields.collect::<Vec<_>>())
    }
}

/// A table, as the source of a scan.
pub(crate) struct StreamTable(pub(crate) Arc<Table>);

impl TableSource for StreamTable {
    fn schema(&self) -> SchemaRef {
        self.0.schema.clone()
    }
}

struct StreamView(Arc<View>);

impl TableSource for StreamView {
    fn schema(&self) -> SchemaRef {
        self.0.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.0.plan))
    }
}

/// Whether a column can carry event time.
pub(crate) fn is_timestamp(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_, _))
}
