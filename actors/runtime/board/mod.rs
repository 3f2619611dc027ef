//! The board: a plain copy of what the engine believes at one moment, for readers on other threads.
//!
//! In: the lane, between two steps. Out: [`Board`], which holds no index, no scale and no reference into the engine: names,
//! decimal texts by the instruments' own scales, times as RFC 3339 in UTC. What is not known is `None`, never a default.
//! [`Boards`] takes a copy when asked, and gives the last one again when that is not old yet: on the trading thread a crowd of
//! readers costs no more than one. Tests: `tests`, through the lane's testkit.

mod rows;
mod take;
#[cfg(test)]
mod tests;

pub use rows::{
    AccountRow, BalanceRow, ExposureRow, HaltRow, LimitsRow, OrderRow, OwnPositionRow, ParamCell, PositionRow, RiskRow,
    StrategyRow,
};

use super::lane::{Lane, LaneView};
use qcat_core::time::{Span, Ts};
use serde::Serialize;
use std::sync::Arc;

/// How old a copy may be before another one is taken.
pub const BOARD_AGE_MAX: Span = Span::from_millis(100);

/// What the engine believes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Board {
    /// The last input that is in it.
    pub seq: u64,
    /// When it was taken: RFC 3339, UTC.
    pub at: String,
    /// The lane.
    pub lane: LaneView,
    /// Whether every account that trades may add risk now.
    pub trading_ready: bool,
    /// Why not, one sentence each; empty when it may.
    pub not_ready: Vec<String>,
    /// Strategies, in the order of the configuration.
    pub strategies: Vec<StrategyRow>,
    /// Open orders of all accounts.
    pub orders: Vec<OrderRow>,
    /// Positions of all accounts; flat ones are left out.
    pub positions: Vec<PositionRow>,
    /// Accounts, in the order of the configuration.
    pub accounts: Vec<AccountRow>,
    /// Halts in force.
    pub halts: Vec<HaltRow>,
    /// What each account may risk, and how much of it is used.
    pub risk: Vec<RiskRow>,
}

impl Board {
    /// Takes a copy. Its cost grows with open orders and positions.
    pub fn take(lane: &Lane) -> Board {
        take::board(lane)
    }
}

/// Takes boards for many readers.
#[derive(Debug, Default)]
pub struct Boards {
    last: Option<(Ts, Arc<Board>)>,
}

impl Boards {
    /// The board at this moment, at most [`BOARD_AGE_MAX`] old.
    pub fn get(&mut self, lane: &Lane) -> Arc<Board> {
        let now = lane.now();
        if let Some((at, board)) = &self.last
            && now.since(*at) < BOARD_AGE_MAX
        {
            return board.clone();
        }
        let board = Arc::new(Board::take(lane));
        self.last = Some((now, board.clone()));
        board
    }
}
