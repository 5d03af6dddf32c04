//! The session service's messages.
