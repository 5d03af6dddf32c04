//! Plans a script: its statements in order, then one job graph for all of its queries.
//!
//! ```text
//! text -> tokens -> statements -> catalog, settings, (query, where its rows go)… -> graph
//! ```
//!
//! A statement sees the tables and views declared before it. Settings hold for the whole script.

use std::{cell::Cell, collections::BTreeMap, sync::Arc};

use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::Column as PlanColumn;
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use sqlparser::{
    ast::Ident,
    tokenizer::{Location, TokenWithSpan},
};
use thalweg_functions::names::sql_type;
use thalweg_types::{
    JobGraph,
    settings::{JobSettings, SETTINGS, SettingError},
};

use crate::{
    catalog::{Catalog, Entry, Table, View},
    context::{Context, Taken},
    ddl::{self, CreateTable, CreateView, Statement, StatementKind},
    errors::{Result, SqlError},
    explain::explain,
    functions::Functions,
    insert,
    lower::{self, Output, Target},
    optimize::{analyze, optimize},
    text,
};

/// The stack for planning; only the part that is used takes memory. Without optimisation 300 levels overflowed 2 MiB.
/// Here the 8000 levels that `text::check_nesting` allows have more than four times as much each.
const STACK_BYTES: usize = 256 << 20;

/// A planned script.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedScript {
    /// The dataflow; `None` where the script has neither an insert nor a query.
    pub graph: Option<JobGraph>,
    /// The bare queries, whose rows the client fetches.
    pub queries: Vec<PlannedQuery>,
    /// The answers of `EXPLAIN`, `DESCRIBE` and `SHOW`, in order.
    pub explain: Vec<String>,
    /// The settings of the script and of the caller.
    pub settings: JobSettings,
}

/// A bare query of a script.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedQuery {
    /// Its number among the script's bare queries, from 0. Its `Collect` operator has the same number.
    pub query: u32,
    /// The schema of its rows.
    pub schema: SchemaRef,
}

/// A table or view, for listings and completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogTable {
    /// Its name.
    pub name: String,
    /// Its connector; `None` for a view.
    pub connector: Option<String>,
    /// Its columns.
    pub columns: Vec<CatalogColumn>,
}

/// A column of a table or view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogColumn {
    /// Its name.
    pub name: String,
    /// Its SQL type.
    pub data_type: String,
    /// Whether it may be NULL.
    pub nullable: bool,
}

/// Plans a script. `overrides` win over the script's `SET` statements.
///
/// # Errors
/// The first error of the script, with its place in the text.
pub fn plan(sql: &str, overrides: &BTreeMap<String, String>) -> Result<PlannedScript> {
    // Some editors put a byte order mark before UTF-8 text.
    let sql = sql.strip_prefix('\u{feff}').unwrap_or(sql);
    with_room(|| {
        let tokens = text::tokens_of(sql)?;
        text::check_queries(&tokens)?;
        text::refuse_hints(sql)?;
        let functions = Functions::new();
        let mut interpreter = Interpreter::new(&functions, &tokens);
        for statement in text::statements_of(&tokens) {
            text::check_nesting(&statement)?;
            interpreter.run(ddl::parse(statement)?)?;
        }
        interpreter.finish(overrides)
    })
}

/// Runs `plan` on a large stack. Walks over expressions and types recurse, in sqlparser and DataFusion too, as deep as
/// `text::check_nesting` allows.
pub fn with_room<T>(plan: impl FnOnce() -> T) -> T {
    stacker::grow(STACK_BYTES, plan)
}

/// The tables and views that a script declares. Statements that cannot be read are skipped, because the text may be
/// unfinished.
#[must_use]
pub fn catalog(sql: &str) -> Vec<CatalogTable> {
    with_room(|| declared(sql))
}

fn declared(sql: &str) -> Vec<CatalogTable> {
    let Ok(tokens) = text::tokens_of(sql) else { return Vec::new() };
    if text::check_queries(&tokens).is_err() {
        return Vec::new();
    }
    let functions = Functions::new();
    let mut interpreter = Interpreter::new(&functions, &tokens);
    let statements = text::statements_of(&tokens).into_iter();
    for statement in statements.filter(|statement| text::check_nesting(statement).is_ok()) {
        let declares = |kind: &StatementKind| {
            matches!(kind, StatementKind::CreateTable(_) | StatementKind::CreateView(_) | StatementKind::Drop { .. })
        };
        if let Some(statement) = ddl::parse(statement).ok().filter(|statement| declares(&statement.kind)) {
            // A declaration with an error has nothing to complete.
            let _ = interpreter.run(statement);
        }
    }
    interpreter.catalog.entries().map(|(name, entry)| listed(name, entry)).collect()
}

/// Carries out the statements of a script, one after the other.
struct Interpreter<'a> {
    functions: &'a Functions,
    script: &'a [TokenWithSpan],
    catalog: Catalog,
    settings: BTreeMap<String, String>,
    outputs: Vec<Output>,
    /// Queries to explain, with the index of their answer in `explain`.
    explained: Vec<(usize, Output)>,
    explain: Vec<String>,
    queries: u32,
    /// The number of relations in all plans so far.
    relations: Cell<usize>,
    /// The start of the statement set that is open.
    set: Option<Location>,
}

impl<'a> Interpreter<'a> {
    fn new(functions: &'a Functions, script: &'a [TokenWithSpan]) -> Self {
        Self {
            functions,
            script,
            catalog: Catalog::default(),
            settings: BTreeMap::new(),
            outputs: Vec::new(),
            explained: Vec::new(),
            explain: Vec::new(),
            queries: 0,
            relations: Cell::new(0),
            set: None,
        }
    }

    fn context(&self) -> Context<'_> {
        Context { functions: self.functions, catalog: &self.catalog, relations: &self.relations }
    }

    fn run(&mut self, statement: Statement) -> Result<()> {
        let Statement { kind, tokens } = statement;
        self.follow_set(&kind, &tokens)?;
        match kind {
            StatementKind::CreateTable(create) => self.create_table(&create, &tokens),
            StatementKind::CreateView(create) => self.create_view(&create, &tokens),
            StatementKind::Drop { view, if_exists, names } => self.drop(view, if_exists, &names),
            StatementKind::Set { key, value, at } => self.set(key, value, at),
            StatementKind::ShowTables => {
                let names: Vec<&str> = self.catalog.names().collect();
                self.explain.push(names.join("\n"));
                Ok(())
            }
            StatementKind::Describe(name) => self.describe(&name),
            StatementKind::SetBegin | StatementKind::SetEnd => Ok(()),
            StatementKind::Explain(inner) => {
                let output = self.output(ddl::parse(inner)?, 0)?;
                self.explained.push((self.explain.len(), output));
                self.explain.push(String::new());
                Ok(())
            }
            kind @ (StatementKind::Query(_) | StatementKind::Insert(_)) => {
                let is_query = matches!(kind, StatementKind::Query(_));
                let output = self.output(Statement { kind, tokens }, self.queries)?;
                self.queries += u32::from(is_query);
                self.outputs.push(output);
                Ok(())
            }
        }
    }

    /// Tracks whether a statement set is open. An open set may have inserts only.
    fn follow_set(&mut self, kind: &StatementKind, tokens: &[TokenWithSpan]) -> Result<()> {
        let Some(at) = tokens.first().map(|token| token.span.start) else { return Ok(()) };
        let executes = text::opens_set(tokens) && matches!(kind, StatementKind::Insert(_));
        let begins = executes || matches!(kind, StatementKind::SetBegin);
        match (begins, kind, self.set) {
            (true, _, None) => self.set = Some(at),
            (true, _, Some(_)) => return Err(SqlError::at(at, "a STATEMENT SET within another")),
            (false, StatementKind::SetEnd, Some(_)) => self.set = None,
            (false, StatementKind::SetEnd, None) => return Err(SqlError::at(at, "END without BEGIN STATEMENT SET")),
            (false, StatementKind::Insert(_), _) | (false, _, None) => {}
            (false, _, Some(_)) => {
                return Err(SqlError::at(at, "a STATEMENT SET has no other statements than INSERT INTO")
                    .with_hint("END; ends the set"));
            }
        }
        Ok(())
    }

    fn output(&self, statement: Statement, query: u32) -> Result<Output> {
        let Statement { kind, tokens } = statement;
        match kind {
            StatementKind::Query(query_ast) => {
                let plan = self.context().plan_query(&query_ast, Taken::ByPlace, &tokens)?;
                let plan = optimize(plan, self.functions, &tokens)?;
                Ok(Output { plan, target: Target::Client(query), tokens })
            }
            StatementKind::Insert(insert) => {
                let plan = self.context().plan_query(&insert.query, Taken::ByPlace, &tokens)?;
                let plan = optimize(plan, self.functions, &tokens)?;
                let table = self.sink_table(&insert.table.value, insert.table.span.start)?;
                let target = insert::target(&insert, &table, &plan)?;
                Ok(Output { plan, target, tokens })
            }
            StatementKind::CreateTable(_)
            | StatementKind::CreateView(_)
            | StatementKind::Set { .. }
            | StatementKind::Explain(_)
            | StatementKind::Drop { .. }
            | StatementKind::ShowTables
            | StatementKind::Describe(_)
            | StatementKind::SetBegin
            | StatementKind::SetEnd => {
                let place = tokens.first().map(|token| token.span.start);
                Err(SqlError::new("only queries and INSERT can be explained").with_place(place))
            }
        }
    }

    fn sink_table(&self, name: &str, at: Location) -> Result<Arc<Table>> {
        match self.catalog.get(name) {
            Some(Entry::Table(table)) if table.spec.sink.is_none() => {
                let message =
                    format!("table '{name}' cannot be written: connector '{}' is a source only", table.spec.name);
                Err(SqlError::at(at, message))
            }
            Some(Entry::Table(table)) => Ok(table.clone()),
            Some(Entry::View(_)) => Err(SqlError::at(at, format!("'{name}' is a view, so it cannot be written"))),
            None => Err(self.unknown(name, at)),
        }
    }

    fn unknown(&self, name: &str, at: Location) -> SqlError {
        SqlError::at(at, format!("unknown table '{name}'")).with_suggestion(name, self.catalog.names())
    }

    fn create_table(&mut self, create: &CreateTable, tokens: &[TokenWithSpan]) -> Result<()> {
        if self.exists(&create.name, create.if_not_exists)? {
            return Ok(());
        }
        let table = ddl::build(create, &self.context(), tokens)?;
        self.catalog.insert(table.name.clone(), Entry::Table(Arc::new(table)));
        Ok(())
    }

    fn create_view(&mut self, create: &CreateView, tokens: &[TokenWithSpan]) -> Result<()> {
        if !create.or_replace && self.exists(&create.name, create.if_not_exists)? {
            return Ok(());
        }
        let at = create.name.span.start;
        let taken = if create.columns.is_empty() { Taken::ByName } else { Taken::ByPlace };
        let plan = self.context().plan_query(&create.query, taken, tokens)?;
        let plan = analyze(plan, self.functions, tokens)?;
        let given = plan.schema().fields().len();
        if !create.columns.is_empty() && create.columns.len() != given {
            let message = format!("{} columns are named, but the query gives {given}", create.columns.len());
            return Err(SqlError::at(at, message));
        }
        let renamed =
            renamed(plan, &create.columns).map_err(|error| SqlError::from_plan(&error, tokens).with_place(Some(at)))?;
        let schema: SchemaRef = Arc::new(Schema::new(renamed.schema().fields().clone()));
        let mut names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(SqlError::at(at, format!("view '{}' has two columns named '{}'", create.name.value, pair[0])));
        }
        let view = View { plan: renamed, schema };
        self.catalog.insert(create.name.value.clone(), Entry::View(Arc::new(view)));
        Ok(())
    }

    fn exists(&self, name: &Ident, tolerated: bool) -> Result<bool> {
        match self.catalog.get(&name.value) {
            None => Ok(false),
            Some(_) if tolerated => Ok(true),
            Some(_) => Err(SqlError::at(name.span.start, format!("'{}' exists already", name.value))),
        }
    }

    fn drop(&mut self, view: bool, if_exists: bool, names: &[Ident]) -> Result<()> {
        for name in names {
            let at = name.span.start;
            match (self.catalog.get(&name.value), view) {
                (Some(Entry::View(_)), true) | (Some(Entry::Table(_)), false) => self.catalog.remove(&name.value),
                (Some(Entry::View(_)), false) => {
                    return Err(SqlError::at(at, format!("'{}' is a view", name.value)).with_hint("DROP VIEW"));
                }
                (Some(Entry::Table(_)), true) => {
                    return Err(SqlError::at(at, format!("'{}' is a table", name.value)).with_hint("DROP TABLE"));
                }
                (None, _) if if_exists => {}
                (None, _) => return Err(self.unknown(&name.value, at)),
            }
        }
        Ok(())
    }

    fn set(&mut self, key: String, value: String, at: Location) -> Result<()> {
        let one = BTreeMap::from([(key.clone(), value.clone())]);
        JobSettings::check_given(&one).map_err(|error| setting_error(&error).with_place(Some(at)))?;
        self.settings.insert(key, value);
        Ok(())
    }

    fn describe(&mut self, name: &Ident) -> Result<()> {
        let Some(entry) = self.catalog.get(&name.value) else {
            return Err(self.unknown(&name.value, name.span.start));
        };
        let lines = listed(&name.value, entry).columns.into_iter().enumerate().map(|(index, column)| {
            let null = if column.nullable { "" } else { " NOT NULL" };
            format!("{} {}{null}{}", column.name, column.data_type, metadata_text(entry, index))
        });
        let mut lines: Vec<String> = lines.collect();
        if let Entry::Table(table) = entry
            && let Some(watermark) = &table.watermark
        {
            lines.push(format!("WATERMARK FOR {}", table.schema.field(watermark.column).name()));
        }
        self.explain.push(lines.join("\n"));
        Ok(())
    }

    fn finish(mut self, overrides: &BTreeMap<String, String>) -> Result<PlannedScript> {
        if let Some(at) = self.set {
            return Err(SqlError::at(at, "this STATEMENT SET has no END"));
        }
        JobSettings::check_given(overrides).map_err(|error| setting_error(&error))?;
        self.settings.extend(overrides.iter().map(|(key, value)| (key.clone(), value.clone())));
        let settings = JobSettings::parse(&self.settings).map_err(|error| setting_error(&error))?;
        for (place, output) in std::mem::take(&mut self.explained) {
            let graph = lower::lower(&[output], &self.settings, &settings, self.script)?;
            self.explain[place] = explain(&graph);
        }
        let graph = match self.outputs.is_empty() {
            true => None,
            false => Some(lower::lower(&self.outputs, &self.settings, &settings, self.script)?),
        };
        let queries = graph.as_ref().map_or_else(Vec::new, queries_of);
        Ok(PlannedScript { graph, queries, explain: self.explain, settings })
    }
}

fn queries_of(graph: &JobGraph) -> Vec<PlannedQuery> {
    graph.collects().map(|(operator, query)| PlannedQuery { query, schema: operator.output.clone() }).collect()
}

fn setting_error(error: &SettingError) -> SqlError {
    let made = SqlError::new(error.to_string());
    match error {
        SettingError::Unknown { key } => made.with_suggestion(key, SETTINGS.iter().map(|spec| spec.key)),
        SettingError::Value { .. } | SettingError::Empty { .. } | SettingError::Fixed { .. } => made,
    }
}

/// The view's plan with the column names that the view declares.
fn renamed(plan: LogicalPlan, names: &[Ident]) -> datafusion_common::Result<LogicalPlan> {
    if names.is_empty() {
        return Ok(plan);
    }
    let columns = plan.schema().iter().zip(names);
    let exprs: Vec<Expr> = columns
        .map(|((qualifier, field), name)| {
            Expr::Column(PlanColumn::from((qualifier, field.as_ref()))).alias(&name.value)
        })
        .collect();
    LogicalPlanBuilder::from(plan).project(exprs)?.build()
}

/// How a column of the connector's metadata is declared, after its type.
fn metadata_text(entry: &Entry, index: usize) -> String {
    let Entry::Table(table) = entry else { return String::new() };
    let column = &table.columns[index];
    let Some(metadata) = &column.metadata else { return String::new() };
    let is_named_so = metadata.spec.key == column.field.name();
    let from = if is_named_so { String::new() } else { format!(" FROM '{}'", metadata.spec.key) };
    format!(" METADATA{from}{}", if metadata.is_virtual { " VIRTUAL" } else { "" })
}

fn listed(name: &str, entry: &Entry) -> CatalogTable {
    let columns = entry.schema().fields().iter().map(|field| CatalogColumn {
        name: field.name().clone(),
        data_type: sql_type(field.data_type()),
        nullable: field.is_nullable(),
    });
    let connector = match entry {
        Entry::Table(table) => Some(table.spec.name.to_owned()),
        Entry::View(_) => None,
    };
    CatalogTable { name: name.to_owned(), connector, columns: columns.collect() }
}
