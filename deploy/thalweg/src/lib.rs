//! The one binary's parts: the command line, configuration, the real surroundings, and whole clusters in one process.

pub mod args;
pub mod config;
pub mod http;
pub mod output;
pub mod seams;
pub mod signals;
pub mod tcp;
