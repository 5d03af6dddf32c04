//! thalweg-cluster-state
