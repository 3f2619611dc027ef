//! The values that are tried: every combination of the values of each parameter.

use crate::config::ParamValue;
use crate::strategy::param::{ParamError, ParamKind, ParamSpec, nearest};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Values of one parameter, as a job gives them.
#[derive(Debug, Clone, PartialEq)]
pub enum Range {
    /// `from`, and on by `step` as long as it is not beyond `to`. For numbers.
    Steps { from: ParamValue, to: ParamValue, step: ParamValue },
    /// Each of these.
    Values(Vec<ParamValue>),
}

/// One combination of values by parameter.
pub type Point = BTreeMap<Arc<str>, ParamValue>;

/// What is wrong with the values that a job gives.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SpaceError {
    /// A name or value that the strategy does not take.
    #[error(transparent)]
    Param(#[from] ParamError),
    /// A range that cannot be walked.
    #[error("parameter `{name}`: {reason}")]
    Range { name: Arc<str>, reason: &'static str },
    /// No parameter varies.
    #[error("no parameter is given a range: there is nothing to search; parameters are {known}")]
    Empty { known: String },
    /// Too many combinations.
    #[error("{trials} trials ({axes}); at most {most} are allowed: take larger steps or fewer parameters")]
    TooMany { trials: u128, axes: String, most: u64 },
}

#[derive(Debug, Clone, PartialEq)]
struct Axis {
    name: Arc<str>,
    values: Vec<ParamValue>,
}

/// Every combination of the values of some parameters, numbered from 0. The last parameter by name changes fastest.
#[derive(Debug, Clone, PartialEq)]
pub struct Space {
    axes: Vec<Axis>,
    size: u64,
}

impl Space {
    /// Checks ranges against the parameters of a strategy; on failure lists everything that is wrong. `most` bounds the combinations.
    pub fn new(specs: &[ParamSpec], ranges: &BTreeMap<Arc<str>, Range>, most: u64) -> Result<Space, Vec<SpaceError>> {
        if ranges.is_empty() {
            let known = specs.iter().map(|spec| spec.name).collect::<Vec<_>>().join(", ");
            return Err(vec![SpaceError::Empty { known }]);
        }
        let (mut axes, mut sizes, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for (name, range) in ranges {
            let Some(spec) = specs.iter().find(|spec| spec.name == &**name) else {
                let nearest = nearest(name, specs.iter().map(|spec| spec.name));
                errors.push(ParamError::Unknown { name: name.to_string(), nearest }.into());
                continue;
            };
            match values(spec, range, most) {
                Ok(Values::Listed(values)) => {
                    sizes.push((name, values.len() as u128));
                    axes.push(Axis { name: name.clone(), values });
                }
                Ok(Values::TooMany(count)) => sizes.push((name, count)),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let trials = sizes.iter().fold(1, |product: u128, (_, count)| product.saturating_mul(*count));
        match u64::try_from(trials) {
            Ok(size) if size <= most => Ok(Space { axes, size }),
            _ => {
                let axes = sizes.iter().map(|(name, count)| format!("{name}: {count}")).collect::<Vec<_>>().join(", ");
                Err(vec![SpaceError::TooMany { trials, axes, most }])
            }
        }
    }

    /// How many combinations there are; at least 1.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The combination of a number, if it is below [`Space::size`].
    pub fn point(&self, number: u64) -> Option<Point> {
        if number >= self.size {
            return None;
        }
        let mut rest = number;
        let digits = self.axes.iter().rev().map(|axis| {
            let base = axis.values.len() as u64;
            let value = axis.values[(rest % base) as usize].clone();
            rest /= base;
            (axis.name.clone(), value)
        });
        Some(digits.collect())
    }
}

enum Values {
    Listed(Vec<ParamValue>),
    /// More than any job may have: they were not written down.
    TooMany(u128),
}

fn values(spec: &ParamSpec, range: &Range, most: u64) -> Result<Values, SpaceError> {
    let wrong = |reason| Err(SpaceError::Range { name: spec.name.into(), reason });
    match range {
        Range::Values(values) if values.is_empty() => wrong("its list of values is empty"),
        Range::Values(values) if values.len() as u128 > u128::from(most) => Ok(Values::TooMany(values.len() as u128)),
        Range::Values(values) => {
            let mut checked: Vec<ParamValue> = Vec::new();
            for value in values {
                let value = spec.check(value)?;
                if checked.contains(&value) {
                    return wrong("a value is listed twice");
                }
                checked.push(value);
            }
            Ok(Values::Listed(checked))
        }
        Range::Steps { from, to, step } => match (spec.kind, spec.check(from)?, spec.check(to)?, step) {
            (ParamKind::Int { .. }, ParamValue::Int(from), ParamValue::Int(to), ParamValue::Int(step)) => {
                if *step <= 0 {
                    return wrong("its step must be a whole number above 0");
                }
                if to < from {
                    return wrong("`to` is below `from`");
                }
                let count = (i128::from(to) - i128::from(from)).unsigned_abs() / u128::from(step.unsigned_abs()) + 1;
                if count > u128::from(most) {
                    return Ok(Values::TooMany(count));
                }
                let values = (0..count as i64).map(|n| ParamValue::Int(from + n * step));
                Ok(Values::Listed(values.collect()))
            }
            (ParamKind::Int { .. }, ..) => wrong("its step must be a whole number above 0"),
            (ParamKind::Float { .. }, ParamValue::Float(from), ParamValue::Float(to), step) => {
                floats(spec.name, from, to, step, most)
            }
            _ => wrong("it has no steps: give it a list of `values`"),
        },
    }
}

fn floats(name: &str, from: f64, to: f64, step: &ParamValue, most: u64) -> Result<Values, SpaceError> {
    let wrong = |reason| Err(SpaceError::Range { name: name.into(), reason });
    let step = match step {
        ParamValue::Int(step) => *step as f64,
        ParamValue::Float(step) => *step,
        _ => f64::NAN,
    };
    if !(step.is_finite() && step > 0.0) {
        return wrong("its step must be a number above 0");
    }
    if to < from {
        return wrong("`to` is below `from`");
    }
    // What is a step short of `to` only by rounding is a step.
    let steps = ((to - from) / step + 1e-9).floor();
    if steps >= most as f64 {
        return Ok(Values::TooMany(if steps < 1e30 { steps as u128 + 1 } else { u128::MAX }));
    }
    let value = |n: u64| ParamValue::Float(decimal(from + n as f64 * step).min(to));
    let values: Vec<ParamValue> = (0..=steps as u64).map(value).collect();
    match values.windows(2).all(|pair| pair[0] != pair[1]) {
        true => Ok(Values::Listed(values)),
        false => wrong("its step is too small beside its values"),
    }
}

/// Without the dust of binary fractions: 0.30000000000000004 is 0.3.
fn decimal(value: f64) -> f64 {
    format!("{value:.11e}").parse().unwrap_or(value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ParamValue::{Bool, Float, Int, Text};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const SPECS: &[ParamSpec] = &[
        ParamSpec { name: "fast", kind: ParamKind::Int { min: 1, max: 1_000_000, default: 8 }, doc: "Periods." },
        ParamSpec { name: "slow", kind: ParamKind::Int { min: 1, max: 50, default: 21 }, doc: "Periods." },
        ParamSpec { name: "band", kind: ParamKind::Float { min: 0.0, max: 10.0, default: 0.1 }, doc: "Band." },
        ParamSpec { name: "both", kind: ParamKind::Bool { default: true }, doc: "Both sides." },
        ParamSpec { name: "side", kind: ParamKind::Choice { allowed: &["long", "short"], default: "long" }, doc: "." },
    ];

    fn steps(from: ParamValue, to: ParamValue, step: ParamValue) -> Range {
        Range::Steps { from, to, step }
    }

    fn space(ranges: &[(&str, Range)]) -> Result<Space, Vec<String>> {
        let ranges = ranges.iter().map(|(name, range)| ((*name).into(), range.clone())).collect();
        Space::new(SPECS, &ranges, 1_000).map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    fn points(space: &Space) -> Vec<Vec<ParamValue>> {
        (0..space.size()).map(|n| space.point(n).unwrap().into_values().collect()).collect()
    }

    #[test]
    fn a_grid_is_every_combination_not_the_diagonal() {
        let ranges = [("slow", steps(Int(10), Int(21), Int(5))), ("fast", Range::Values(vec![Int(3), Int(2)]))];
        let found = points(&space(&ranges).unwrap());
        let expected: Vec<Vec<ParamValue>> = [(3, 10), (3, 15), (3, 20), (2, 10), (2, 15), (2, 20)]
            .map(|(fast, slow)| vec![Int(fast), Int(slow)])
            .into();
        assert_eq!(found, expected);
        assert_eq!(space(&ranges).unwrap().point(6), None);
        let words = [
            ("both", Range::Values(vec![Bool(true), Bool(false)])),
            ("side", Range::Values(vec![Text("short".into())])),
        ];
        assert_eq!(
            points(&space(&words).unwrap()),
            [[Bool(true), Text("short".into())], [Bool(false), Text("short".into())]]
        );
    }

    #[test]
    fn steps_of_a_number_are_the_decimals_that_a_person_means() {
        let of = |from, to, step| points(&space(&[("band", steps(from, to, step))]).unwrap()).concat();
        assert_eq!(of(Float(0.1), Float(0.5), Float(0.1)), [0.1, 0.2, 0.3, 0.4, 0.5].map(Float));
        assert_eq!(of(Int(1), Int(2), Float(0.4)), [1.0, 1.4, 1.8].map(Float));
        assert_eq!(of(Float(2.5), Float(2.5), Int(1)), [Float(2.5)]);
    }

    #[test]
    fn every_error_names_the_parameter_and_what_is_allowed() {
        let errors = space(&[
            ("fasst", Range::Values(vec![Int(1)])),
            ("slow", steps(Int(10), Int(51), Int(1))),
            ("band", steps(Float(1.0), Float(0.5), Float(0.1))),
            ("both", steps(Bool(true), Bool(false), Int(1))),
            ("side", Range::Values(vec![Text("up".into())])),
        ])
        .unwrap_err();
        assert_eq!(
            errors,
            [
                "parameter `band`: `to` is below `from`",
                "parameter `both`: it has no steps: give it a list of `values`",
                "unknown parameter `fasst` (did you mean `fast`?)",
                "parameter `side`: \"up\" is out of range; allowed: one of long, short",
                "parameter `slow`: 51 is out of range; allowed: a whole number from 1 to 50",
            ]
        );
        let one = |name, range| space(&[(name, range)]).unwrap_err().concat();
        assert!(one("slow", steps(Int(1), Int(5), Int(0))).contains("above 0"));
        assert!(one("slow", steps(Int(1), Int(5), Float(0.5))).contains("whole number above 0"));
        assert!(one("band", steps(Int(0), Int(5), Float(f64::NAN))).contains("above 0"));
        assert!(one("band", steps(Float(5.0), Float(5.0 + 4e-12), Float(1e-12))).contains("too small"));
        assert!(one("band", Range::Values(vec![])).contains("empty"));
        assert!(one("band", Range::Values(vec![Int(1), Float(1.0)])).contains("twice"));
        assert!(space(&[]).unwrap_err()[0].contains("fast, slow, band, both, side"));
    }

    #[test]
    fn too_many_trials_are_refused_before_they_are_written_down() {
        let most = 1_000;
        assert_eq!(space(&[("fast", steps(Int(1), Int(1_000), Int(1)))]).unwrap().size(), most);
        let errors =
            space(&[("fast", steps(Int(1), Int(1_000_000), Int(1))), ("slow", steps(Int(1), Int(50), Int(1)))]);
        let expected = "50000000 trials (fast: 1000000, slow: 50); at most 1000 are allowed: take larger steps or fewer \
                        parameters";
        assert_eq!(errors.unwrap_err(), [expected]);
        assert!(space(&[("band", steps(Int(0), Int(10), Float(1e-300)))]).unwrap_err()[0].contains("at most 1000"));
    }

    proptest! {
        #[test]
        fn points_are_all_different_and_within_their_ranges(
            fast in (1i64..500, 0i64..9, 1i64..4),
            band in (0u32..40, 0u32..40, 1u32..9),
        ) {
            let tenths = |n: u32| Float(f64::from(n) / 10.0);
            let ranges = [
                ("fast", steps(Int(fast.0), Int(fast.0 + fast.1), Int(fast.2))),
                ("band", steps(tenths(band.0), tenths(band.0 + band.1), tenths(band.2))),
            ];
            let space = space(&ranges).unwrap();
            let expected = (fast.1 / fast.2 + 1) as u64 * u64::from(band.1 / band.2 + 1);
            prop_assert_eq!(space.size(), expected);
            let mut seen = BTreeSet::new();
            for point in points(&space) {
                let [Float(b), Int(f)] = point[..] else { panic!("two values") };
                prop_assert!((fast.0..=fast.0 + fast.1).contains(&f));
                let tenth = (b * 10.0).round();
                prop_assert_eq!(b, tenth / 10.0, "an exact decimal");
                prop_assert!((f64::from(band.0)..=f64::from(band.0 + band.1)).contains(&tenth));
                prop_assert!(seen.insert((f, tenth as i64)));
            }
            prop_assert_eq!(seen.len() as u64, expected);
        }
    }
}
