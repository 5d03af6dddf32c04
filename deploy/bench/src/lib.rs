//! thalweg-bench
