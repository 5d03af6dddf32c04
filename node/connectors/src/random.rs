//! Stateless random numbers: each depends only on the seed, the purpose of the draw, and the event's number.

/// A source of random numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Random {
    seed: u64,
}

/// The odd number nearest to 2^64 over the golden ratio: spreads consecutive counters over all bits.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed: mix(seed ^ GOLDEN) }
    }

    /// The number for an event; `what` says which property is drawn.
    #[inline]
    pub(crate) fn draw(self, what: u64, event: u64) -> u64 {
        mix(event.wrapping_mul(GOLDEN) ^ self.seed.wrapping_add(what.wrapping_mul(0xd1b5_4a32_d192_ed03)))
    }
}

/// A number below `bound`, from the upper bits of a random one.
#[inline]
pub(crate) fn below(random: u64, bound: u64) -> u64 {
    ((random >> 32) * bound) >> 32
}

/// The finalizer of SplitMix64.
#[inline]
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
