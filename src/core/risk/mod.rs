//! Risk: what may be sent, and how much of it.
//!
//! [`gate::Gate`], one per account, stands between every intent and the order desk: it checks and *holds* exposure in one step,
//! and releases it by report. [`watch::Risk`] watches equity and grants each gate a versioned budget that expires, so that
//! without it nothing adds risk. Both keep halts ([`halts::Halts`]). Nothing here reads a clock, a float or the outside.
//!
//! What passes always: cancels. What passes halts, missing trust, missing budget and our own limits: orders that *reduce* (they
//! must fit the strategy's own position). Everything passes the exchange's filters and the order rate.
//! Tests: `tests/`: the table of all shapes, every limit at its bound and beyond, model checks over random sequences, fold = live.

pub mod exposure;
mod filters;
pub mod gate;
pub mod halts;
pub mod holds;
mod modify;
mod place;
pub mod rate;
mod reduce;
pub mod refusal;
mod shape;
pub mod view;
pub mod watch;

#[cfg(test)]
mod tests;
