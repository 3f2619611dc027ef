//! Positions, profit, funding and margin: everything here is exact. Money is an `i128`, quantities are mantissas, no floats.
//!
//! [`funding`] and [`margin`] are formulas, used by the simulated venue too.

pub mod funding;
pub mod margin;
