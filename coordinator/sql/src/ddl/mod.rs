//! Statements: from tokens to what each asks for.
//!
//! `CREATE TABLE`, `INSERT`, `SET` and their like are read here over sqlparser's public parser, because Flink's forms of
//! them (watermarks, computed columns, options) are not among its own; queries are sqlparser's.

mod columns;
mod fields;
mod options;
mod partition;
mod statement;
mod table;
mod types;

pub(crate) use statement::{CreateTable, CreateView, Insert, Statement, StatementKind, parse};
pub(crate) use table::{build, interval_micros};
pub(crate) use thalweg_functions::names::sql_type;
pub(crate) use types::{arrow_type, detail};
