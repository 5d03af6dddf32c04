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

/// The value that this share of all is not above, or 0 without values.
pub(crate) fn percentile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// By how much values grow with each unit of time, as the line does that fits them best; 0 for fewer than two.
pub(crate) fn slope(values: &[(f64, f64)]) -> f64 {
    let of = |pick: fn(&(f64, f64)) -> f64| mean(&values.iter().map(pick).collect::<Vec<f64>>());
    let (time, value) = (of(|point| point.0), of(|point| point.1));
    let spread: f64 = values.iter().map(|point| (point.0 - time).powi(2)).sum();
    let together: f64 = values.iter().map(|point| (point.0 - time) * (point.1 - value)).sum();
    if spread > 0.0 { together / spread } else { 0.0 }
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
        assert_eq!((percentile(Vec::new(), 0.5), slope(&[]), slope(&[(1.0, 5.0)])), (0.0, 0.0, 0.0));
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let of = |share| percentile(values.clone(), share);
        assert_eq!((of(0.5), of(0.99), of(1.0), of(0.001)), (50.0, 99.0, 100.0, 1.0));
    }

    #[test]
    fn a_slope_is_that_of_the_line() {
        assert_eq!(slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]), 2.0);
        assert_eq!(slope(&[(0.0, 7.0), (1.0, 7.0)]), 0.0);
    }
}
