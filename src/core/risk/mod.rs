//! Risk.
pub mod gate;
