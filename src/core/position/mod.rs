//! Positions, profit, funding and margin: everything here is exact. Money is an `i128`, quantities are mantissas, no floats.
//!
//! [`exact`] is one position, [`ledger`] the node that keeps those of an account and its strategies. [`funding`] and [`margin`] are formulas, used by the simulated venue too.

pub mod exact;
pub mod funding;
pub mod ledger;
pub mod margin;
pub mod purse;

pub use exact::Position;
pub use ledger::Ledger;
pub use purse::Purse;
