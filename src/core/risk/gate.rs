//! The gate.

use crate::id::AccountIx;
use crate::order::NewOrder;
pub use crate::risk::refusal::Refusal;
use serde::{Deserialize, Serialize};

/// Proof that the gate checked an intent and holds its exposure. Only the gate can build one.
#[derive(Debug)]
pub struct Approved(Grant);

/// What the gate passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grant {
    /// Place this.
    Place(NewOrder),
    /// Anything else as it was wanted: cancel, cancel all, modify.
    Other(crate::order::Intent),
}

impl Approved {
    /// What was passed.
    pub fn grant(&self) -> &Grant {
        &self.0
    }

    /// The account that it concerns.
    pub fn account(&self) -> AccountIx {
        match &self.0 {
            Grant::Place(order) => order.intent.id.account,
            Grant::Other(intent) => intent.account(),
        }
    }
}

/// Builds the gate's proof for tests of the nodes behind the gate.
#[cfg(test)]
pub(crate) fn approve_for_test(grant: Grant) -> Approved {
    Approved(grant)
}
