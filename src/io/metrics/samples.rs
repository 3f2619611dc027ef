//! What one scrape gathers: families by name, each with its points.

use super::histogram::Recorded;
use std::collections::BTreeMap;
use std::time::Instant;

/// Labels of a point.
pub(super) type Labels = Vec<(&'static str, String)>;

/// The value of a point.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A count.
    Count(u64),
    /// A number.
    Number(f64),
    /// Seconds since then, at the time of the answer.
    Since(Instant),
    /// Durations.
    Durations(Recorded),
}

/// What a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only rises.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations by size.
    Histogram,
}

#[derive(Debug, Clone)]
pub(super) struct Family {
    pub help: &'static str,
    pub kind: Kind,
    pub points: Vec<(Labels, Value)>,
}

/// Measured values.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    pub(super) families: BTreeMap<&'static str, Family>,
}

impl Samples {
    /// Adds a count that only rises. Its name ends with `_total`.
    pub fn counter(&mut self, name: &'static str, help: &'static str, labels: &[(&'static str, String)], count: u64) {
        debug_assert!(name.ends_with("_total"), "{name}");
        self.add(name, help, Kind::Counter, labels, Value::Count(count));
    }

    /// Adds a counter that is not a whole number. Its name ends with `_total`.
    pub fn counter_f64(&mut self, name: &'static str, help: &'static str, labels: &[(&'static str, String)], sum: f64) {
        debug_assert!(name.ends_with("_total"), "{name}");
        self.add(name, help, Kind::Counter, labels, Value::Number(sum));
    }

    /// Adds a number. One that is not finite is not known, and left out.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, labels: &[(&'static str, String)], value: f64) {
        self.add(name, help, Kind::Gauge, labels, Value::Number(value));
    }

    /// Adds the seconds since a moment, counted when the answer is made.
    pub fn since(&mut self, name: &'static str, help: &'static str, labels: &[(&'static str, String)], at: Instant) {
        self.add(name, help, Kind::Gauge, labels, Value::Since(at));
    }

    /// Adds durations. The name ends with `_seconds`.
    pub fn histogram(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, String)],
        durations: Recorded,
    ) {
        self.add(name, help, Kind::Histogram, labels, Value::Durations(durations));
    }

    fn add(
        &mut self,
        name: &'static str,
        help: &'static str,
        kind: Kind,
        labels: &[(&'static str, String)],
        value: Value,
    ) {
        if matches!(value, Value::Number(number) if !number.is_finite()) {
            return;
        }
        let family = self.families.entry(name).or_insert_with(|| Family { help, kind, points: Vec::new() });
        // One name is one kind of thing; a point that differs would make the whole answer unreadable. The same for a point twice.
        let fits = family.kind == kind && family.points.iter().all(|(known, _)| known != labels);
        debug_assert!(fits, "{name} {labels:?} is told twice or as two kinds");
        if fits {
            family.points.push((labels.to_vec(), value));
        }
    }

    /// Adds what another one holds.
    pub fn merge(&mut self, other: Samples) {
        for (name, family) in other.families {
            for (labels, value) in family.points {
                self.add(name, family.help, family.kind, &labels, value);
            }
        }
    }

    /// The value of a point, if there is one.
    pub fn get(&self, name: &str, labels: &[(&'static str, &str)]) -> Option<&Value> {
        let same = |known: &Labels| known.iter().map(|(key, value)| (*key, value.as_str())).eq(labels.iter().copied());
        self.families.get(name)?.points.iter().find(|(known, _)| same(known)).map(|(_, value)| value)
    }
}
