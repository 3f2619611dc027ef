//! The engine's state as text for a terminal: prices, orders, positions, profit. It only reads.

use qcat_core::engine::Engine;
use qcat_core::event::{PauseReason, RunnerState, StopReason};
use qcat_core::id::AccountIx;
use qcat_core::num::{Money, Price, Rounding};
use qcat_core::order::{Fill, OrderState};
use qcat_core::strategy::runner::Runner;
use std::collections::VecDeque;
use std::fmt::Write;

/// Fills shown.
const FILLS_SHOWN: usize = 8;

/// What happened lately; fed with every step.
#[derive(Debug, Default)]
pub struct Recent {
    /// The newest fills, newest last.
    pub fills: VecDeque<Fill>,
    /// Fills by strategy index.
    pub counts: Vec<u64>,
    /// The newest alerts, newest last.
    pub alerts: VecDeque<String>,
    /// Orders sent.
    pub orders: u64,
    /// Intents refused.
    pub refused: u64,
}

impl Recent {
    /// Takes the facts of one step.
    pub fn see(&mut self, fills: &[Fill], decisions: &[qcat_core::event::Decision]) {
        use qcat_core::command::CommandKind;
        use qcat_core::event::Decision;
        for fill in fills {
            let at = fill.strategy.ix();
            if self.counts.len() <= at {
                self.counts.resize(at + 1, 0);
            }
            self.counts[at] += 1;
            if self.fills.len() >= FILLS_SHOWN {
                self.fills.pop_front();
            }
            self.fills.push_back(*fill);
        }
        for decision in decisions {
            match decision {
                Decision::Alert(alert) => {
                    if self.alerts.len() >= 4 {
                        self.alerts.pop_front();
                    }
                    self.alerts.push_back(format!("{:?}: {}", alert.code, alert.text));
                }
                Decision::Command(command) if matches!(command.kind, CommandKind::Place(_)) => self.orders += 1,
                Decision::Refused(_) => self.refused += 1,
                _ => {}
            }
        }
    }
}

/// Cuts a picture to what a terminal of this size shows without scrolling or wrapping; what stands last is cut first.
pub fn fit(picture: &str, columns: u16, rows: u16) -> String {
    let lines = picture.lines().take(usize::from(rows.saturating_sub(1)));
    lines.flat_map(|line| line.chars().take(usize::from(columns)).chain(['\n'])).collect()
}

/// The whole picture, at most 80 columns wide as long as no name or number is unusually long.
pub fn render(title: &str, engine: &Engine, recent: &Recent) -> String {
    let mut out = String::new();
    let (input, sent, refused) = (engine.seq().0, recent.orders, recent.refused);
    let _ = writeln!(out, "{title}  inputs {input}  orders sent {sent}  refused {refused}");
    prices(&mut out, engine);
    for at in 0..engine.config().accounts.len() {
        account(&mut out, engine, AccountIx(at as u16));
    }
    for alert in &recent.alerts {
        let _ = writeln!(out, "! {alert}");
    }
    strategies(&mut out, engine, recent);
    orders(&mut out, engine);
    fills(&mut out, engine, recent);
    out
}

fn prices(out: &mut String, engine: &Engine) {
    let _ = writeln!(out, "\n{:<20}{:>15}{:>15}{:>15}{:>15}", "symbol", "bid", "ask", "last", "mark");
    let mut shown = std::collections::BTreeSet::new();
    for (_, strategy) in engine.config().strategies() {
        for symbol in strategy.symbols.iter().filter(|s| shown.insert(**s)) {
            let Some(instrument) = engine.universe().instrument(*symbol) else { continue };
            let market = engine.markets().market(*symbol);
            let text = |price: Option<Price>| price.map_or("-".to_owned(), |p| instrument.price_text(p));
            let quote = market.quote;
            let _ = writeln!(
                out,
                "{:<20}{:>15}{:>15}{:>15}{:>15}",
                instrument.name,
                text(quote.map(|q| q.bid)),
                text(quote.map(|q| q.ask)),
                text(market.last.map(|t| t.price)),
                text(market.mark.map(|m| instrument.round_price(m.mark_price, Rounding::Nearest))),
            );
        }
    }
}

fn account(out: &mut String, engine: &Engine, account: AccountIx) {
    let (Some(ledger), Some(config)) = (engine.ledger(account), engine.config().account(account)) else { return };
    let view = ledger.view(engine.universe(), engine.config());
    let _ = write!(out, "\naccount {}", config.name);
    if let Some(equity) = view.equity {
        let name = engine.universe().asset_name(equity.wallet.asset);
        let total = equity.wallet.checked_add(equity.unrealized).unwrap_or(equity.wallet);
        let _ = write!(out, "   equity {} {name}   today {}", short(total), short(equity.day_profit));
    }
    let trusted = engine.gate(account).is_some_and(|gate| gate.is_trusted());
    let _ = writeln!(out, "   {}", if trusted { "reconciled" } else { "not reconciled: no new risk" });
    for balance in &view.balances {
        let name = engine.universe().asset_name(balance.asset);
        let _ = writeln!(
            out,
            "  {name:<7}wallet {}  realised {}  fees {}  funding {}",
            balance.wallet, balance.realized, balance.fees, balance.funding
        );
        if !balance.fees_unvalued.is_zero() {
            let _ =
                writeln!(out, "         fees {} {name} without a price: not in today's profit", balance.fees_unvalued);
        }
    }
}

fn strategies(out: &mut String, engine: &Engine, recent: &Recent) {
    let header = ["strategy", "state", "position", "entry", "unrealised", "realised", "fills"];
    let _ = writeln!(
        out,
        "\n{:<14}{:<19}{:>9}{:>11}{:>11}{:>10}{:>6}",
        header[0], header[1], header[2], header[3], header[4], header[5], header[6]
    );
    for (ix, strategy) in engine.config().strategies() {
        let state = engine.runner(ix).map_or("-".to_owned(), |runner| state(Runner::state(runner)));
        let count = recent.counts.get(ix.ix()).copied().unwrap_or(0);
        let view = engine.ledger(strategy.account).map(|ledger| ledger.view(engine.universe(), engine.config()));
        let mine = view.iter().flat_map(|v| &v.strategies).find(|v| v.strategy == ix);
        let Some((view, instrument)) = mine.and_then(|v| Some((v, engine.universe().instrument(v.symbol)?))) else {
            let _ =
                writeln!(out, "{:<14}{state:<19}{:>9}{:>11}{:>11}{:>10}{count:>6}", strategy.name, "0", "-", "-", "-");
            continue;
        };
        let _ = writeln!(
            out,
            "{:<14}{state:<19}{:>9}{:>11}{:>11}{:>10}{count:>6}",
            strategy.name,
            instrument.net_text(view.position.quantity),
            view.entry_price
                .map_or("-".to_owned(), |p| instrument.price_text(instrument.round_price(p, Rounding::Nearest))),
            view.unrealized.map_or("-".to_owned(), short),
            short(view.position.realized),
        );
    }
}

fn state(state: RunnerState) -> String {
    match state {
        RunnerState::WarmingUp => "warming up".to_owned(),
        RunnerState::Running => "running".to_owned(),
        RunnerState::Paused(PauseReason::Stream(fault)) => format!("paused: {fault:?}"),
        RunnerState::Paused(PauseReason::Halt(reason)) => format!("halted: {reason:?}"),
        RunnerState::Paused(PauseReason::SlowStep) => "paused: slow".to_owned(),
        RunnerState::Paused(PauseReason::Untrusted) => "waits: reconciling".to_owned(),
        RunnerState::Faulted => "faulted".to_owned(),
        RunnerState::Stopped(StopReason::Asked) => "stopped".to_owned(),
        RunnerState::Stopped(reason) => format!("stopped: {reason:?}"),
    }
}

fn orders(out: &mut String, engine: &Engine) {
    let _ = writeln!(
        out,
        "\n{:<20}{:<10}{:<5}{:>9}{:>12}{:>8}  state",
        "open order", "symbol", "side", "quantity", "price", "filled"
    );
    for at in 0..engine.config().accounts.len() {
        let Some(desk) = engine.desk(AccountIx(at as u16)) else { continue };
        for order in desk.orders().filter(|o| !matches!(o.state, OrderState::Done(_))).take(12) {
            let Some(instrument) = engine.universe().instrument(order.symbol) else { continue };
            let no_price = if order.conditional { "trigger" } else { "market" };
            let price = if order.price.is_zero() { no_price.to_owned() } else { instrument.price_text(order.price) };
            let state = match order.state {
                OrderState::Working if order.conditional => "waiting".to_owned(),
                state => format!("{state:?}").to_lowercase(),
            };
            let _ = writeln!(
                out,
                "{:<20}{:<10}{:<5}{:>9}{price:>12}{:>8}  {state}",
                order.key.to_string(),
                instrument.name,
                order.side.as_str(),
                instrument.quantity_text(order.quantity),
                instrument.quantity_text(order.filled),
            );
        }
    }
}

fn fills(out: &mut String, engine: &Engine, recent: &Recent) {
    let _ = writeln!(
        out,
        "\n{:<20}{:<10}{:<5}{:>9}{:>12}{:>14}",
        "latest fills", "symbol", "side", "quantity", "price", "realised"
    );
    for fill in recent.fills.iter().rev() {
        let Some(instrument) = engine.universe().instrument(fill.symbol) else { continue };
        let _ = writeln!(
            out,
            "{:<20}{:<10}{:<5}{:>9}{:>12}{:>14}",
            fill.key.to_string(),
            instrument.name,
            fill.side.as_str(),
            instrument.quantity_text(fill.quantity),
            instrument.price_text(fill.price),
            fill.realized.to_string(),
        );
    }
}

fn short(amount: Money) -> String {
    let mut text = String::new();
    qcat_core::num::write_mantissa(&mut text, amount.round_to(2, Rounding::Nearest).mantissa(), Money::SCALE, 2);
    text
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn a_picture_is_cut_to_the_terminal() {
        assert_eq!(fit("abcdef\nüöä\nlast\n", 3, 3), "abc\nüöä\n");
        assert_eq!(fit("one\n", 80, 24), "one\n");
    }
}
