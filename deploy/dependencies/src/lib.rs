//! Every library that any crate uses, with the features that all of them ask for together; no code.
//!
//! Cargo unites features over the packages of one command. So `cargo test -p thalweg-sql` alone would build most libraries once
//! more, with fewer features, and so would every other set of packages. With `-p thalweg-dependencies` beside it, it uses what
//! the whole workspace has built.
