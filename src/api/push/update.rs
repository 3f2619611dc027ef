//! What one step told, as the messages of topics: made when somebody wants them, once for everybody.
//!
//! Rows are those of the history (`/api/v1/history/orders`, `/api/v1/trades`, `/api/v1/decisions`), so both read alike.

use super::message::encode;
use super::topic::Topic;
use crate::projector::rows::Builder;
use bytes::Bytes;
use qcat_core::engine::facts::{Facts, Names};
use qcat_core::id::Seq;
use qcat_io::clock;
use qcat_io::store::{Batch, DecisionRow, EquityRow, FillRow, OrderRow, PositionRow};
use serde::Serialize;
use std::sync::Arc;

/// A message of a topic.
#[derive(Debug, Serialize)]
pub struct Message<'a, D> {
    /// The topic.
    pub topic: &'a Topic,
    /// The engine whose journal numbers it; absent where the topic has a count of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<u16>,
    /// The input's number, or the topic's own.
    pub seq: u64,
    /// When: RFC 3339, UTC.
    pub at: &'a str,
    /// `snapshot` or `update`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Of a market: what came between the message before and this one was left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<bool>,
    /// What it tells.
    pub data: D,
}

#[derive(Serialize)]
struct OfStrategy<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    orders: Vec<&'a OrderRow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fills: Vec<&'a FillRow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    positions: Vec<&'a PositionRow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    decisions: Vec<&'a DecisionRow>,
}

#[derive(Serialize)]
struct OfRisk<'a> {
    #[serde(skip_serializing_if = "<[EquityRow]>::is_empty")]
    equity: &'a [EquityRow],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    decisions: Vec<&'a DecisionRow>,
}

/// What one step told.
pub struct Told {
    facts: Arc<Facts>,
    names: Arc<Names>,
    engine: u16,
    /// Whether what accounts are worth is told this time.
    equity: bool,
    rows: Option<Batch>,
    frames: Vec<(Topic, Bytes)>,
}

fn is_alert(row: &DecisionRow) -> bool {
    matches!(&*row.kind, "alert" | "halted" | "resumed")
}

fn is_risk(row: &DecisionRow) -> bool {
    matches!(&*row.kind, "refused" | "halted" | "resumed")
}

impl Told {
    /// Of a step.
    pub fn new(facts: Arc<Facts>, names: Arc<Names>, engine: u16, equity: bool) -> Told {
        Told { facts, names, engine, equity, rows: None, frames: Vec::new() }
    }

    /// The step's number.
    pub fn seq(&self) -> u64 {
        self.facts.seq.0
    }

    fn rows(&mut self) -> &Batch {
        let Told { facts, names, engine, equity, .. } = &*self;
        let build = || {
            let mut builder = Builder::new(*engine, Seq(facts.seq.0.saturating_sub(1)), []);
            if let Err(error) = builder.add(facts, names) {
                // The names are at least as new as the step: this cannot be, and is told by the projections too.
                tracing::debug!(%error, "a step cannot be pushed as a whole");
            }
            let mut rows = builder.take();
            if !equity {
                rows.equity.clear();
            }
            rows
        };
        if self.rows.is_none() {
            self.rows = Some(build());
        }
        self.rows.get_or_insert_default()
    }

    /// The topics that it concerns.
    pub fn topics(&mut self) -> Vec<Topic> {
        let rows = self.rows();
        let mut topics = Vec::new();
        let mut add = |concerned: bool, topic: Topic| {
            if concerned && !topics.contains(&topic) {
                topics.push(topic);
            }
        };
        add(!rows.orders.is_empty(), Topic::Orders);
        add(!rows.positions.is_empty(), Topic::Positions);
        add(!rows.equity.is_empty() || rows.decisions.iter().any(is_risk), Topic::Risk);
        add(rows.decisions.iter().any(is_alert), Topic::Alerts);
        let strategies = rows.orders.iter().map(|row| &row.strategy);
        let strategies = strategies.chain(rows.fills.iter().map(|row| &row.strategy));
        let strategies = strategies.chain(rows.positions.iter().map(|row| &row.strategy));
        for strategy in strategies.chain(rows.decisions.iter().filter_map(|row| row.strategy.as_ref())) {
            add(true, Topic::Strategy(strategy.clone()));
        }
        topics
    }

    /// The message of a topic; `None`: it does not concern it.
    pub fn frame(&mut self, topic: &Topic) -> Option<Bytes> {
        if let Some((_, frame)) = self.frames.iter().find(|(known, _)| known == topic) {
            return Some(frame.clone());
        }
        if !self.topics().contains(topic) {
            return None;
        }
        let (engine, seq, at) = (self.engine, self.facts.seq.0, clock::text(self.facts.at));
        let rows = self.rows();
        let message = Head { topic, engine, seq, at: &at };
        let decisions =
            |wanted: fn(&DecisionRow) -> bool| rows.decisions.iter().filter(|row| wanted(row)).collect::<Vec<_>>();
        let frame = match topic {
            Topic::Orders => message.with(&rows.orders),
            Topic::Positions => message.with(&rows.positions),
            Topic::Alerts => message.with(decisions(is_alert)),
            Topic::Risk => message.with(OfRisk { equity: &rows.equity, decisions: decisions(is_risk) }),
            Topic::Strategy(name) => message.with(OfStrategy {
                orders: rows.orders.iter().filter(|row| row.strategy == *name).collect(),
                fills: rows.fills.iter().filter(|row| row.strategy == *name).collect(),
                positions: rows.positions.iter().filter(|row| row.strategy == *name).collect(),
                decisions: rows.decisions.iter().filter(|row| row.strategy.as_ref() == Some(name)).collect(),
            }),
            Topic::System | Topic::Market(_) => return None,
        };
        self.frames.push((topic.clone(), frame.clone()));
        Some(frame)
    }

    /// Its alerts, for the snapshot of who comes later.
    pub fn alerts(&mut self) -> Vec<DecisionRow> {
        self.rows().decisions.iter().filter(|row| is_alert(row)).cloned().collect()
    }

    /// Whether it may hold alerts.
    pub fn may_alert(&self) -> bool {
        use qcat_core::event::Decision::{Alert, Halted, Resumed};
        self.facts.decisions.iter().any(|decision| matches!(decision, Alert(_) | Halted { .. } | Resumed { .. }))
    }
}

struct Head<'a> {
    topic: &'a Topic,
    engine: u16,
    seq: u64,
    at: &'a str,
}

impl Head<'_> {
    fn with(&self, data: impl Serialize) -> Bytes {
        let Head { topic, engine, seq, at } = *self;
        encode(&Message { topic, engine: Some(engine), seq, at, kind: "update", gap: None, data })
    }
}
