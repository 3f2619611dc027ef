//! The search for good parameters of a strategy: which values are tried, what a run is worth, which is the best so far.
//!
//! It runs nothing itself: [`Search`] hands out trials and takes what came of them, in any order, with the same result.
//! Tests: properties of the grid, worked examples.

pub mod score;
pub mod search;
pub mod space;

pub use score::{Measures, Metric, Unscored};
pub use search::{Outcome, Search, Trial};
pub use space::{Point, Range, Space, SpaceError};
