//! Reconciliation of an account with its venue.

use crate::command::{VenueBalance, VenuePosition};
use crate::id::AccountIx;
use crate::order::{ConditionalReport, OrderReport, TradeRecord};
use crate::time::Ts;

/// What a reconciliation learnt, for the node that owns the matter; and that node's verdict.
#[derive(Debug, Clone)]
pub enum Finding {
    /// The venue's open ordinary orders; the desk compares. Orders of ours that changed after `asked_at` are left alone.
    OpenOrders { account: AccountIx, asked_at: Ts, orders: Vec<OrderReport> },
    /// The venue's open conditional orders; the desk compares.
    OpenConditionals { account: AccountIx, asked_at: Ts, orders: Vec<ConditionalReport> },
    /// A page of the venue's trades; the desk books those that it has not booked.
    Trades { account: AccountIx, trades: Vec<TradeRecord> },
    /// The venue's positions and balances; the ledger compares, repairs if told to, and answers with `Compared`.
    Holdings {
        account: AccountIx,
        asked_at: Ts,
        positions: Vec<VenuePosition>,
        balances: Vec<VenueBalance>,
        repair: bool,
    },
    /// The ledger's verdict.
    Compared { account: AccountIx, equal: bool },
}

impl Finding {
    /// The account that it concerns.
    pub fn account(&self) -> AccountIx {
        match self {
            Finding::OpenOrders { account, .. }
            | Finding::OpenConditionals { account, .. }
            | Finding::Trades { account, .. }
            | Finding::Holdings { account, .. }
            | Finding::Compared { account, .. } => *account,
        }
    }
}
