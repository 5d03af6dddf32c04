//! thalweg-control
