//! Answers requests for the newest rows of tables that jobs keep (`'connector' = 'queryable'`), on any node of the cluster.
//!
//! ```text
//! GET /tables/T?k=v --http--> request (text to a key's columns)
//!                                |
//!                              ask: which nodes have T's slices? --places--> coordinators, an answer of the last second
//!                                |-- this node: QueryableTables::read
//!                                |-- others:    rpc --> their service --> QueryableTables::read
//!                              all slices answered? merged by key : an error that says which node did not
//! ```
//!
//! An answer is of all slices of **one attempt**, or it is none: each part names the slices that it is of. A whole key has one
//! slice, and only its node is asked if this node has a part of the table too; else all are. Everything is bounded: what a
//! request may say, the requests at a time, the time that each asked node has, the rows and the bytes of an answer.

mod ask;
mod http;
mod places;
mod request;
mod rpc;
mod service;
#[cfg(test)]
mod tests;

pub(crate) use ask::Asker;
pub(crate) use http::beside;
pub(crate) use places::Places;
pub(crate) use service::TablesService;
