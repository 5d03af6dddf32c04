//! Turns observations into figures (medians, gaps), and prints them.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

/// The median, or 0 without values.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The largest value, or 0 without values.
pub(crate) fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, f64::max)
}

/// The arithmetic mean, or 0 without values.
pub(crate) fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// The longest time between moments within a span. The moments are in order, and the ends of the span count as
/// moments.
pub(crate) fn longest_gap(moments: &[Duration], from: Duration, to: Duration) -> Duration {
    let within = moments.iter().copied().filter(|moment| (from..to).contains(moment));
    let mut before = from;
    let mut longest = Duration::ZERO;
    for moment in within.chain([to]) {
        longest = longest.max(moment.saturating_sub(before));
        before = moment;
    }
    longest
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// A row of a table, with its titles and its figures as text.
pub(crate) trait Row: Serialize {
    const TITLES: &'static [&'static str];

    /// One cell per title.
    fn cells(&self) -> Vec<String>;
}

/// Prints rows as they come: a table, or JSON lines.
#[derive(Debug)]
pub(crate) struct Report {
    json: bool,
    has_titles: bool,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, has_titles: false }
    }

    pub(crate) fn row<R: Row>(&mut self, row: &R) -> Result<()> {
        if self.json {
            println!("{}", serde_json::to_string(row)?);
            return Ok(());
        }
        let line = |cells: Vec<String>| {
            let padded =
                cells.iter().zip(R::TITLES).map(|(cell, title)| format!("{cell:>width$}", width = width(title)));
            padded.collect::<Vec<_>>().join("  ")
        };
        if !std::mem::replace(&mut self.has_titles, true) {
            println!("{}", line(R::TITLES.iter().map(|title| (*title).to_owned()).collect()));
        }
        println!("{}", line(row.cells()));
        Ok(())
    }
}

fn width(title: &str) -> usize {
    title.chars().count().max(9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_reach_to_the_ends_of_the_span() {
        let at = Duration::from_millis;
        let moments = [5, 10, 30, 100].map(at);
        assert_eq!(longest_gap(&moments, at(8), at(40)), at(20));
        assert_eq!(longest_gap(&moments, at(31), at(90)), at(59));
        assert_eq!(longest_gap(&moments, at(0), at(31)), at(20));
    }

    #[test]
    fn figures_of_nothing_are_0() {
        assert_eq!((median(Vec::new()), mean(&[]), largest([])), (0.0, 0.0, 0.0));
        assert_eq!((median(vec![3.0, 1.0, 2.0]), mean(&[1.0, 3.0]), largest([1.0, 4.0, 2.0])), (2.0, 2.0, 4.0));
    }
}
