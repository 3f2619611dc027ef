//! The L2 book of one symbol.

/// The L2 book of one symbol.
#[derive(Debug, Default)]
pub struct DepthBook {}
