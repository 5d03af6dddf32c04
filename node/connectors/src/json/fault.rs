//! What is wrong with a record, as text for people. It names the field that it lies in.

use std::fmt;

/// What is wrong with a record.
#[derive(Debug)]
pub(crate) struct Fault(Box<FaultKind>);

#[derive(Debug)]
enum FaultKind {
    /// Not what was expected.
    Malformed(String),
    /// An object has a key twice: the record must be rewritten so that the last one wins.
    DuplicateKey,
}

impl Fault {
    #[cold]
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(Box::new(FaultKind::Malformed(reason.into())))
    }

    #[cold]
    pub(crate) fn duplicate_key() -> Self {
        Self(Box::new(FaultKind::DuplicateKey))
    }

    pub(crate) fn is_duplicate_key(&self) -> bool {
        matches!(*self.0, FaultKind::DuplicateKey)
    }

    /// The same fault, with the field's name before it.
    #[cold]
    pub(crate) fn of_field(self, name: &str) -> Self {
        match *self.0 {
            FaultKind::Malformed(reason) => {
                let separator = if reason.starts_with(['.', '[', ':']) { "" } else { ": " };
                Self::new(format!("{name}{separator}{reason}"))
            }
            FaultKind::DuplicateKey => Self::duplicate_key(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            FaultKind::Malformed(reason) => f.write_str(reason),
            FaultKind::DuplicateKey => f.write_str("a key occurs twice"),
        }
    }
}

pub(crate) fn not_utf8() -> Fault {
    Fault::new("a string is not valid UTF-8")
}
