//! Parses and checks statements.
//!
//! `CREATE TABLE`, `INSERT`, `SET` and the like are parsed here with sqlparser's public parser, which does not know
//! Flink's forms of them (watermarks, computed columns, options). Queries are parsed by sqlparser alone.

mod apart;
mod columns;
mod fields;
mod keys;
mod metadata;
mod options;
mod partition;
mod queryable;
mod statement;
mod table;
mod template;
mod written;

pub(crate) use statement::{CreateTable, CreateView, Insert, Statement, StatementKind, parse};
pub(crate) use table::build;
