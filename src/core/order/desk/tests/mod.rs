//! Tests of the desk: worked examples, conditional orders, random long sequences, and the model check.

mod bounds;
mod close;
mod conditional;
mod fate;
mod life;
mod model;
mod random;
mod venue;
mod world;

pub(crate) use world::account_config;
