use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn entry(key: &str, number: usize, epoch: u64) -> Entry {
    let data = Bytes::from(number.to_string());
    Entry::alone(NewRecord { partition_key: key.to_owned(), explicit_hash_key: None, data }, epoch)
}

fn shown(entries: &[Entry]) -> Vec<String> {
    let of = |entry: &Entry| format!("{}{}", entry.record.partition_key, String::from_utf8_lossy(&entry.record.data));
    entries.iter().map(of).collect()
}

fn queue(is_strict: bool, batch_max: usize, keys: &str) -> PutQueue {
    let mut queue = PutQueue::new(is_strict, batch_max);
    keys.chars().enumerate().for_each(|(number, key)| queue.push(entry(&key.to_string(), number, 0)));
    queue
}

#[test]
fn requests_have_as_many_records_and_bytes_as_they_may() {
    let mut free = queue(false, 2, "aab");
    assert_eq!([shown(&free.take()), shown(&free.take()), shown(&free.take())], [vec!["a0", "a1"], vec!["b2"], vec![]]);
    let mut large = PutQueue::new(false, 500);
    for number in 0..12 {
        let mut entry = entry("k", number, 0);
        entry.record.data = vec![0; (1 << 20) - 1].into();
        large.push(entry);
    }
    assert!(large.is_full(), "it has as many bytes as a request may");
    let taken = large.take();
    assert_eq!(taken.len(), 10, "of 1 MiB each");
    assert!(!large.is_full());
    large.on_not_written(taken);
    assert!(large.is_full());
    assert_eq!([large.take().len(), large.take().len()], [10, 2]);
}

#[test]
fn what_was_not_written_goes_again_before_others() {
    let mut free = queue(false, 3, "abcd");
    let mut taken = free.take();
    let written = taken.remove(1);
    free.on_written(&written);
    free.on_not_written(taken);
    assert_eq!(shown(&free.take()), ["a0", "c2", "d3"]);
    assert_eq!((free.count(), free.oldest_left()), (3, Some(0)));
}

#[test]
fn under_strict_a_key_has_one_record_on_its_way() {
    let mut strict = queue(true, 500, "aabac");
    let first = strict.take();
    assert_eq!(shown(&first), ["a0", "b2", "c4"]);
    assert!(strict.take().is_empty(), "their keys are on their way");
    strict.on_written(&first[1]);
    strict.on_not_written(vec![first[0].clone(), first[2].clone()]);
    assert_eq!(shown(&strict.take()), ["a0", "c4"], "what was not written is the next of its key");
    strict.on_written(&first[0]);
    assert_eq!(shown(&strict.take()), ["a1"]);
}

#[test]
fn an_epoch_is_over_when_nothing_of_it_or_before_is_left() {
    let mut queue = PutQueue::new(false, 1);
    [0, 0, 1, 2].iter().enumerate().for_each(|(number, epoch)| queue.push(entry("k", number, *epoch)));
    let taken: Vec<Entry> = (0..4).flat_map(|_| queue.take()).collect();
    queue.on_written(&taken[2]);
    assert_eq!(queue.oldest_left(), Some(0));
    queue.on_written(&taken[0]);
    queue.on_written(&taken[1]);
    assert_eq!(queue.oldest_left(), Some(2));
    queue.on_written(&taken[3]);
    assert_eq!((queue.oldest_left(), queue.bytes(), queue.count()), (None, 0, 0));
}

/// Puts the records of some keys, of which some calls do not write some. Returns the order in which each key's were written.
fn put(is_strict: bool, keys: &[u8], fates: &[bool]) -> BTreeMap<String, Vec<usize>> {
    let mut queue = PutQueue::new(is_strict, 3);
    for (number, key) in keys.iter().enumerate() {
        queue.push(entry(&key.to_string(), number, 0));
    }
    let mut fates = fates.iter().copied().chain(std::iter::repeat(true));
    let (mut written, mut on_their_way) = (BTreeMap::<String, Vec<usize>>::new(), VecDeque::new());
    loop {
        while let taken @ [_, ..] = &queue.take()[..] {
            on_their_way.push_back(taken.to_vec());
        }
        // Requests are answered in any order.
        let answered = if fates.next() == Some(true) { on_their_way.pop_back() } else { on_their_way.pop_front() };
        let Some(request) = answered else { break };
        let (done, failed): (Vec<Entry>, Vec<Entry>) = request.into_iter().partition(|_| fates.next() == Some(true));
        for entry in done {
            let number: usize = String::from_utf8_lossy(&entry.record.data).parse().expect("a number");
            written.entry(entry.record.partition_key.clone()).or_default().push(number);
            queue.on_written(&entry);
        }
        queue.on_not_written(failed);
    }
    assert_eq!((queue.count(), queue.bytes(), queue.oldest_left()), (0, 0, None));
    written
}

#[test]
fn a_retry_behind_later_records_is_caught() {
    let in_order = |written: &BTreeMap<String, Vec<usize>>| written.values().all(|numbers| numbers.is_sorted());
    let fates = [true, false, true, true];
    assert!(in_order(&put(true, &[7, 7, 7], &fates)));
    bug::activate(Some(Bug::RetryOutOfOrder));
    let written = put(true, &[7, 7, 7], &fates);
    bug::activate(None);
    assert!(!in_order(&written), "{written:?}");
}

proptest! {
    /// Whatever is not written, and however answers come: each record is written once, and under `strict` in the order of its key.
    #[test]
    fn each_record_is_written_once_and_in_order_if_that_is_wanted(
        is_strict: bool,
        keys in proptest::collection::vec(0u8..5, 0..40),
        fates in proptest::collection::vec(any::<bool>(), 0..200),
    ) {
        let written = put(is_strict, &keys, &fates);
        let mut all: Vec<usize> = written.values().flatten().copied().collect();
        prop_assert!(!is_strict || written.values().all(|numbers| numbers.is_sorted()), "{written:?}");
        all.sort_unstable();
        prop_assert_eq!(all, (0..keys.len()).collect::<Vec<_>>());
    }
}
