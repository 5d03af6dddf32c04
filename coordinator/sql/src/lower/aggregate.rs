//! `GROUP BY` with a window: one `WindowAggregate`, or a local and a global one on the two sides of the exchange.
//!
//! The aggregate takes over a window table function directly below it (`Windowing::EventTime`). If the input has window
//! columns already, it uses them (`Windowing::Attached`). Every argument becomes a column of the input, because
//! operators aggregate columns only.

use std::{collections::BTreeSet, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion_common::{
    Column,
    tree_node::{Transformed, TreeNode},
};
use datafusion_expr::{
    Aggregate, Expr,
    utils::{conjunction, split_conjunction_owned},
};
use thalweg_types::{
    OperatorId, OperatorKind,
    graph::{AggregatePhase, Parallelism, WindowAggregate, WindowColumns, WindowSpec, Windowing},
};

use super::{
    Lowerer, WindowTag,
    aggregate_calls::{Calls, refuse_reason},
    calc::{Emitted, Layout, Wanted},
    graph::{Draft, Feed, Routing},
    relation::{
        Base, Branch, PendingWindow, Relation, RelationColumn, Role, Stage, WindowPart, at, index_in, names_any,
        position_of, unique,
    },
    window::{parted, without_window_columns},
};
use crate::{
    errors::Result,
    explain::expression_text,
    window_tvf::{WINDOW_COLUMNS, window_type},
};

/// The groups of an aggregate.
struct Grouping {
    tag: WindowTag,
    /// The window parts that the query groups by.
    grouped: WindowColumns,
    /// For each group expression, its part of the window or the index of its key.
    members: Vec<Member>,
    /// Names and bound expressions.
    keys: Vec<(String, Expr)>,
}

enum Member {
    Window(WindowPart),
    Key(usize),
}

/// The laid-out input of the aggregate.
struct Input {
    emitted: Emitted,
    windowing: Windowing,
    /// Indexes of the keys in the emitted schema.
    keys: Vec<usize>,
    calls: Calls,
    /// Conditions on the windows, to apply after the aggregate. They name the parts of the window as columns 0, 1 and
    /// 2.
    lifted: Vec<Expr>,
}

/// A pending window that the aggregate takes over.
struct TakenOver {
    below: Relation,
    window: PendingWindow,
    lifted: Vec<Expr>,
}

impl Lowerer<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Relation> {
        for call in &aggregate.aggr_expr {
            if let Some(reason) = refuse_reason(call) {
                return Err(self.refuse(std::slice::from_ref(call), None, &reason.message).with_hint(reason.hint));
            }
        }
        let relation = self.lower(&aggregate.input)?;
        let grouping = self.grouping(aggregate, &relation)?;
        let input = self.aggregate_input(aggregate, &relation, &grouping)?;
        let spec = self.spec_of(grouping.tag);
        let time = grouping.grouped.time
            || input.lifted.iter().any(|condition| condition.column_refs().contains(&time_part()));
        let windows = WindowColumns { start: true, end: true, time };
        let output = aggregate_output(&input, windows);
        let operator = match self.is_two_phase(&input) {
            true => self.two_phases(&input, windows, output.clone())?,
            false => self.single_phase(&input, windows, output.clone()),
        };
        let mut aggregated = self.aggregated(operator, output, &grouping, aggregate, spec);
        let first = grouping.keys.len() + aggregate.aggr_expr.len();
        for branch in &mut aggregated.branches {
            let parts = Branch {
                exprs: (first..branch.base.schema.fields().len()).map(|index| branch.base.column(index)).collect(),
                ..branch.clone()
            };
            let lifted: datafusion_common::Result<Vec<Expr>> =
                input.lifted.iter().map(|condition| parts.resolve(condition.clone())).collect();
            branch.filter = conjunction(lifted.map_err(|error| self.failed(&error))?);
        }
        Ok(aggregated)
    }

    fn grouping(&mut self, aggregate: &Aggregate, relation: &Relation) -> Result<Grouping> {
        let schema = aggregate.input.schema();
        let mut bound = Vec::with_capacity(aggregate.group_expr.len());
        for expr in &aggregate.group_expr {
            if matches!(expr, Expr::GroupingSet(_)) {
                return Err(self.refuse(&aggregate.group_expr, Some("GROUP"), "GROUPING SETS is not supported"));
            }
            bound.push(relation.bind(expr, schema).map_err(|error| self.failed(&error))?);
        }
        let part_of = |expr: &Expr| relation.role_of(expr).window;
        let Some(tag) = bound.iter().filter_map(part_of).map(|(tag, _)| tag).max_by_key(|tag| tag.0) else {
            return Err(self.not_windowed(aggregate));
        };
        let (mut members, mut keys) = (Vec::new(), Vec::new());
        let mut grouped = WindowColumns::default();
        for (index, expr) in bound.into_iter().enumerate() {
            match part_of(&expr).filter(|(known, _)| *known == tag) {
                Some((_, part)) => {
                    match part {
                        WindowPart::Start => grouped.start = true,
                        WindowPart::End => grouped.end = true,
                        WindowPart::Time => grouped.time = true,
                    }
                    members.push(Member::Window(part));
                }
                None => {
                    members.push(Member::Key(keys.len()));
                    keys.push((aggregate.schema.field(index).name().clone(), expr));
                }
            }
        }
        let ends = grouped.end || grouped.time;
        let determined = match self.spec_of(tag) {
            Some(WindowSpec::Cumulate { .. }) => ends,
            Some(_) => true,
            None => grouped.start && ends,
        };
        if !determined {
            return Err(self.refuse(
                &aggregate.group_expr,
                Some("GROUP"),
                "GROUP BY needs both window_start and window_end here",
            ));
        }
        Ok(Grouping { tag, grouped, members, keys })
    }

    fn not_windowed(&self, aggregate: &Aggregate) -> crate::SqlError {
        if aggregate.group_expr.is_empty() {
            let name = aggregate.aggr_expr.iter().find_map(function_name);
            return self
                .refuse(&aggregate.aggr_expr, name.as_deref(), "an aggregate over the whole stream is not supported")
                .with_hint("it would never end: group by window_start, window_end of a window table function");
        }
        self.refuse(&aggregate.group_expr, Some("GROUP"), "GROUP BY without a window is not supported")
            .with_hint("group by window_start, window_end of a window table function")
    }

    /// Lays out the keys, the arguments, and the window's columns or the time column.
    fn aggregate_input(&mut self, aggregate: &Aggregate, relation: &Relation, grouping: &Grouping) -> Result<Input> {
        let schema = aggregate.input.schema();
        let bound = aggregate.aggr_expr.iter().map(|call| relation.bind(call, schema));
        let bound: datafusion_common::Result<Vec<Expr>> = bound.collect();
        let bound = bound.map_err(|error| self.failed(&error))?;
        let mut wanted: Wanted = grouping.keys.clone();
        let placeholders = Calls::arguments(&bound, relation, &mut wanted);
        let arguments = wanted.len();
        name_arguments(relation, &mut wanted[grouping.keys.len()..]);
        let taken_over = self.taken_over(relation, grouping.tag, &wanted);
        let emitted = match &taken_over {
            Some(TakenOver { below, window, .. }) => {
                self.check_session(window, below, grouping, aggregate)?;
                let mut below = below.clone();
                for branch in &mut below.branches {
                    branch.exprs.push(branch.base.column(window.column));
                }
                below.columns.push(super::calc::plain("event_time"));
                let time = below.branches.first().map(|branch| branch.base.schema.field(window.column).name().clone());
                wanted.push((time.unwrap_or_default(), at(below.columns.len() - 1)));
                self.emit(&below, &wanted, Layout::Loose)?
            }
            None => {
                for part in [WindowPart::Start, WindowPart::End] {
                    let Some(index) = relation.window_part(grouping.tag, part) else {
                        return Err(self.refuse(
                            &aggregate.group_expr,
                            Some("GROUP"),
                            "the input of this GROUP BY must have both window_start and window_end",
                        ));
                    };
                    wanted.push((relation.columns[index].name.clone(), at(index)));
                }
                self.emit(relation, &wanted, Layout::Loose)?
            }
        };
        let position = |index: usize| emitted.positions[index];
        let (windowing, lifted) = match taken_over {
            Some(TakenOver { window, lifted, .. }) => {
                (Windowing::EventTime { column: position(arguments), spec: window.spec }, lifted)
            }
            None => (Windowing::Attached { start: position(arguments), end: position(arguments + 1) }, Vec::new()),
        };
        let keys = (0..grouping.keys.len()).map(position).collect();
        let calls = Calls::over(&placeholders, &emitted).map_err(|error| self.failed(&error))?;
        Ok(Input { emitted, windowing, keys, calls, lifted })
    }

    /// The relation below a pending window. `None` if the window's columns have other uses than the grouping and
    /// conditions on whole windows.
    fn taken_over(&self, relation: &Relation, tag: WindowTag, wanted: &Wanted) -> Option<TakenOver> {
        let mut made: Option<(PendingWindow, Vec<Expr>)> = None;
        let mut branches = Vec::with_capacity(relation.branches.len());
        for branch in &relation.branches {
            let Stage::Window(window) = &branch.base.stage else { return None };
            let below = branch.base.schema.fields().len() - WINDOW_COLUMNS.len();
            let names: Vec<&str> =
                branch.base.schema.fields()[below..].iter().map(|field| field.name().as_str()).collect();
            let conjuncts = branch.filter.clone().map(split_conjunction_owned).unwrap_or_default();
            let (above, filter) = parted(&branch.base, conjuncts, &names);
            let lifted: Vec<Expr> = above.iter().map(|conjunct| by_part(conjunct, &names)).collect::<Option<_>>()?;
            // Conditions on windows move behind the aggregate. So what can fail for the rows that they drop must not
            // move before them.
            let concerned = |(_, expr): &(String, Expr)| {
                branch.resolve(expr.clone()).map_or(true, |resolved| {
                    names_any(&resolved, &names) || (!lifted.is_empty() && branch.base.is_unsteady(&resolved))
                })
            };
            let same =
                made.as_ref().is_none_or(|(known, conditions)| known.column == window.column && *conditions == lifted);
            if window.tag != tag || !same || wanted.iter().any(concerned) {
                return None;
            }
            made = Some((window.clone(), lifted));
            let base = Base {
                operators: branch.base.operators.clone(),
                schema: without_window_columns(&branch.base.schema),
                stage: Stage::None,
            };
            branches.push(Branch { base, filter: conjunction(filter), exprs: branch.exprs.clone() });
        }
        let below = Relation { branches, columns: relation.columns.clone(), width: relation.width };
        made.map(|(window, lifted)| TakenOver { below, window, lifted })
    }

    /// Checks that the groups of a session are the keys of its function, and that nothing is filtered in between.
    fn check_session(
        &self,
        window: &PendingWindow,
        below: &Relation,
        grouping: &Grouping,
        aggregate: &Aggregate,
    ) -> Result<()> {
        if !matches!(window.spec, WindowSpec::Session { .. }) {
            return Ok(());
        }
        let refuse = |message: &str| Err(self.refuse(&aggregate.group_expr, Some("GROUP"), message));
        for branch in &below.branches {
            if branch.filter.is_some() {
                return refuse(
                    "a condition between SESSION and GROUP BY is not supported; put it into the function's input",
                );
            }
            let mut keys: Vec<Option<usize>> = Vec::new();
            for (_, key) in &grouping.keys {
                let resolved = branch.resolve(key.clone()).map_err(|error| self.failed(&error))?;
                keys.push(index_in(&branch.base.schema, &resolved));
            }
            let same = keys.iter().all(|key| key.is_some_and(|key| window.partition.contains(&key)))
                && window.partition.iter().all(|key| keys.contains(&Some(*key)));
            if !same {
                return refuse("GROUP BY must name exactly the PARTITION BY columns of SESSION, and the window");
            }
        }
        Ok(())
    }

    fn is_two_phase(&self, input: &Input) -> bool {
        let session = matches!(input.windowing, Windowing::EventTime { spec: WindowSpec::Session { .. }, .. });
        let spread = self.graph.parallelism_of(&input.emitted.operators) == Parallelism::Job;
        let distinct = match input.windowing {
            // The local phase numbers the slides of a slice by microseconds, so a slide needs as many microseconds as a
            // window has slides.
            Windowing::EventTime { spec: WindowSpec::Hop { slide, size, .. }, .. } => size / slide <= slide,
            Windowing::EventTime {
                spec: WindowSpec::Tumble { .. } | WindowSpec::Cumulate { .. } | WindowSpec::Session { .. },
                ..
            }
            | Windowing::Attached { .. } => true,
        };
        let possible =
            !session && distinct && spread && input.calls.are_mergeable() && !self.may_idle(&input.emitted.operators);
        match self.two_phase {
            Some(wanted) => wanted && possible,
            None => possible && input.calls.shrink(),
        }
    }

    fn single_phase(&mut self, input: &Input, windows: WindowColumns, output: SchemaRef) -> OperatorId {
        let parallelism = keyed_parallelism(&input.keys);
        let kind = WindowAggregate {
            phase: AggregatePhase::Single,
            windowing: input.windowing.clone(),
            keys: input.keys.clone(),
            aggregates: input.calls.encoded.clone(),
            row_schema: input.emitted.schema.clone(),
            window_columns: windows,
        };
        let feed = input.emitted.feed(0, routing(&input.keys));
        self.graph.add(Draft { kind: OperatorKind::WindowAggregate(kind), parallelism, output }, &[feed])
    }

    fn two_phases(&mut self, input: &Input, windows: WindowColumns, output: SchemaRef) -> Result<OperatorId> {
        let partials = partial_output(input);
        let local = WindowAggregate {
            phase: AggregatePhase::Local,
            windowing: input.windowing.clone(),
            keys: input.keys.clone(),
            aggregates: input.calls.encoded.clone(),
            row_schema: input.emitted.schema.clone(),
            window_columns: WindowColumns::default(),
        };
        let draft = Draft {
            kind: OperatorKind::WindowAggregate(local.clone()),
            parallelism: Parallelism::Job,
            output: partials.clone(),
        };
        let local_id = self.graph.add(draft, &[input.emitted.feed(0, Routing::Local)]);
        let last = partials.fields().len() - 1;
        let windowing = match input.windowing {
            Windowing::EventTime { spec, .. } => Windowing::EventTime { column: last, spec },
            Windowing::Attached { .. } => Windowing::Attached { start: last - 1, end: last },
        };
        let keys: Vec<usize> = (0..input.keys.len()).collect();
        let kind = WindowAggregate {
            phase: AggregatePhase::Global,
            windowing,
            keys: keys.clone(),
            window_columns: windows,
            ..local
        };
        let feed = Feed { port: 0, senders: vec![local_id], routing: routing(&keys) };
        let parallelism = keyed_parallelism(&keys);
        Ok(self.graph.add(Draft { kind: OperatorKind::WindowAggregate(kind), parallelism, output }, &[feed]))
    }

    /// The plan's columns over those of the operator: group expressions in the query's order, then the calls.
    fn aggregated(
        &mut self,
        operator: OperatorId,
        schema: SchemaRef,
        grouping: &Grouping,
        aggregate: &Aggregate,
        spec: Option<WindowSpec>,
    ) -> Relation {
        let tag = self.tag(spec);
        let keys = grouping.keys.len();
        let calls = aggregate.aggr_expr.len();
        let part_at = |part: WindowPart| match part {
            WindowPart::Start => keys + calls,
            WindowPart::End => keys + calls + 1,
            WindowPart::Time => keys + calls + 2,
        };
        let role_of = |part| Role { event_time: part == WindowPart::Time, window: Some((tag, part)), rank: false };
        let mut placed: Vec<(usize, Role)> = Vec::new();
        for member in &grouping.members {
            placed.push(match member {
                Member::Window(part) => (part_at(*part), role_of(*part)),
                Member::Key(index) => (*index, Role::default()),
            });
        }
        placed.extend((0..calls).map(|index| (keys + index, Role::default())));
        let width = placed.len();
        let mut names: Vec<String> = aggregate.schema.fields().iter().map(|field| field.name().clone()).collect();
        for (name, part, grouped) in [
            ("window_start", WindowPart::Start, grouping.grouped.start),
            ("window_end", WindowPart::End, grouping.grouped.end),
        ] {
            if !grouped {
                placed.push((part_at(part), role_of(part)));
                names.push(name.to_owned());
            }
        }
        let named = names.into_iter().zip(&placed);
        let columns = named.map(|(name, (_, role))| RelationColumn { name, role: *role }).collect();
        let base = Base { operators: vec![operator], schema, stage: Stage::None };
        let exprs = placed.iter().map(|(index, _)| base.column(*index)).collect();
        Relation { branches: vec![Branch { base, filter: None, exprs }], columns, width }
    }
}

/// Names the arguments after their columns or expressions.
fn name_arguments(relation: &Relation, arguments: &mut [(String, Expr)]) {
    for (name, expr) in arguments {
        let resolved = relation.branches.first().and_then(|branch| branch.resolve(expr.clone()).ok());
        match expr {
            Expr::Column(column) => {
                let known = position_of(column).and_then(|index| relation.columns.get(index));
                *name = known.map_or_else(|| name.clone(), |known| known.name.clone());
            }
            _ => *name = resolved.map_or_else(|| name.clone(), |resolved| expression_text(&resolved)),
        }
    }
}

/// A condition that names only the window's columns, with those by position; `None` if it names others.
fn by_part(condition: &Expr, names: &[&str]) -> Option<Expr> {
    let part = |column: &Column| names.iter().position(|name| *name == column.name);
    if condition.column_refs().iter().any(|column| part(column).is_none()) {
        return None;
    }
    let replaced = condition.clone().transform_up(|expr| match &expr {
        Expr::Column(column) => {
            Ok(part(column).map_or(Transformed::no(expr.clone()), |part| Transformed::yes(at(part))))
        }
        _ => Ok(Transformed::no(expr)),
    });
    replaced.ok().map(|replaced| replaced.data)
}

fn time_part() -> Column {
    Column::new_unqualified("#2")
}

fn keyed_parallelism(keys: &[usize]) -> Parallelism {
    if keys.is_empty() { Parallelism::One } else { Parallelism::Job }
}

fn routing(keys: &[usize]) -> Routing {
    if keys.is_empty() { Routing::Gather } else { Routing::Hash(keys.to_vec()) }
}

/// The keys, the results, the window's columns.
fn aggregate_output(input: &Input, windows: WindowColumns) -> SchemaRef {
    let mut taken = BTreeSet::new();
    let mut fields: Vec<Field> = Vec::new();
    for key in &input.keys {
        let field = input.emitted.schema.field(*key).clone();
        let name = unique(field.name(), &mut taken);
        fields.push(field.with_name(name));
    }
    for (call, result) in input.calls.encoded.iter().zip(&input.calls.results) {
        fields.push(result.clone().with_name(unique(&call.text, &mut taken)));
    }
    for (name, wanted) in WINDOW_COLUMNS.iter().zip([windows.start, windows.end, windows.time]) {
        if wanted {
            fields.push(Field::new(unique(name, &mut taken), window_type(), false));
        }
    }
    Arc::new(Schema::new(fields))
}

/// The keys, the states, and the slice or window.
fn partial_output(input: &Input) -> SchemaRef {
    let mut taken = BTreeSet::new();
    let mut fields: Vec<Field> = Vec::new();
    let keys = input.keys.iter().map(|key| input.emitted.schema.field(*key).clone());
    for field in keys.chain(input.calls.states.iter().cloned()) {
        let name = unique(field.name(), &mut taken);
        fields.push(field.with_name(name));
    }
    match input.windowing {
        Windowing::EventTime { .. } => {
            let name = unique("slice_end", &mut taken);
            fields.push(Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, None), false));
        }
        Windowing::Attached { start, end } => {
            for (name, index) in [("window_start", start), ("window_end", end)] {
                let field = input.emitted.schema.field(index).clone();
                fields.push(field.with_name(unique(name, &mut taken)));
            }
        }
    }
    Arc::new(Schema::new(fields))
}

fn function_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::AggregateFunction(call) => Some(call.func.name().to_owned()),
        Expr::Alias(alias) => function_name(&alias.expr),
        _ => None,
    }
}
