//! The exchange service's messages.
