//! The parts of the one binary: the command line, configuration, the real clock and network, and whole clusters in
//! one process.

pub mod args;
pub mod board;
pub mod commands;
pub mod completion;
pub mod config;
pub mod embedded;
mod endpoint;
mod file_limit;
mod floats;
pub mod follow;
pub mod http;
pub mod layers;
mod memory_limit;
pub mod output;
mod process;
pub mod progress;
pub mod script;
pub mod seams;
pub mod secrets;
pub mod serve;
pub mod signals;
pub mod statements;
pub mod streams;
pub mod tcp;
pub mod telemetry;
mod times;
