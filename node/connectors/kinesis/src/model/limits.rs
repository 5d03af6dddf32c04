//! What a shard allows in a second.

/// What shards allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Records that are put in a second.
    pub put_records: u64,
    /// Bytes that are put in a second.
    pub put_bytes: u64,
    /// Calls of `get_records` in a second.
    pub get_calls: u64,
    /// Bytes of `get_records` in a second. One call may take more; the next ones wait for it.
    pub get_bytes: u64,
    /// Calls of `iterator` in a second.
    pub iterators: u64,
}

impl Limits {
    /// Those of Kinesis.
    pub const KINESIS: Self =
        Self { put_records: 1_000, put_bytes: 1 << 20, get_calls: 5, get_bytes: 2 << 20, iterators: 5 };
    /// None worth mentioning.
    pub const NONE: Self = Self {
        put_records: NO_LIMIT,
        put_bytes: NO_LIMIT,
        get_calls: NO_LIMIT,
        get_bytes: NO_LIMIT,
        iterators: NO_LIMIT,
    };
}

/// More than anything takes in a second.
const NO_LIMIT: u64 = u64::MAX >> 20;

/// What a shard has used of one limit. It fills by the limit in each second, up to that of one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Used {
    /// In thousandths.
    used: u64,
    at_ms: u64,
}

impl Used {
    /// Takes this amount if it fits. Returns whether it did.
    pub(super) fn take(&mut self, amount: u64, limit: u64, now_ms: u64) -> bool {
        self.fill(limit, now_ms);
        let fits = self.used.saturating_add(thousandths(amount)) <= thousandths(limit);
        if fits {
            self.used += thousandths(amount);
        }
        fits
    }

    /// Whether nothing is owed.
    pub(super) fn has_room(&mut self, limit: u64, now_ms: u64) -> bool {
        self.fill(limit, now_ms);
        self.used < thousandths(limit)
    }

    /// Takes this amount; what is too much is owed.
    pub(super) fn owe(&mut self, amount: u64) {
        self.used = self.used.saturating_add(thousandths(amount));
    }

    fn fill(&mut self, limit: u64, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.at_ms);
        self.used = self.used.saturating_sub(passed_ms.saturating_mul(limit));
        self.at_ms = now_ms;
    }
}

fn thousandths(amount: u64) -> u64 {
    amount.saturating_mul(1_000)
}
