//! Answers to requests, and requests that have none: each becomes one outcome, one answer, or a step of the start.

use super::*;
use crate::binance::decode::list::Rows;

impl AccountSession {
    pub(super) fn accepted(&mut self, pending: Pending, body: &[u8], world: &World<'_>, out: &mut Vec<Action>) {
        match pending {
            Pending::Command { id, kind } => match kind {
                CommandKind::Query(query) => {
                    let result = self.read(&query, body, world, out).map_err(|error| {
                        note(out, kind_unreadable(&query), &error, body);
                        unreadable(&error)
                    });
                    self.answer(id, result, out);
                }
                kind => {
                    self.confirmations.accepted(id, world.now.plus(self.options.report_timeout));
                    self.executed(id, &kind, body, world, out);
                }
            },
            Pending::AfterCancel { id } => {
                let outcome = match decode::rest::algo_order(body, world.universe, self.options.account) {
                    Ok(report) => Outcome::Conditional(Box::new(report)),
                    Err(error) => unreadable_outcome(&error, body, out),
                };
                self.outcome(id, outcome, out);
            }
            Pending::Settings { id, part } => self.settings_part(id, part, body, world, out),
            Pending::Time { sent } => match decode::rest::time(body) {
                Ok(server) => {
                    self.measured(ClockOffset::measured(sent, world.now, server), world.now.since(sent), world, out);
                }
                Err(error) => {
                    note(out, "answer_malformed", error, body);
                    self.measure_at = Some(world.now.plus(RETRY));
                }
            },
            Pending::Key => match decode::rest::listen_key(body) {
                Ok(key) => {
                    self.key = Some(key);
                    self.extend_at = Some(world.now.plus(KEY_EXTEND));
                    self.connect(world.now, out);
                }
                Err(error) => {
                    note(out, "answer_malformed", error, &[]);
                    self.start_at = Some(world.now.plus(RETRY));
                }
            },
            Pending::ExtendKey => self.extend_at = self.extend_at.map(|_| world.now.plus(KEY_EXTEND)),
        }
    }

    /// An order was placed, changed or cancelled.
    pub(super) fn executed(
        &mut self,
        id: CommandId,
        kind: &CommandKind,
        body: &[u8],
        world: &World<'_>,
        out: &mut Vec<Action>,
    ) {
        let account = self.options.account;
        let outcome = match kind {
            CommandKind::Cancel { symbol, key, conditional: true } => {
                let query = CommandKind::Query(Query::Order { symbol: *symbol, key: *key, conditional: true });
                let stamp = Stamp { at: self.exchange_now(world.now), window: self.options.recv_window };
                match encode::command(&query, world.universe, stamp) {
                    Ok(encoded) => return self.request(encoded, Pending::AfterCancel { id }, true, out),
                    Err(error) => Outcome::Unknown(unreadable(&error)),
                }
            }
            CommandKind::Place(order) if order.intent.terms.is_conditional() => {
                match decode::rest::algo_order(body, world.universe, account) {
                    Ok(report) => Outcome::Conditional(Box::new(report)),
                    Err(error) => unreadable_outcome(&error, body, out),
                }
            }
            _ => match decode::rest::order(body, world.universe, account) {
                Ok(report) => Outcome::Order(Box::new(report)),
                Err(error) => unreadable_outcome(&error, body, out),
            },
        };
        self.outcome(id, outcome, out);
    }

    pub(super) fn settings_part(
        &mut self,
        id: CommandId,
        part: usize,
        body: &[u8],
        world: &World<'_>,
        out: &mut Vec<Action>,
    ) {
        let Some(parts) = self.settings.get_mut(&id) else { return };
        let taken = match part {
            0 => decode::rest::position_mode(body).map(|mode| parts.mode = Some(mode)),
            1 => decode::rest::multi_assets(body).map(|multi| parts.multi_assets = Some(multi)),
            _ => decode::rest::symbol_config(body, world.universe).map(|symbols| parts.symbols = Some(symbols)),
        };
        if let Err(error) = taken {
            note(out, kind_unreadable(&Query::Settings), &error, body);
            self.settings.remove(&id);
            return self.answer(id, Err(unreadable(&error)), out);
        }
        if let SettingsParts { mode: Some(position_mode), multi_assets: Some(multi_assets), symbols: Some(_) } = *parts
        {
            let symbols = self.settings.remove(&id).and_then(|parts| parts.symbols).unwrap_or_default();
            let settings = AccountSettings { position_mode, multi_assets, symbols };
            self.answer(id, Ok(Answer::Settings(settings)), out);
        }
    }

    /// The exchange answered with an error.
    pub(super) fn refused(
        &mut self,
        pending: Pending,
        status: u16,
        error: VenueError,
        retry_after: Option<Span>,
        world: &World<'_>,
        out: &mut Vec<Action>,
    ) {
        match pending {
            Pending::Command { id, kind: CommandKind::Query(query) } => {
                let unknown = matches!(query, Query::Order { .. }) && error.is_unknown_order();
                self.answer(id, if unknown { Ok(Answer::NoSuchOrder) } else { Err(error) }, out);
            }
            Pending::Command { id, .. } => {
                self.confirmations.forget(id);
                self.outcome(id, error::outcome(status, error, retry_after, world.now), out);
            }
            Pending::AfterCancel { id } => self.outcome(id, Outcome::Unknown(error), out),
            Pending::Settings { id, .. } => {
                // The first failed part answers for all.
                if self.settings.remove(&id).is_some() {
                    self.answer(id, Err(error), out);
                }
            }
            Pending::Time { .. } => self.measure_at = Some(world.now.plus(retry_after.unwrap_or(RETRY))),
            Pending::Key => {
                note(out, "listen_key_refused", format!("{}: {}", error.code, error.message), &[]);
                self.start_at = Some(world.now.plus(retry_after.unwrap_or(RETRY)));
            }
            Pending::ExtendKey => self.extend_at = self.extend_at.map(|_| world.now.plus(RETRY)),
        }
    }

    /// The answer to a query.
    fn read(
        &self,
        query: &Query,
        body: &[u8],
        world: &World<'_>,
        out: &mut Vec<Action>,
    ) -> Result<Answer, decode::DecodeError> {
        let (universe, account) = (world.universe, self.options.account);
        Ok(match query {
            Query::Order { conditional: false, .. } => {
                Answer::Order(Box::new(decode::rest::order(body, universe, account)?))
            }
            Query::Order { conditional: true, .. } => {
                Answer::Conditional(Box::new(decode::rest::algo_order(body, universe, account)?))
            }
            Query::OpenOrders => Answer::OpenOrders(self.rows(decode::rest::orders(body, universe, account)?, out)?),
            Query::OpenConditionals => {
                Answer::OpenConditionals(self.rows(decode::rest::algo_orders(body, universe, account)?, out)?)
            }
            Query::Trades { symbol, .. } => {
                let trades = decode::rest::user_trades(body, universe)?;
                let complete = trades.len() < encode::TRADES_PAGE;
                Answer::Trades { symbol: *symbol, trades, complete }
            }
            Query::Positions => Answer::Positions(self.rows(decode::rest::positions(body, universe)?, out)?),
            Query::Balances => Answer::Balances(self.rows(decode::rest::balances(body, universe)?, out)?),
            // Settings come in three parts and never here.
            Query::Settings => Answer::NoSuchOrder,
        })
    }

    /// What was read of a list, unless a row is missing that trading depends on. Others are told.
    fn rows<T>(&self, list: Rows<T>, out: &mut Vec<Action>) -> Result<Vec<T>, decode::DecodeError> {
        for row in list.left_out {
            if row.blocks(&self.options.symbols) {
                return Err(row.error);
            }
            note(out, "row_left_out", row.error, &[]);
        }
        Ok(list.rows)
    }

    /// No answer came.
    pub(super) fn failed(
        &mut self,
        id: RequestId,
        written: bool,
        timed_out: bool,
        world: &World<'_>,
        out: &mut Vec<Action>,
    ) {
        let Some(pending) = self.pending.remove(&id) else { return };
        let outcome = match (written, timed_out) {
            (false, _) => Outcome::NotSent,
            (true, true) => Outcome::TimedOut,
            (true, false) => Outcome::LinkLost,
        };
        match pending {
            Pending::Command { id, kind: CommandKind::Query(_) } => {
                let message = format!("no answer ({outcome:?})").into();
                self.answer(id, Err(VenueError { code: 0, message }), out);
            }
            Pending::Command { id, .. } => {
                self.confirmations.forget(id);
                self.outcome(id, outcome, out);
            }
            pending => {
                let error = VenueError { code: 0, message: format!("no answer ({outcome:?})").into() };
                self.refused(pending, 0, error, None, world, out);
            }
        }
    }
}

/// The code of the note that says that the answer to a query could not be read: one a kind.
fn kind_unreadable(query: &Query) -> &'static str {
    match query {
        Query::Order { conditional: false, .. } => "order_unreadable",
        Query::Order { conditional: true, .. } => "conditional_unreadable",
        Query::OpenOrders => "open_orders_unreadable",
        Query::OpenConditionals => "open_conditionals_unreadable",
        Query::Trades { .. } => "trades_unreadable",
        Query::Positions => "positions_unreadable",
        Query::Balances => "balances_unreadable",
        Query::Settings => "settings_unreadable",
    }
}

/// An order was taken or not: the answer tells, but not to us.
fn unreadable_outcome(error: &decode::DecodeError, body: &[u8], out: &mut Vec<Action>) -> Outcome {
    note(out, "outcome_unreadable", error, body);
    Outcome::Unknown(unreadable(error))
}

fn unreadable(error: &dyn std::error::Error) -> VenueError {
    VenueError { code: 0, message: format!("the answer could not be read: {error}").into() }
}
