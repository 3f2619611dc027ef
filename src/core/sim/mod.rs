//! The simulated world: seeded chance, generated markets, what a recording lacks derived from what it has, and a client joined
//! to an exchange frame by frame, with faults.

pub mod derive;
pub mod dice;
pub mod faults;
pub mod market;
pub mod world;
