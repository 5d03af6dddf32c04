//! Depends on every library that any crate uses, with all features that are used together. It has no code.
//!
//! Cargo unifies features over the packages of one command. Alone, `cargo test -p thalweg-sql` would build most
//! libraries again with fewer features, and so would any other set of packages. With `-p thalweg-dependencies` added,
//! it uses what the whole workspace has built.
