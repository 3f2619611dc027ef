//! Risk.
pub mod gate;
pub mod refusal;
