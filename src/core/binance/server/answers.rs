//! How answers are printed: outcomes of orders, lists, settings, errors.

use super::params::refuse;
use super::{Waiting, World};
use crate::binance::print;
use crate::command::{Answer, Outcome, VenueError, VenuePosition};
use crate::id::SymbolIx;
use crate::market::Mark;
use crate::num::Money;
use crate::order::PositionMode;
use crate::time::Ts;

/// How the answer to a question is printed.
#[derive(Debug, Clone)]
pub enum Shape {
    /// One order; with `open_only` one that is over is not found.
    Order {
        open_only: bool,
    },
    OpenOrders(Option<SymbolIx>),
    OpenConditionals(Option<SymbolIx>),
    Trades {
        limit: usize,
        until: Option<Ts>,
    },
    Positions(Option<SymbolIx>),
    Balances,
    PositionMode,
    MultiAssets,
    SymbolConfig(Option<SymbolIx>),
    AccountConfig,
}

/// The HTTP status of an error.
pub fn status_of(error: &VenueError) -> u16 {
    match error.code {
        -2014 | -2015 => 401,
        -1007 => 408,
        -1008 => 503,
        -1003 | -1015 => 429,
        -5000 => 404,
        _ => 400,
    }
}

pub fn error_body(error: &VenueError) -> String {
    let mut body = String::new();
    print::error(&mut body, error);
    body
}

/// Prints the outcome of a place, modify or cancel.
pub fn outcome(outcome: &Outcome, waiting: &Waiting, world: &World<'_>, now: Ts) -> (u16, String) {
    let mut body = String::new();
    let universe = world.venue.universe();
    let printed = match (outcome, waiting) {
        (Outcome::Order(report), _) => print::order(&mut body, report, &world.facts(report, now), universe),
        (Outcome::Conditional(report), Waiting::Order { cancel: true }) => {
            print::algo_canceled(&mut body, report);
            true
        }
        (Outcome::Conditional(report), _) => print::algo_order(&mut body, report, now, universe),
        (Outcome::Rejected(error) | Outcome::Unknown(error), _) => return (status_of(error), error_body(error)),
        _ => false,
    };
    if printed {
        (200, body)
    } else {
        (500, error_body(&refuse(-1000, "An unknown error occurred while processing the request.")))
    }
}

/// Prints `{"code":200,…}` or the error.
pub fn acknowledged(result: &Result<(), VenueError>, waiting: &Waiting) -> (u16, String) {
    match (result, waiting) {
        (Err(error), _) => (status_of(error), error_body(error)),
        (Ok(()), Waiting::Acknowledge(body)) => (200, body.clone()),
        (Ok(()), _) => (200, "{}".to_owned()),
    }
}

/// Prints the answer to a question.
pub fn answer(result: &Result<Answer, VenueError>, waiting: &Waiting, world: &World<'_>, now: Ts) -> (u16, String) {
    let answer = match result {
        Ok(answer) => answer,
        Err(error) => return (status_of(error), error_body(error)),
    };
    if matches!(answer, Answer::NoSuchOrder) {
        return (400, error_body(&refuse(-2013, "Order does not exist.")));
    }
    let Waiting::Query(shape) = waiting else { return (500, String::new()) };
    if let (Answer::Order(order), Shape::Order { open_only: true }) = (answer, shape)
        && order.status.is_final()
    {
        return (400, error_body(&refuse(-2013, "Order does not exist.")));
    }
    let mut body = String::new();
    print_answer(&mut body, answer, shape, world, now);
    (200, body)
}

fn print_answer(body: &mut String, answer: &Answer, shape: &Shape, world: &World<'_>, now: Ts) {
    let universe = world.venue.universe();
    let wanted = |only: &Option<SymbolIx>, symbol: SymbolIx| only.is_none_or(|only| only == symbol);
    match (answer, shape) {
        (Answer::Order(report), _) => {
            print::order(body, report, &world.facts(report, report.exchange_time), universe);
        }
        (Answer::Conditional(report), _) => {
            print::algo_order(body, report, report.exchange_time, universe);
        }
        (Answer::OpenOrders(orders), Shape::OpenOrders(only)) => {
            print::list(body, orders.iter().filter(|o| wanted(only, o.symbol)), |out, order| {
                print::order(out, order, &world.facts(order, order.exchange_time), universe)
            });
        }
        (Answer::OpenConditionals(orders), Shape::OpenConditionals(only)) => {
            print::list(body, orders.iter().filter(|o| wanted(only, o.symbol)), |out, order| {
                print::algo_order(out, order, order.exchange_time, universe)
            });
        }
        (Answer::Trades { trades, .. }, Shape::Trades { limit, until }) => {
            let wanted = trades.iter().filter(|t| until.is_none_or(|until| t.fill.exchange_time <= until));
            print::list(body, wanted.take(*limit), |out, trade| print::user_trade(out, trade, universe));
        }
        (Answer::Positions(positions), Shape::Positions(only)) => print_positions(body, positions, *only, world, now),
        (Answer::Balances(balances), _) => {
            print::list(body, balances, |out, balance| {
                let available = world.venue.margin(world.account, balance.wallet.asset).map(|m| m.available);
                print::balance(out, balance, available.unwrap_or(Money::zero(balance.wallet.asset)), universe, now);
                true
            });
        }
        (Answer::Settings(settings), Shape::PositionMode) => print::single::position_mode(body, settings.position_mode),
        (Answer::Settings(settings), Shape::MultiAssets) => print::single::multi_assets(body, settings.multi_assets),
        (Answer::Settings(settings), Shape::SymbolConfig(only)) => {
            print::list(body, settings.symbols.iter().filter(|s| wanted(only, s.symbol)), |out, symbol| {
                print::symbol_settings(out, symbol, universe)
            });
        }
        (Answer::Settings(settings), _) => {
            let hedge = settings.position_mode == PositionMode::Hedge;
            let multi = settings.multi_assets;
            body.push_str(&format!(
                r#"{{"feeTier":0,"canTrade":true,"canDeposit":true,"canWithdraw":true,"dualSidePosition":{hedge},"updateTime":0,"multiAssetsMargin":{multi},"tradeGroupId":-1}}"#
            ));
        }
        // The venue answers each question in its own kind.
        _ => body.push_str("{}"),
    }
}

fn print_positions(body: &mut String, all: &[VenuePosition], only: Option<SymbolIx>, world: &World<'_>, now: Ts) {
    let wanted = all.iter().filter(|p| only.is_none_or(|only| only == p.symbol));
    print::list(body, wanted, |out, position| {
        let market = world.markets.market(position.symbol);
        let price = market.reference_price().unwrap_or(position.entry_price);
        let unknown = Mark {
            mark_price: price,
            index_price: price,
            funding_rate: crate::num::Rate::ZERO,
            next_funding: Ts::ZERO,
        };
        print::position(out, position, &market.mark.unwrap_or(unknown), world.venue.universe(), now)
    });
}
