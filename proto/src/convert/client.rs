//! The client service's messages.
