//! The parts that are hashed, in their encoding.

use xxhash_rust::xxh3::xxh3_64;

/// Numbers, words and lists, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parts(Vec<u8>);

impl Parts {
    pub(super) fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn signed(&mut self, number: i64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn flag(&mut self, is_set: bool) {
        self.number(is_set.into());
    }

    pub(super) fn count(&mut self, count: usize) {
        self.number(u64::try_from(count).expect("counts fit in 64 bits"));
    }

    pub(super) fn word(&mut self, word: &str) {
        self.count(word.len());
        self.0.extend_from_slice(word.as_bytes());
    }

    pub(super) fn option<T>(&mut self, value: Option<T>, add: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            add(self, value);
        }
    }

    pub(super) fn list<I>(&mut self, items: I, mut add: impl FnMut(&mut Self, I::Item))
    where
        I: IntoIterator,
        I::IntoIter: ExactSizeIterator,
    {
        let items = items.into_iter();
        self.count(items.len());
        items.for_each(|item| add(self, item));
    }

    pub(super) fn words(&mut self, words: &[String]) {
        self.list(words, |parts, word| parts.word(word));
    }

    pub(super) fn indexes(&mut self, indexes: &[usize]) {
        self.list(indexes, |parts, index| parts.count(*index));
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn hash(&self) -> u64 {
        xxh3_64(&self.0)
    }
}
