//! The texts of events: pools of strings that all batches share. An event picks one by index, so that a row costs a
//! copy of a 16-byte view and no text.

use std::sync::LazyLock;

use arrow::{
    array::{StringViewArray, StringViewBuilder},
    buffer::Buffer,
};

use crate::random::{Random, below};

/// Strings per pool of random texts. A power of two, so that all are equally likely.
pub(super) const POOL: u64 = 8192;
/// Length of the text that a pool's strings are cut from.
const LETTERS: u64 = 64 << 10;
/// Pools do not depend on the table's seed; only the choice from them does.
const POOL_SEED: u64 = 0x6e65_786d_6172_6b00;

/// Channels besides the hot ones.
pub(super) const CHANNELS: u64 = 10_000;
/// The first strings of the channel and URL pools.
pub(super) const HOT_CHANNELS: u64 = 4;
const HOT_CHANNEL_NAMES: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];

const FIRST_NAMES: [&str; 11] =
    ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
const LAST_NAMES: [&str; 9] = ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
const CITY_NAMES: [&str; 10] =
    ["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"];
const STATE_NAMES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];

pub(super) static NAMES: LazyLock<StringViewArray> = LazyLock::new(|| {
    let names = FIRST_NAMES.iter().flat_map(|first| LAST_NAMES.iter().map(move |last| format!("{first} {last}")));
    StringViewArray::from_iter_values(names)
});
pub(super) static CITIES: LazyLock<StringViewArray> = LazyLock::new(|| StringViewArray::from_iter_values(CITY_NAMES));
pub(super) static STATES: LazyLock<StringViewArray> = LazyLock::new(|| StringViewArray::from_iter_values(STATE_NAMES));
pub(super) static EMAILS: LazyLock<StringViewArray> = LazyLock::new(|| {
    let letters = |draw, index, count| letters(Random::new(POOL_SEED), draw, index, count);
    StringViewArray::from_iter_values(
        (0..POOL).map(|index| format!("{}@{}.com", letters(1, index, 7), letters(2, index, 5))),
    )
});
pub(super) static CREDIT_CARDS: LazyLock<StringViewArray> = LazyLock::new(|| {
    let random = Random::new(POOL_SEED);
    let group = |draw, index| below(random.draw(draw, index), 10_000);
    let card =
        |index| format!("{:04} {:04} {:04} {:04}", group(3, index), group(4, index), group(5, index), group(6, index));
    StringViewArray::from_iter_values((0..POOL).map(card))
});
pub(super) static CHANNEL_NAMES: LazyLock<StringViewArray> = LazyLock::new(|| {
    let hot = HOT_CHANNEL_NAMES.iter().map(|name| (*name).to_owned());
    StringViewArray::from_iter_values(hot.chain((0..CHANNELS).map(|channel| format!("channel-{channel}"))))
});
pub(super) static URLS: LazyLock<StringViewArray> = LazyLock::new(|| {
    let random = Random::new(POOL_SEED);
    let url = |index: u64| {
        let folder = |draw| letters(random, draw, index, 3 + below(random.draw(draw, !index), 2));
        let base = format!("https://www.nexmark.com/{}/{}/{}/item.htm?query=1", folder(7), folder(8), folder(9));
        // One in ten of the other channels has no identifier in its URL.
        match index.checked_sub(HOT_CHANNELS).and_then(|channel| u32::try_from(channel).ok()) {
            Some(channel) if below(random.draw(10, index), 10) > 0 => {
                format!("{base}&channel_id={}", channel.reverse_bits().cast_signed().unsigned_abs())
            }
            _ => base,
        }
    };
    StringViewArray::from_iter_values((0..HOT_CHANNELS + CHANNELS).map(url))
});
pub(super) static ITEM_NAMES: LazyLock<StringViewArray> = LazyLock::new(|| cut_pool(11, 3..20));
pub(super) static DESCRIPTIONS: LazyLock<StringViewArray> = LazyLock::new(|| cut_pool(12, 3..100));
// Lengths that bring the average event to the size in the definition: 200, 500 and 100 bytes.
pub(super) static PERSON_EXTRAS: LazyLock<StringViewArray> = LazyLock::new(|| cut_pool(13, 105..157));
pub(super) static AUCTION_EXTRAS: LazyLock<StringViewArray> = LazyLock::new(|| cut_pool(14, 265..398));
pub(super) static BID_EXTRAS: LazyLock<StringViewArray> = LazyLock::new(|| cut_pool(15, 54..82));

fn letters(random: Random, draw: u64, index: u64, count: u64) -> String {
    (0..count).map(|place| letter(random.draw(draw, index << 8 | place))).collect()
}

fn letter(random: u64) -> char {
    char::from(b'a' + u8::try_from(below(random, 26)).expect("below 26"))
}

/// Texts of random lengths, cut at random places from one long text.
fn cut_pool(draw: u64, lengths: std::ops::Range<u64>) -> StringViewArray {
    let random = Random::new(POOL_SEED);
    let text: String = (0..LETTERS).map(|place| letter(random.draw(draw, place))).collect();
    let mut pool = StringViewBuilder::new();
    let block = pool.append_block(Buffer::from(text.into_bytes()));
    for index in 0..POOL {
        let random = random.draw(draw << 8, index);
        let length = lengths.start + below(random, lengths.end - lengths.start);
        let offset = below(random << 32, LETTERS - length);
        let small = |number: u64| u32::try_from(number).expect("below the number of letters");
        pool.try_append_view(block, small(offset), small(length)).expect("within the text");
    }
    pool.finish()
}
