//! The queues of several channels with one consumer, served in turn.
//!
//! Data is bounded by credit, which is not counted here. Control is bounded by two rules: a watermark (or idleness) at the
//! tail is replaced by a newer one (but the end of input does not replace the last promise before it, which counts on
//! where other inputs are idle), and at most two barriers of a channel are queued: a third supersedes the oldest,
//! whose checkpoint the newer ones abort anyway. Of markers a few are queued; what comes beyond is dropped, since those that
//! have waited for longest tell the most.

use std::collections::VecDeque;

use thalweg_types::{LatencyMarker, Watermark, checkpoint::Barrier};

/// The most barriers in the queue of one channel.
const BARRIERS_MAX: usize = 2;
/// The most markers that a channel has queued.
const MARKERS_MAX: usize = 16;

/// What is sent on a channel.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item<T> {
    /// Rows, and what they were charged.
    Data {
        /// The rows, in memory or encoded.
        payload: T,
        /// The bytes charged.
        cost: u64,
    },
    Watermark(Watermark),
    /// The channel leaves the minimum.
    Idle,
    Barrier(Barrier),
    Marker(LatencyMarker),
    /// The end of the channel's data.
    End,
}

/// Queues of several channels, by index.
#[derive(Debug)]
pub(crate) struct ChannelQueues<T> {
    queues: Vec<VecDeque<Item<T>>>,
    /// The channel at which the search for the next item begins.
    next: usize,
}

impl<T> ChannelQueues<T> {
    pub(crate) fn new(channels: usize) -> Self {
        Self { queues: (0..channels).map(|_| VecDeque::new()).collect(), next: 0 }
    }

    pub(crate) fn push(&mut self, channel: usize, item: Item<T>) {
        push(&mut self.queues[channel], item);
    }

    /// The next item of the next channel in turn that has one and is not blocked.
    pub(crate) fn pop(&mut self, is_blocked: impl Fn(usize) -> bool) -> Option<(usize, Item<T>)> {
        let channels = self.queues.len();
        for step in 0..channels {
            let channel = (self.next + step) % channels;
            if is_blocked(channel) {
                continue;
            }
            if let Some(item) = self.queues[channel].pop_front() {
                self.next = channel + 1;
                return Some((channel, item));
            }
        }
        None
    }

    /// The queue of a channel.
    pub(crate) fn channel_mut(&mut self, channel: usize) -> &mut VecDeque<Item<T>> {
        &mut self.queues[channel]
    }

    #[cfg(test)]
    pub(crate) fn len(&self, channel: usize) -> usize {
        self.queues[channel].len()
    }
}

/// Appends by the rules of this module.
pub(crate) fn push<T>(queue: &mut VecDeque<Item<T>>, item: Item<T>) {
    match item {
        Item::Watermark(watermark) => {
            let is_outdated = |last: &Item<T>| match last {
                Item::Watermark(last) => last.is_end() || !watermark.is_end(),
                Item::Idle => true,
                Item::Data { .. } | Item::Barrier(_) | Item::Marker(_) | Item::End => false,
            };
            while queue.back().is_some_and(is_outdated) {
                queue.pop_back();
            }
        }
        Item::Idle if matches!(queue.back(), Some(Item::Idle)) => return,
        Item::Marker(_) => {
            if queue.iter().filter(|item| matches!(item, Item::Marker(_))).count() >= MARKERS_MAX {
                return;
            }
        }
        Item::Barrier(_) => {
            let is_barrier = |item: &Item<T>| matches!(item, Item::Barrier(_));
            if queue.iter().filter(|item| is_barrier(item)).count() >= BARRIERS_MAX
                && let Some(oldest) = queue.iter().position(is_barrier)
            {
                queue.remove(oldest);
            }
        }
        Item::Data { .. } | Item::Idle | Item::End => {}
    }
    queue.push_back(item);
}

#[cfg(test)]
mod tests {
    use thalweg_types::CheckpointId;

    use super::*;

    fn barrier(id: u64) -> Item<u32> {
        Item::Barrier(Barrier::aligned(CheckpointId(id)))
    }

    fn data(payload: u32) -> Item<u32> {
        Item::Data { payload, cost: 1 }
    }

    #[test]
    fn channels_are_served_in_turn_and_blocked_ones_passed_over() {
        let mut queues = ChannelQueues::new(3);
        for channel in 0..3 {
            queues.push(channel, data(10 * channel as u32));
            queues.push(channel, data(10 * channel as u32 + 1));
        }
        let order: Vec<usize> = std::iter::from_fn(|| queues.pop(|channel| channel == 1)).map(|(at, _)| at).collect();
        assert_eq!(order, [0, 2, 0, 2]);
        assert_eq!(queues.pop(|_| false), Some((1, data(10))));
        assert_eq!(queues.len(1), 1);
    }

    #[test]
    fn watermarks_at_the_tail_are_replaced() {
        let mut queues = ChannelQueues::new(1);
        queues.push(0, Item::Watermark(Watermark(1)));
        queues.push(0, data(1));
        queues.push(0, Item::Watermark(Watermark(2)));
        queues.push(0, Item::Idle);
        queues.push(0, Item::Idle);
        assert_eq!(queues.len(0), 4);
        queues.push(0, Item::Watermark(Watermark(3)));
        let items: Vec<Item<u32>> = std::iter::from_fn(|| queues.pop(|_| false)).map(|(_, item)| item).collect();
        assert_eq!(items, [Item::Watermark(Watermark(1)), data(1), Item::Watermark(Watermark(3))]);
    }

    #[test]
    fn the_end_does_not_replace_the_last_promise() {
        let mut queues: ChannelQueues<u32> = ChannelQueues::new(1);
        for watermark in [Watermark(1), Watermark(2), Watermark::MAX, Watermark::MAX] {
            queues.push(0, Item::Watermark(watermark));
            queues.push(0, Item::Idle);
        }
        let items: Vec<Item<u32>> = std::iter::from_fn(|| queues.pop(|_| false)).map(|(_, item)| item).collect();
        assert_eq!(items, [Item::Watermark(Watermark(2)), Item::Watermark(Watermark::MAX), Item::Idle]);
    }

    #[test]
    fn the_oldest_markers_stay_where_too_many_wait() {
        let mut queues: ChannelQueues<u32> = ChannelQueues::new(1);
        for micros in 0..100 {
            queues.push(0, Item::Marker(LatencyMarker(micros)));
            queues.push(0, data(0));
        }
        let items = std::iter::from_fn(|| queues.pop(|_| false)).map(|(_, item)| item);
        let markers: Vec<Item<u32>> = items.filter(|item| matches!(item, Item::Marker(_))).collect();
        let oldest: Vec<Item<u32>> = (0..16).map(|micros| Item::Marker(LatencyMarker(micros))).collect();
        assert_eq!(markers, oldest);
    }

    #[test]
    fn a_third_barrier_supersedes_the_oldest() {
        let mut queues: ChannelQueues<u32> = ChannelQueues::new(1);
        for id in 1..=4 {
            queues.push(0, barrier(id));
            queues.push(0, data(0));
        }
        let items: Vec<Item<u32>> = std::iter::from_fn(|| queues.pop(|_| false)).map(|(_, item)| item).collect();
        let barriers: Vec<_> = items.iter().filter(|item| matches!(item, Item::Barrier(_))).collect();
        assert_eq!(barriers, [&barrier(3), &barrier(4)]);
        assert_eq!(items.len(), 6);
    }
}
