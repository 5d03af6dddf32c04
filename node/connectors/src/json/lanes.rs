//! Classifies 16 or 64 bytes at once; the result has one bit per byte.

use wide::u8x16;

/// Bytes per vector.
pub(super) const LANES: usize = 16;
/// Bytes per block: the bits of a word.
const BLOCK: usize = 64;

fn equal(lanes: u8x16, byte: u8) -> u8x16 {
    lanes.simd_eq(u8x16::splat(byte))
}

/// Which lanes are below 0x20.
fn control(lanes: u8x16) -> u8x16 {
    lanes.min(u8x16::splat(0x1f)).simd_eq(lanes)
}

/// Quotes, backslashes and control characters.
#[inline]
pub(super) fn string_stops(chunk: &[u8; LANES]) -> u32 {
    let lanes = u8x16::new(*chunk);
    (equal(lanes, b'"') | equal(lanes, b'\\') | control(lanes)).to_bitmask()
}

/// One bit per byte of a block; the first byte is the lowest bit.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Block {
    quotes: u64,
    backslashes: u64,
    brackets: u64,
    controls: u64,
}

impl Block {
    #[inline]
    fn of(bytes: &[u8; BLOCK]) -> Self {
        let mut block = Self::default();
        for (index, chunk) in bytes.as_chunks::<LANES>().0.iter().enumerate() {
            let lanes = u8x16::new(*chunk);
            // `[` and `{`, and `]` and `}`, differ only in bit 5.
            let folded = lanes | u8x16::splat(0x20);
            let place = |lanes: u8x16| u64::from(lanes.to_bitmask()) << (index * LANES);
            block.quotes |= place(equal(lanes, b'"'));
            block.backslashes |= place(equal(lanes, b'\\'));
            block.brackets |= place(equal(folded, b'{') | equal(folded, b'}'));
            block.controls |= place(control(lanes));
        }
        block
    }
}

/// The bytes escaped by a backslash before them. `carry`: whether the previous block ends in an escaping backslash.
#[inline]
fn escaped(backslashes: u64, carry: &mut u64) -> u64 {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    let backslashes = backslashes & !*carry;
    let follows = backslashes << 1 | *carry;
    // If a run of backslashes starts at an odd index, the addition carries behind its end; that byte is escaped if its
    // index is even.
    let odd_starts = backslashes & !EVEN & !follows;
    let (runs, overflow) = odd_starts.overflowing_add(backslashes);
    *carry = u64::from(overflow);
    (EVEN ^ (runs << 1)) & follows
}

/// Turns each bit into the parity of itself and all lower bits.
#[inline]
fn parity(bits: u64) -> u64 {
    [1, 2, 4, 8, 16, 32].iter().fold(bits, |bits, shift| bits ^ (bits << shift))
}

/// The offset behind the bracket that closes the first one. `None` if the fast path cannot tell: the text is short,
/// deeply nested, or malformed in its brackets, strings or control characters.
pub(super) fn close_of_first(text: &[u8]) -> Option<usize> {
    let (mut carry, mut inside) = (0, 0);
    let mut depth = 0u32;
    // One bit per open bracket, the innermost lowest: whether it is square.
    let mut square = 0u128;
    for (index, bytes) in text.as_chunks::<BLOCK>().0.iter().enumerate() {
        let block = Block::of(bytes);
        let quotes = block.quotes & !escaped(block.backslashes, &mut carry);
        let strings = parity(quotes) ^ inside;
        inside = if strings >> 63 == 1 { u64::MAX } else { 0 };
        let mut brackets = block.brackets & !strings;
        while brackets != 0 {
            let at = brackets.trailing_zeros();
            let bracket = bytes[at as usize];
            let is_square = bracket & 0x20 == 0;
            // Bit 1 is set in `[` and `{`, and clear in `]` and `}`.
            if bracket & 2 != 0 {
                depth += 1;
                square = square << 1 | u128::from(is_square);
            } else {
                let before = (1u64 << at) - 1;
                let is_odd = (block.controls | block.backslashes & !strings) & before != 0;
                if depth > 127 || (square & 1 == 1) != is_square || is_odd {
                    return None;
                }
                depth -= 1;
                square >>= 1;
                if depth == 0 {
                    return Some(index * BLOCK + at as usize + 1);
                }
            }
            brackets &= brackets - 1;
        }
        if depth > 127 || block.controls != 0 || block.backslashes & !strings != 0 {
            return None;
        }
    }
    None
}
