//! thalweg-exchange
