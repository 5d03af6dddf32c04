//! A cache of the last few values.

use std::collections::VecDeque;

/// Holds the last values that were made, up to a number.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    entries: VecDeque<(K, V)>,
    max: usize,
}

impl<K: PartialEq, V: Clone> Recent<K, V> {
    pub(super) fn new(max: usize) -> Self {
        Self { entries: VecDeque::new(), max }
    }

    /// The value of a key. Makes and keeps it if it is missing. An error is not kept.
    pub(super) fn get_or_make<E>(&mut self, key: K, make: impl FnOnce() -> Result<V, E>) -> Result<V, E> {
        if let Some((_, value)) = self.entries.iter().find(|(of, _)| *of == key) {
            return Ok(value.clone());
        }
        let value = make()?;
        self.entries.truncate(self.max.saturating_sub(1));
        self.entries.push_front((key, value.clone()));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_few_are_kept() {
        let mut recent = Recent::new(2);
        let mut made = Vec::new();
        for key in [1, 2, 1, 3, 3, 2, 1] {
            let value = recent.get_or_make(key, || {
                made.push(key);
                Ok::<_, ()>(key * 10)
            });
            assert_eq!(value, Ok(key * 10));
        }
        assert_eq!(made, [1, 2, 3, 1], "the oldest is dropped");
        assert_eq!(recent.get_or_make(9, || Err("no")), Err("no"));
        assert_eq!(recent.get_or_make(9, || Ok::<_, ()>(1)), Ok(1));
    }
}
