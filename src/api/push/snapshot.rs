//! What a topic begins with, from the board: the rows of the reads (`/api/v1/orders`, `/api/v1/positions` and so on).

use super::message::encode;
use super::topic::Topic;
use super::update::Message;
use bytes::Bytes;
use qcat_actors::runtime::board::{
    AccountRow, Board, HaltRow, OrderRow, OwnPositionRow, PositionRow, RiskRow, StrategyRow,
};
use serde::Serialize;

#[derive(Serialize)]
struct Positions<'a> {
    accounts: &'a [PositionRow],
    strategies: Vec<Own<'a>>,
}

#[derive(Serialize)]
struct Own<'a> {
    account: &'a str,
    strategy: &'a str,
    #[serde(flatten)]
    position: &'a OwnPositionRow,
}

#[derive(Serialize)]
struct Strategy<'a> {
    /// `None`: orders that belong to no strategy.
    strategy: Option<&'a StrategyRow>,
    orders: Vec<&'a OrderRow>,
}

#[derive(Serialize)]
struct Risk<'a> {
    trading_ready: bool,
    not_ready: &'a [String],
    halts: &'a [HaltRow],
    limits: &'a [RiskRow],
    accounts: &'a [AccountRow],
}

/// The snapshot of a topic that the board tells of.
pub fn frame(topic: &Topic, engine: u16, board: &Board) -> Option<Bytes> {
    let message = |data: Data<'_>| {
        let (seq, at) = (board.seq, board.at.as_str());
        encode(&Message { topic, engine: Some(engine), seq, at, kind: "snapshot", gap: None, data })
    };
    Some(match topic {
        Topic::Orders => message(Data::Orders(&board.orders)),
        Topic::Positions => {
            let own = |row: &'_ StrategyRow| row.positions.len();
            let mut strategies = Vec::with_capacity(board.strategies.iter().map(own).sum());
            for row in &board.strategies {
                let (account, strategy) = (row.account.as_str(), row.name.as_str());
                strategies.extend(row.positions.iter().map(|position| Own { account, strategy, position }));
            }
            message(Data::Positions(Positions { accounts: &board.positions, strategies }))
        }
        Topic::Strategy(name) => {
            let strategy = board.strategies.iter().find(|row| *row.name == **name);
            let orders = board.orders.iter().filter(|row| *row.strategy == **name).collect();
            message(Data::Strategy(Strategy { strategy, orders }))
        }
        Topic::Risk => message(Data::Risk(Risk {
            trading_ready: board.trading_ready,
            not_ready: &board.not_ready,
            halts: &board.halts,
            limits: &board.risk,
            accounts: &board.accounts,
        })),
        Topic::Alerts | Topic::System | Topic::Market(_) => return None,
    })
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Orders(&'a [OrderRow]),
    Positions(Positions<'a>),
    Strategy(Strategy<'a>),
    Risk(Risk<'a>),
}
