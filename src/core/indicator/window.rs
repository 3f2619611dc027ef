//! A fold over the last values, without ever subtracting one.
//!
//! A running sum that adds the new value and subtracts the oldest keeps the rounding error of every large value that passed.
//! Here the window is the rest of the block before, of which all tails were folded once, and the block that grows: every
//! result is a fresh fold of what is inside (the "two stacks" queue; Tangwongsan, Hirzel, Schneider, "Low-latency
//! sliding-window aggregation in worst-case constant time", DEBS 2017). Two folds a step, amortised.

use serde::{Deserialize, Serialize};

/// What can be folded; `then` must be associative up to rounding.
pub(super) trait Fold: Copy {
    /// This part followed by a later one.
    fn then(self, later: Self) -> Self;
}

/// The last `period` parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Window<T> {
    period: usize,
    /// Folds of the tails of the last full block: entry `i` is of its parts from `i` on. Empty until one is full.
    tails: Vec<T>,
    /// The block that grows, shorter than `period`.
    block: Vec<T>,
    /// The fold of that block.
    fold: Option<T>,
}

impl<T: Fold> Window<T> {
    /// A window of `period` parts, one at least.
    pub(super) fn new(period: usize) -> Window<T> {
        Window { period, tails: Vec::new(), block: Vec::new(), fold: None }
    }

    /// Takes the next part; the oldest falls out.
    pub(super) fn push(&mut self, part: T) {
        self.block.push(part);
        self.fold = Some(self.fold.map_or(part, |fold| fold.then(part)));
        if self.block.len() >= self.period {
            std::mem::swap(&mut self.tails, &mut self.block);
            for i in (1..self.tails.len()).rev() {
                self.tails[i - 1] = self.tails[i - 1].then(self.tails[i]);
            }
            self.block.clear();
            self.fold = None;
        }
    }

    /// The fold of the window; `None` until it is full.
    pub(super) fn value(&self) -> Option<T> {
        let rest = *self.tails.get(self.block.len())?;
        Some(self.fold.map_or(rest, |fold| rest.then(fold)))
    }

    /// Forgets everything.
    pub(super) fn reset(&mut self) {
        self.tails.clear();
        self.block.clear();
        self.fold = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// First and last of a run: shows order and extent of a window exactly.
    #[derive(Debug, Clone, Copy, PartialEq)]
    struct Run(usize, usize);

    impl Fold for Run {
        fn then(self, later: Run) -> Run {
            assert_eq!(self.1 + 1, later.0, "parts are folded in order, each once");
            Run(self.0, later.1)
        }
    }

    proptest! {
        #[test]
        fn the_window_is_exactly_the_last_parts(period in 1usize..12, count in 0usize..60) {
            let mut window = Window::new(period);
            for i in 1..=count {
                window.push(Run(i, i));
                let expected = (i >= period).then(|| Run(i + 1 - period, i));
                prop_assert_eq!(window.value(), expected);
            }
        }
    }
}
