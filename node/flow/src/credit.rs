//! The credit of one channel: how many bytes the sender may have in flight.
//!
//! ```text
//! sender: CreditLedger                          receiver: GrantLedger
//!    spend(cost) -- batch, cost in its header -->  on_received(cost)
//!    on_grant(total) <----- granted total -------  release(cost)           after the batch was processed
//! ```
//!
//! Grants are cumulative totals since the channel's beginning, so lost, repeated and reordered ones do no harm. The
//! first total is the window. `spent <= granted`, with one exception: a batch larger than the window may leave while
//! the whole window is free. It is a single row, which cannot be cut, of at most `ROW_BYTES_MAX`. What is released is
//! exactly what the header charged. Control frames need no credit, and have bounds of their own.

use thiserror::Error;

/// The most bytes that a single row may cost. So no peer can make a receiver hold more than this, or the window, on one
/// channel.
pub const ROW_BYTES_MAX: u64 = 64 << 20;

/// A peer broke the rules of credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CreditViolation {
    /// The sender had no credit for this batch.
    #[error("a batch of {cost} bytes was sent with {outstanding} of {window} bytes in flight")]
    Overspent {
        /// The cost of the batch, in bytes.
        cost: u64,
        /// The bytes in flight before it.
        outstanding: u64,
        /// The channel's window, in bytes.
        window: u64,
    },
    /// The receiver granted more than was ever sent.
    #[error("{granted} bytes were granted where {spent} were spent of a window of {window}")]
    Overgranted {
        /// The total granted, in bytes.
        granted: u64,
        /// The total spent, in bytes.
        spent: u64,
        /// The channel's window, in bytes.
        window: u64,
    },
}

/// The sender's side of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CreditLedger {
    window: u64,
    granted: u64,
    spent: u64,
}

impl CreditLedger {
    /// A channel that has been granted nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The channel's window, in bytes; 0 before the first grant.
    #[must_use]
    pub fn window(&self) -> u64 {
        self.window
    }

    /// The bytes that may be spent now.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.granted.saturating_sub(self.spent)
    }

    /// The bytes in flight.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.spent + self.window - self.granted
    }

    /// The bytes spent since the beginning.
    #[must_use]
    pub fn spent(&self) -> u64 {
        self.spent
    }

    /// The bytes that the receiver has processed since the beginning.
    #[must_use]
    pub fn released(&self) -> u64 {
        self.granted.saturating_sub(self.window)
    }

    /// Whether a batch of this cost may leave now.
    #[must_use]
    pub fn can_spend(&self, cost: u64) -> bool {
        cost <= self.available() || (self.window > 0 && cost > self.window && self.outstanding() == 0)
    }

    /// Spends `cost` if that is allowed. Returns whether it is.
    #[must_use]
    pub fn try_spend(&mut self, cost: u64) -> bool {
        let can = self.can_spend(cost);
        if can {
            self.spent += cost;
        }
        can
    }

    /// Takes the total granted so far. Returns whether it grew.
    ///
    /// # Errors
    /// The total exceeds what could have been returned.
    pub fn on_grant(&mut self, granted: u64) -> Result<bool, CreditViolation> {
        if self.window == 0 {
            (self.window, self.granted) = (granted, granted);
            return Ok(granted > 0);
        }
        if granted > self.spent.saturating_add(self.window) {
            return Err(CreditViolation::Overgranted { granted, spent: self.spent, window: self.window });
        }
        let news = granted > self.granted;
        self.granted = self.granted.max(granted);
        Ok(news)
    }

    /// Panics if the state is inconsistent.
    pub fn check_invariants(&self) {
        assert!(self.granted <= self.spent + self.window, "more was granted than was spent");
        assert!(self.granted >= self.window, "the window itself was not granted");
    }
}

/// The receiver's side of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantLedger {
    window: u64,
    received: u64,
    released: u64,
}

impl GrantLedger {
    /// A channel with this window, in bytes; at least 1.
    #[must_use]
    pub fn new(window: u64) -> Self {
        Self { window: window.max(1), received: 0, released: 0 }
    }

    /// The total granted so far, in bytes.
    #[must_use]
    pub fn granted(&self) -> u64 {
        self.released.saturating_add(self.window)
    }

    /// The bytes received and not released yet.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.received - self.released
    }

    /// Takes the charge in a batch's header.
    ///
    /// # Errors
    /// The sender had no credit for it.
    pub fn on_received(&mut self, cost: u64) -> Result<(), CreditViolation> {
        let outstanding = self.outstanding();
        let fits = outstanding.checked_add(cost).is_some_and(|total| total <= self.window);
        let alone = outstanding == 0 && cost <= ROW_BYTES_MAX && self.received.checked_add(cost).is_some();
        if !fits && !alone {
            return Err(CreditViolation::Overspent { cost, outstanding, window: self.window });
        }
        self.received += cost;
        Ok(())
    }

    /// Returns the charge of a processed batch. Gives the new total granted.
    pub fn release(&mut self, cost: u64) -> u64 {
        assert!(cost <= self.outstanding(), "more is released than was received");
        self.released += cost;
        self.granted()
    }
}

#[cfg(test)]
mod tests;
