//! The simulated world: seeded chance, generated markets, and what a recording lacks derived from what it has.

pub mod derive;
pub mod dice;
pub mod market;
