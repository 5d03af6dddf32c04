//! thalweg-sim
