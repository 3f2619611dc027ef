//! A grid search: every point of a space is tried once.

use super::score::{Measures, Metric};
use super::space::{Point, Space};

/// What came of one trial.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It ran and has a score.
    Scored { score: f64, measures: Measures },
    /// It ran and has none.
    Unscored { reason: String, measures: Measures },
    /// It could not run.
    Failed { error: String },
}

/// One trial that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Its number in the space.
    pub number: u64,
    /// Its values.
    pub point: Point,
    /// What came of it.
    pub outcome: Outcome,
}

/// Which trials are left, and what came of the others. The result does not depend on the order in which trials end.
#[derive(Debug)]
pub struct Search {
    space: Space,
    metric: Metric,
    trades_min: u64,
    next: u64,
    /// Ended, by number.
    trials: std::collections::BTreeMap<u64, Trial>,
    best: Option<(f64, u64)>,
}

impl Search {
    /// A search through a whole space; runs with fewer round trips than `trades_min` are not scored.
    pub fn new(space: Space, metric: Metric, trades_min: u64) -> Search {
        Search { space, metric, trades_min, next: 0, trials: Default::default(), best: None }
    }

    /// The next trial to run, until there are no more.
    pub fn next_trial(&mut self) -> Option<(u64, Point)> {
        let point = self.space.point(self.next)?;
        self.next += 1;
        Some((self.next - 1, point))
    }

    /// A trial ended. A second word of the same trial, or one of a trial that was not handed out, is ignored.
    pub fn ended(&mut self, number: u64, result: Result<Measures, String>) {
        if number >= self.next || self.trials.contains_key(&number) {
            return;
        }
        let Some(point) = self.space.point(number) else { return };
        let outcome = match result {
            Err(error) => Outcome::Failed { error },
            Ok(measures) => match self.metric.score(&measures, self.trades_min) {
                Err(reason) => Outcome::Unscored { reason: reason.to_string(), measures },
                Ok(score) => {
                    // Of equals the first in the grid, whoever was faster.
                    let wins = self
                        .best
                        .is_none_or(|(best, at)| self.metric.is_better(score, best) || score == best && number < at);
                    if wins {
                        self.best = Some((score, number));
                    }
                    Outcome::Scored { score, measures }
                }
            },
        };
        self.trials.insert(number, Trial { number, point, outcome });
    }

    /// The best trial so far.
    pub fn best(&self) -> Option<&Trial> {
        self.best.and_then(|(_, number)| self.trials.get(&number))
    }

    /// Trials that ended.
    pub fn done(&self) -> u64 {
        self.trials.len() as u64
    }

    /// All trials, in the air and to come too.
    pub fn total(&self) -> u64 {
        self.space.size()
    }

    /// The trials that ended, by number.
    pub fn trials(&self) -> impl Iterator<Item = &Trial> {
        self.trials.values()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::score::tests::measures;
    use super::*;
    use crate::config::ParamValue;
    use crate::optimize::Range;
    use crate::strategy::param::{ParamKind, ParamSpec};
    use proptest::prelude::*;

    const SPECS: &[ParamSpec] =
        &[ParamSpec { name: "n", kind: ParamKind::Int { min: 0, max: 99, default: 0 }, doc: "N." }];

    fn search(trials: i64) -> Search {
        let values = Range::Values((0..trials).map(ParamValue::Int).collect());
        Search::new(Space::new(SPECS, &[("n".into(), values)].into(), 100).unwrap(), Metric::TotalReturn, 1)
    }

    #[test]
    fn failed_and_unscored_trials_are_never_the_best() {
        let mut search = search(4);
        for (number, result) in
            [Err("it panicked".to_owned()), Ok(measures(9.0, 0)), Ok(measures(-0.5, 1)), Ok(measures(f64::NAN, 1))]
                .into_iter()
                .enumerate()
        {
            assert_eq!(search.next_trial().unwrap().0, number as u64);
            search.ended(number as u64, result);
        }
        assert_eq!((search.next_trial(), search.done(), search.total()), (None, 4, 4));
        assert_eq!(search.best().unwrap().number, 2);
        let reasons: Vec<String> = search
            .trials()
            .map(|trial| match &trial.outcome {
                Outcome::Scored { score, .. } => score.to_string(),
                Outcome::Unscored { reason, .. } => reason.clone(),
                Outcome::Failed { error } => error.clone(),
            })
            .collect();
        assert_eq!(reasons[..3], ["it panicked", "0 round trips, at least 1 are wanted", "-0.5"]);
        assert!(reasons[3].contains("not defined"));
    }

    #[test]
    fn only_the_first_word_of_a_trial_that_was_handed_out_counts() {
        let mut search = search(2);
        search.ended(0, Ok(measures(1.0, 1)));
        assert_eq!(search.done(), 0);
        search.next_trial();
        search.ended(0, Ok(measures(1.0, 1)));
        search.ended(0, Ok(measures(2.0, 1)));
        assert_eq!(search.best().unwrap().outcome, Outcome::Scored { score: 1.0, measures: measures(1.0, 1) });
    }

    proptest! {
        #[test]
        fn the_result_does_not_depend_on_who_is_faster(
            scores in prop::collection::vec(-3i32..3, 1..20),
            order in prop::collection::vec(any::<u32>(), 20),
        ) {
            let mut search = search(scores.len() as i64);
            let mut numbers: Vec<usize> = (0..scores.len()).collect();
            while search.next_trial().is_some() {}
            numbers.sort_by_key(|n| order[*n]);
            for number in numbers {
                search.ended(number as u64, Ok(measures(f64::from(scores[number]), 1)));
            }
            let best = scores.iter().max().unwrap();
            let first = scores.iter().position(|score| score == best).unwrap();
            prop_assert_eq!(search.best().unwrap().number, first as u64);
        }
    }
}
