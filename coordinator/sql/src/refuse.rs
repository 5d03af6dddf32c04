//! Refuses on the syntax tree what a stream cannot answer, or what this engine does not support. DataFusion has not
//! seen the query yet, so the error can name the construct and its place.
//!
//! `lower` refuses what depends on columns (a `GROUP BY` without a window, a join without equal windows, …).

use std::ops::ControlFlow;

use sqlparser::{
    ast::{
        ArrayElemTypeDef, BinaryOperator, DataType, Distinct, Expr, Function, FunctionArg, FunctionArgExpr,
        FunctionArgumentClause, FunctionArguments, GroupByExpr, JoinOperator, LimitClause, OrderBy, OrderByKind, Query,
        Select, SelectFlavor, SelectItem, SetExpr, SetOperator, SetQuantifier, Spanned, TableFactor, Value, Visit,
        Visitor,
    },
    tokenizer::{Location, Span, TokenWithSpan},
};
use thalweg_functions::cast::Detail;

use crate::{
    calls, declared_type,
    errors::{Result, SqlError, quote_it},
    functions::Functions,
    intervals, modifiers,
    words::{word_after, word_before},
};

/// Refuses a query with unsupported constructs.
pub(crate) fn query(query: &Query, functions: &Functions, tokens: &[TokenWithSpan]) -> Result<()> {
    into_result(query.visit(&mut Refuser { functions, tokens, tables: Vec::new(), calls: Vec::new() }))
}

/// Refuses an expression of the DDL with unsupported constructs.
pub(crate) fn expression(expr: &Expr, functions: &Functions, tokens: &[TokenWithSpan]) -> Result<()> {
    into_result(expr.visit(&mut Refuser { functions, tokens, tables: Vec::new(), calls: Vec::new() }))
}

fn into_result(flow: ControlFlow<Box<SqlError>>) -> Result<()> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

/// Functions that may be used only in `FROM`. Planning refuses them elsewhere.
const TABLE_FUNCTIONS: &[&str] = &["descriptor", "tumble", "hop", "cumulate", "session"];

struct Refuser<'a> {
    functions: &'a Functions,
    tokens: &'a [TokenWithSpan],
    /// Places of subqueries that are the input of a table function.
    tables: Vec<Span>,
    /// Places of function names in `FROM`.
    calls: Vec<Span>,
}

impl Visitor for Refuser<'_> {
    type Break = Box<SqlError>;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        self.check_query(query)
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        self.check_select(select)
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        self.tables.extend(table_arguments(factor).map(|query| query.span()));
        if let TableFactor::TableFunction { expr: Expr::Function(call), .. } = factor {
            self.calls.extend(call.name.0.first().and_then(|part| part.as_ident()).map(|name| name.span));
        }
        self.check_factor(factor)
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        self.check_expr(expr)
    }
}

type Flow = ControlFlow<Box<SqlError>>;

impl Refuser<'_> {
    fn check_query(&self, query: &Query) -> Flow {
        if let Some(with) = query.with.as_ref().filter(|with| with.recursive) {
            return self.refuse(with.with_token.0.span, "WITH RECURSIVE is not supported");
        }
        if let Some(order_by) = &query.order_by {
            self.check_order_by(order_by)?;
        }
        let end = query.body.span();
        self.check_range(query, end.end)?;
        let decorated = query.settings.is_some() || query.format_clause.is_some() || !query.pipe_operators.is_empty();
        if !query.locks.is_empty() || query.for_clause.is_some() || decorated {
            return self.refuse(end, "this clause of a query is not supported");
        }
        self.check_body(&query.body)
    }

    fn check_order_by(&self, order_by: &OrderBy) -> Flow {
        let place = || self.before(order_by.span(), "ORDER");
        let OrderByKind::Expressions(sorts) = &order_by.kind else {
            return self.refuse_at(place(), "ORDER BY ALL is not supported", Some("name the columns"));
        };
        if order_by.interpolate.is_some() || sorts.iter().any(|sort| sort.with_fill.is_some()) {
            return self.refuse_at(place(), "this clause of ORDER BY is not supported", None);
        }
        ControlFlow::Continue(())
    }

    /// LIMIT, OFFSET and FETCH take only literal numbers.
    fn check_range(&self, query: &Query, end: Location) -> Flow {
        let place = |word| word_after(self.tokens, end, word).unwrap_or(end);
        let (limit, offset) = match &query.limit_clause {
            Some(LimitClause::LimitOffset { limit_by, .. }) if !limit_by.is_empty() => {
                return self.refuse_at(place("LIMIT"), "LIMIT BY is not supported", None);
            }
            Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => (Some(limit), Some(offset)),
            None => (None, None),
        };
        let fetch = query.fetch.as_ref();
        let exotic = fetch.and_then(|fetch| match (fetch.with_ties, fetch.percent) {
            (true, _) => Some("FETCH … WITH TIES is not supported"),
            (_, true) => Some("FETCH … PERCENT is not supported"),
            _ if limit.is_some() => Some("a query has LIMIT or FETCH, not both"),
            _ => None,
        });
        if let Some(exotic) = exotic {
            return self.refuse_at(place("FETCH"), exotic, None);
        }
        let fetch = fetch.and_then(|fetch| fetch.quantity.as_ref());
        for (word, count) in [("LIMIT", limit), ("OFFSET", offset), ("FETCH", fetch)] {
            if count.is_some_and(|count| !is_count(count)) {
                return self.refuse_at(place(word), format!("{word} takes a whole number from 0"), None);
            }
        }
        ControlFlow::Continue(())
    }

    fn check_body(&self, body: &SetExpr) -> Flow {
        match body {
            SetExpr::Select(_) | SetExpr::Query(_) => ControlFlow::Continue(()),
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let place = word_before(self.tokens, right.span().start, &op.to_string()).unwrap_or(right.span().start);
                if *op != SetOperator::Union {
                    return self.refuse_at(place, format!("{op} is not supported"), None);
                }
                if *set_quantifier != SetQuantifier::All {
                    return self.refuse_at(place, "UNION without ALL is not supported", Some("use UNION ALL"));
                }
                self.check_body(left)?;
                self.check_body(right)
            }
            SetExpr::Values(_) => ControlFlow::Continue(()),
            other => self.refuse(other.span(), "only SELECT and UNION ALL are supported here"),
        }
    }

    fn check_select(&self, select: &Select) -> Flow {
        let start = select.select_token.0.span;
        if let Some(Distinct::Distinct | Distinct::On(_)) = &select.distinct {
            let place = word_after(self.tokens, start.start, "DISTINCT").unwrap_or(start.start);
            return self.refuse_at(
                place,
                "SELECT DISTINCT is not supported",
                Some("group by window_start, window_end and the columns"),
            );
        }
        let is_wildcard =
            |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(_, _));
        if select.from.is_empty() && select.projection.iter().any(is_wildcard) {
            return self.refuse(start, "SELECT * needs FROM");
        }
        if select.top.is_some() {
            return self.refuse(start, "TOP is not supported");
        }
        let exotic = [
            (!select.lateral_views.is_empty(), "LATERAL VIEW"),
            (!select.connect_by.is_empty(), "CONNECT BY"),
            (!select.cluster_by.is_empty(), "CLUSTER BY"),
            (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
            (!select.sort_by.is_empty(), "SORT BY"),
            (select.into.is_some(), "SELECT INTO"),
            (select.prewhere.is_some(), "PREWHERE"),
            (select.value_table_mode.is_some(), "SELECT AS"),
        ];
        let exotic = exotic.into_iter().chain([
            (select.select_modifiers.is_some(), "a word between SELECT and the columns"),
            (select.exclude.is_some(), "EXCLUDE"),
            (select.qualify.is_some(), "QUALIFY"),
            (select.flavor != SelectFlavor::Standard, "FROM before SELECT"),
        ]);
        if let Some((_, what)) = exotic.into_iter().find(|(present, _)| *present) {
            return self.refuse(start, format!("{what} is not supported"));
        }
        self.check_group_by(&select.group_by, start)?;
        for join in select.from.iter().flat_map(|from| &from.joins) {
            self.check_join(&join.join_operator, &join.relation)?;
        }
        ControlFlow::Continue(())
    }

    fn check_group_by(&self, group_by: &GroupByExpr, select: Span) -> Flow {
        let (exprs, modifiers) = match group_by {
            GroupByExpr::All(_) => {
                let place = word_after(self.tokens, select.start, "GROUP").unwrap_or(select.start);
                return self.refuse_at(place, "GROUP BY ALL is not supported", None);
            }
            GroupByExpr::Expressions(exprs, modifiers) => (exprs, modifiers),
        };
        let sets = exprs.iter().find_map(|expr| match expr {
            Expr::GroupingSets(_) => Some("GROUPING"),
            Expr::Cube(_) => Some("CUBE"),
            Expr::Rollup(_) => Some("ROLLUP"),
            _ => None,
        });
        match sets {
            Some(word) => {
                let name = if word == "GROUPING" { "GROUPING SETS" } else { word };
                let place = word_after(self.tokens, select.start, word).unwrap_or(select.start);
                self.refuse_at(
                    place,
                    format!("{name} is not supported"),
                    Some("write one query per grouping and UNION ALL them"),
                )
            }
            None if !modifiers.is_empty() => {
                let place = word_after(self.tokens, select.start, "GROUP").unwrap_or(select.start);
                self.refuse_at(place, "GROUP BY … WITH is not supported", None)
            }
            None => ControlFlow::Continue(()),
        }
    }

    fn check_join(&self, operator: &JoinOperator, relation: &TableFactor) -> Flow {
        let (what, word) = match operator {
            JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_) => {
                return ControlFlow::Continue(());
            }
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => ("LEFT JOIN", "LEFT"),
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => ("RIGHT JOIN", "RIGHT"),
            JoinOperator::FullOuter(_) => ("FULL JOIN", "FULL"),
            JoinOperator::Semi(_) | JoinOperator::LeftSemi(_) | JoinOperator::RightSemi(_) => ("SEMI JOIN", "SEMI"),
            JoinOperator::Anti(_) | JoinOperator::LeftAnti(_) | JoinOperator::RightAnti(_) => ("ANTI JOIN", "ANTI"),
            JoinOperator::AsOf { .. } => ("ASOF JOIN", "ASOF"),
            _ => ("this kind of join", "JOIN"),
        };
        let at = relation.span().start;
        let place = word_before(self.tokens, at, word).unwrap_or(at);
        self.refuse_at(place, format!("{what} is not supported"), Some("only inner joins of equal windows are"))
    }

    fn check_factor(&self, factor: &TableFactor) -> Flow {
        match factor {
            TableFactor::Table { name, sample: Some(_), .. } => {
                let place = word_after(self.tokens, name.span().start, "TABLESAMPLE").unwrap_or(name.span().start);
                self.refuse_at(place, "TABLESAMPLE is not supported", None)
            }
            TableFactor::Table { name, version: Some(_), .. } => {
                let place = word_after(self.tokens, name.span().start, "FOR").unwrap_or(name.span().start);
                self.refuse_at(place, "FOR SYSTEM_TIME AS OF is not supported", None)
            }
            TableFactor::Table {
                name, args, with_hints, partitions, with_ordinality, json_path, index_hints, ..
            } => {
                let decorated = !with_hints.is_empty()
                    || !partitions.is_empty()
                    || *with_ordinality
                    || json_path.is_some()
                    || !index_hints.is_empty()
                    || args.as_ref().is_some_and(|args| args.settings.is_some());
                if decorated {
                    return self.refuse(name.span(), format!("this clause after '{name}' is not supported"));
                }
                ControlFlow::Continue(())
            }
            TableFactor::Derived { lateral: false, sample: None, .. }
            | TableFactor::TableFunction { .. }
            | TableFactor::NestedJoin { .. } => ControlFlow::Continue(()),
            TableFactor::MatchRecognize { table, .. } => {
                let at = table.span().start;
                let place = word_after(self.tokens, at, "MATCH_RECOGNIZE").unwrap_or(at);
                self.refuse_at(place, "MATCH_RECOGNIZE is not supported", None)
            }
            TableFactor::Derived { subquery, .. } => {
                let at = subquery.span().start;
                let place = word_before(self.tokens, at, "LATERAL").unwrap_or(at);
                self.refuse_at(place, "LATERAL is not supported", None)
            }
            TableFactor::UNNEST { .. } => {
                let at = factor.span().start;
                let place = word_before(self.tokens, at, "UNNEST").unwrap_or(at);
                self.refuse_at(place, "UNNEST is not supported", None)
            }
            TableFactor::Function { name, .. } => {
                let place = self.before(name.span(), "LATERAL");
                self.refuse_at(place, "LATERAL is not supported", None)
            }
            other => self.refuse(other.span(), "this kind of table is not supported"),
        }
    }

    fn check_expr(&self, expr: &Expr) -> Flow {
        match expr {
            Expr::Function(function) => self.check_function(function),
            Expr::Subquery(query) if self.tables.contains(&query.span()) => ControlFlow::Continue(()),
            Expr::Subquery(query) | Expr::Exists { subquery: query, .. } => {
                self.refuse(query.span(), "a subquery inside an expression is not supported")
            }
            Expr::InSubquery { subquery, .. } => self.refuse(subquery.span(), "IN (SELECT …) is not supported"),
            Expr::Interval(interval) => match intervals::refused(interval) {
                Some((message, hint)) => {
                    self.refuse_at(self.before(interval.value.span(), "INTERVAL"), message, Some(hint))
                }
                None => ControlFlow::Continue(()),
            },
            Expr::Cast { data_type, expr: value, .. } if cuts_within(data_type) => {
                let place = self.before(value.span(), "CAST");
                let message = format!("CAST to {data_type}, which would cut what it holds, is not supported");
                self.refuse_at(place, message, Some("leave lengths out within ARRAY, MAP and ROW"))
            }
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } if matches!(**right, Expr::Subquery(_)) => {
                self.refuse(right.span(), "a subquery inside an expression is not supported")
            }
            Expr::AnyOp { left, .. } | Expr::AllOp { left, .. } => {
                let hint = Some("ARRAY_CONTAINS(array, element)");
                self.refuse_at(left.span().start, "ANY, SOME and ALL of arrays are not supported", hint)
            }
            Expr::AtTimeZone { timestamp, .. } => {
                let hint = Some("CONVERT_TZ(text, from zone, to zone)");
                self.refuse_at(timestamp.span().start, "AT TIME ZONE is not supported", hint)
            }
            Expr::Collate { expr, .. } => self.refuse(expr.span(), "COLLATE is not supported"),
            Expr::RLike { expr, .. } => {
                self.refuse_at(expr.span().start, "RLIKE is not supported", Some("REGEXP(text, pattern)"))
            }
            Expr::BinaryOp { left, op, .. } if is_regular(op) => {
                let message = format!("the operator {op} is not supported");
                self.refuse_at(left.span().start, message, Some("REGEXP(text, pattern)"))
            }
            Expr::Trim { expr, trim_characters: Some(characters), .. } if characters.len() > 1 => self.refuse_at(
                expr.span().start,
                "TRIM takes one text of characters",
                Some("TRIM(BOTH 'ab' FROM text)"),
            ),
            _ => ControlFlow::Continue(()),
        }
    }

    fn check_function(&self, function: &Function) -> Flow {
        let Some(ident) = function.name.0.first().and_then(|part| part.as_ident()) else {
            return ControlFlow::Continue(());
        };
        let (name, at) = (ident.value.to_ascii_lowercase(), ident.span.start);
        let upper = ident.value.to_uppercase();
        let of_the_clock = name == "unix_timestamp" && has_no_arguments(function);
        if let Some(hint) = thalweg_functions::refused(&name).or(of_the_clock.then_some(thalweg_functions::VARIES)) {
            let reason = if hint == thalweg_functions::VARIES { ": its value differs from run to run" } else { "" };
            return self.refuse_at(at, format!("{upper} is not supported{reason}"), Some(hint));
        }
        if self.functions.is_volatile(&name) {
            return self.refuse_at(at, format!("{upper} is not supported: its value differs from run to run"), None);
        }
        if let Some(what) = modifiers::unheeded(function, &name, self.functions.is_aggregate(&name)) {
            return self.refuse_at(at, format!("{what} is not supported in a call of {upper}"), None);
        }
        if let Some(window) = group_window(&name).filter(|_| !self.calls.contains(&ident.span)) {
            let message = format!("{upper} is not supported here");
            let hint =
                format!("SELECT window_start … FROM TABLE({window}(TABLE t, …)) GROUP BY window_start, window_end");
            return self.refuse_at(at, message, Some(&hint));
        }
        let is_known = self.functions.is_known(&name) && !thalweg_functions::is_syntax(&name);
        if matches!(function.args, FunctionArguments::None) && !is_known {
            let message = format!("'{}' is a word of SQL, and no function that is known", ident.value);
            return self.refuse_at(at, message, Some(&quote_it(&ident.value)));
        }
        if !is_known && !calls::NAMES.contains(&name.as_str()) && !TABLE_FUNCTIONS.contains(&name.as_str()) {
            let known = self.functions.names().filter(|name| !thalweg_functions::is_syntax(name));
            let known = known.chain(calls::NAMES.iter().copied()).chain(TABLE_FUNCTIONS.iter().copied());
            let error = SqlError::at(at, format!("unknown function '{}'", ident.value));
            return ControlFlow::Break(Box::new(error.with_suggestion(&name, known)));
        }
        if function.over.is_none() && ["row_number", "rank", "dense_rank"].contains(&name.as_str()) {
            return self.refuse_at(at, format!("{} needs OVER (…)", ident.value.to_uppercase()), None);
        }
        if let FunctionArguments::List(list) = &function.args {
            let limited = list.clauses.iter().any(|clause| matches!(clause, FunctionArgumentClause::Limit(_)));
            if limited {
                return self.refuse_at(at, "LIMIT inside a function is not supported", None);
            }
        }
        ControlFlow::Continue(())
    }

    fn before(&self, span: Span, word: &str) -> Location {
        word_before(self.tokens, span.start, word).unwrap_or(span.start)
    }

    fn refuse(&self, span: Span, message: impl Into<String>) -> Flow {
        self.refuse_at(span.start, message, None)
    }

    fn refuse_at(&self, at: Location, message: impl Into<String>, hint: Option<&str>) -> Flow {
        let mut error = SqlError::at(at, message);
        error.hint = hint.map(str::to_owned);
        ControlFlow::Break(Box::new(error))
    }
}

/// Whether an expression is a literal number of rows.
fn is_count(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(&value.value, Value::Number(digits, _) if digits.parse::<i64>().is_ok()))
}

fn has_no_arguments(function: &Function) -> bool {
    match &function.args {
        FunctionArguments::List(list) => list.args.is_empty(),
        FunctionArguments::None => true,
        FunctionArguments::Subquery(_) => false,
    }
}

fn is_regular(operator: &BinaryOperator) -> bool {
    use BinaryOperator as Op;
    let regular = matches!(
        operator,
        Op::PGRegexMatch | Op::PGRegexIMatch | Op::PGRegexNotMatch | Op::PGRegexNotIMatch | Op::Regexp
    );
    let like = [&Op::PGLikeMatch, &Op::PGILikeMatch, &Op::PGNotLikeMatch, &Op::PGNotILikeMatch];
    regular || like.contains(&operator)
}

/// The window that a function of the older group windows is about: `TUMBLE(ts, …)`, `TUMBLE_START(ts, …)`, ….
fn group_window(name: &str) -> Option<String> {
    let window = name.split_once('_').map_or(name, |(window, _)| window);
    let parts = ["_start", "_end", "_rowtime", "_proctime"];
    let is_part = name == window || parts.iter().any(|part| name.strip_prefix(window) == Some(part));
    (is_part && ["tumble", "hop", "cumulate", "session"].contains(&window)).then(|| window.to_uppercase())
}

/// The queries that stand as arguments of a table function.
fn table_arguments(factor: &TableFactor) -> impl Iterator<Item = &Query> {
    let arguments: &[FunctionArg] = match factor {
        TableFactor::Table { args: Some(args), .. } => &args.args,
        TableFactor::TableFunction { expr: Expr::Function(function), .. } => match &function.args {
            FunctionArguments::List(list) => &list.args,
            _ => &[],
        },
        _ => &[],
    };
    arguments.iter().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Subquery(query)))
        | FunctionArg::Named { arg: FunctionArgExpr::Expr(Expr::Subquery(query)), .. } => Some(query.as_ref()),
        _ => None,
    })
}

/// Whether a nested type has a length or precision inside. CAST does not cut values inside other values.
fn cuts_within(data_type: &DataType) -> bool {
    use DataType as Sql;
    let cuts = |inner: &DataType| declared_type::detail(inner) != Detail::None || cuts_within(inner);
    match data_type {
        Sql::Array(
            ArrayElemTypeDef::AngleBracket(item)
            | ArrayElemTypeDef::Parenthesis(item)
            | ArrayElemTypeDef::SquareBracket(item, _),
        ) => cuts(item),
        Sql::Map(key, value) => cuts(key) || cuts(value),
        Sql::Struct(fields, _) => fields.iter().any(|field| cuts(&field.field_type)),
        _ => false,
    }
}
