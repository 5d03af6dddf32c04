//! What becomes of a request that POSTs records.

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No table takes records at the path.
    UnknownPath,
    /// A record is malformed; no record of the request was taken.
    Malformed(String),
    /// The idempotency key was used before with another body.
    KeyReused,
    /// The buffer is full.
    Full,
    /// No more idempotency keys can be remembered at present.
    TooManyKeys,
    /// The records could not be made durable and are not acknowledged; a retry with the same key takes them once.
    Unavailable(String),
    /// The body did not arrive in time.
    TooSlow,
    /// The request is larger than the whole buffer.
    TooLarge {
        /// The buffer's size in bytes.
        bytes_max: usize,
    },
}

/// The outcome of a request once it is known: how many records were taken, or why none.
pub(super) type Outcome = Option<Result<u64, Refusal>>;

/// The answer for a request that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepted {
    /// The number of records in the request.
    pub(super) rows: u64,
    /// Whether the records survive the loss of the node.
    pub(super) is_durable: bool,
}
