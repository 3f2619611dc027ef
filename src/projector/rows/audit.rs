//! Commands of people as lines of the audit log: who asked for what, when, from where, and what came of it.

use super::{From, number};
use crate::projector::words;
use qcat_core::config::ParamValue;
use qcat_core::event::{Asked, Decision, OperatorCommand, Scope};
use qcat_core::order::{Conditional, Intent, OrderIntent, Terms};
use qcat_io::store::rows::words::{order_type, side, time_in_force};
use qcat_io::store::{AuditRow, Text};
use serde_json::{Map, Value, json};

impl From<'_> {
    /// The line of a command. Its id tells engine, input and request, so that it is the same however often it is told.
    pub(super) fn audit(&self, asked: &Asked, decisions: &[Decision]) -> AuditRow {
        let (command, arguments) = self.command(&asked.command);
        AuditRow {
            id: format!("{}-{}-{}", self.engine, self.seq.0, asked.by.request).into(),
            actor: (&*asked.by.user).into(),
            role: (&*asked.by.role).into(),
            source: (&*asked.by.remote).into(),
            command,
            arguments: Value::Object(arguments).to_string().into(),
            idempotency_key: asked.key.as_ref().map(|key| (&*key.key).into()),
            outcome: outcome(&asked.command, decisions).into(),
            at: self.at.into(),
            engine: Some(self.engine),
            seq: number(self.seq),
        }
    }

    fn command(&self, command: &OperatorCommand) -> (Text, Map<String, Value>) {
        let account = |ix| ("account", json!(&*self.account(ix)));
        let strategy = |ix| ("strategy", json!(&*self.strategy(ix)));
        let (word, arguments): (&str, Vec<(&str, Value)>) = match command {
            OperatorCommand::Intent(Intent::Place(order)) => ("order_place", self.placed(order)),
            OperatorCommand::Intent(Intent::Cancel { account: ix, symbol, key, .. }) => (
                "order_cancel",
                vec![
                    account(*ix),
                    ("symbol", json!(&*self.symbol(*symbol))),
                    ("client_order_id", key.to_string().into()),
                ],
            ),
            OperatorCommand::Intent(Intent::Modify { symbol, id, price, quantity, .. }) => {
                let known = self.names.universe.instrument(*symbol);
                let arguments = vec![
                    account(id.account),
                    ("symbol", json!(&*self.symbol(*symbol))),
                    ("client_order_id", id.to_string().into()),
                    ("price", known.map(|known| known.price_text(*price)).into()),
                    ("quantity", known.map(|known| known.quantity_text(*quantity)).into()),
                ];
                ("order_modify", arguments)
            }
            OperatorCommand::Intent(Intent::CancelAll { account: ix, strategy: of, symbol }) => {
                let symbol = symbol.map(|symbol| self.symbol(symbol).to_string());
                ("orders_cancel", vec![account(*ix), strategy(*of), ("symbol", symbol.into())])
            }
            OperatorCommand::CancelAll { account: ix, symbol } => {
                let symbol = symbol.map(|symbol| self.symbol(symbol).to_string());
                ("orders_cancel_all", vec![account(*ix), ("symbol", symbol.into())])
            }
            OperatorCommand::StartStrategy(ix) => ("strategy_start", vec![strategy(*ix)]),
            OperatorCommand::StopStrategy(ix) => ("strategy_stop", vec![strategy(*ix)]),
            OperatorCommand::SetParams { strategy: ix, params } => {
                let params: Map<String, Value> =
                    params.iter().map(|(name, to)| (name.to_string(), param(to))).collect();
                ("strategy_params", vec![strategy(*ix), ("params", params.into())])
            }
            OperatorCommand::Halt(scope) => ("kill_switch_on", self.reach(*scope)),
            OperatorCommand::Resume(scope) => ("kill_switch_off", self.reach(*scope)),
            OperatorCommand::Reconcile(ix) => ("reconcile", vec![account(*ix)]),
            OperatorCommand::Note { what, target } => (what, vec![("target", json!(&**target))]),
        };
        (word.into(), arguments.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    fn placed(&self, order: &OrderIntent) -> Vec<(&'static str, Value)> {
        let known = self.names.universe.instrument(order.symbol);
        let price = |price| Value::from(known.map(|known| known.price_text(price)));
        let mut arguments = vec![
            ("account", json!(&*self.account(order.id.account))),
            ("symbol", json!(&*self.symbol(order.symbol))),
            ("client_order_id", order.id.to_string().into()),
            ("side", side(order.side).into()),
            ("type", order_type(&order.terms).into()),
            ("quantity", known.map(|known| known.quantity_text(order.quantity)).into()),
            ("reduce_only", order.reduce_only.into()),
        ];
        arguments.extend(order.terms.limit_price().map(|limit| ("price", price(limit))));
        arguments.extend(time_in_force(&order.terms).map(|word| ("time_in_force", word.into())));
        if let Terms::Conditional(Conditional { trigger_price, close_position, .. }) = order.terms {
            arguments.extend([("stop_price", price(trigger_price)), ("close_position", close_position.into())]);
        }
        arguments
    }

    fn reach(&self, scope: Scope) -> Vec<(&'static str, Value)> {
        let (word, name) = match scope {
            Scope::All => ("all", None),
            Scope::Account(ix) => ("account", Some(self.account(ix))),
            Scope::Symbol(ix) => ("symbol", Some(self.symbol(ix))),
            Scope::Strategy(ix) => ("strategy", Some(self.strategy(ix))),
        };
        let mut arguments = vec![("scope", Value::from(word))];
        arguments.extend(name.map(|name| ("name", json!(&*name))));
        arguments
    }
}

/// `accepted`, or the stable code of the refusal.
fn outcome(command: &OperatorCommand, decisions: &[Decision]) -> &'static str {
    let OperatorCommand::Intent(intent) = command else { return words::ACCEPTED };
    let refused = decisions.iter().find_map(|decision| match decision {
        Decision::Refused(refused) if refused.intent == *intent => Some(refused.reason.code()),
        _ => None,
    });
    refused.unwrap_or(words::ACCEPTED)
}

fn param(value: &ParamValue) -> Value {
    match value {
        ParamValue::Int(value) => (*value).into(),
        ParamValue::Float(value) => (*value).into(),
        ParamValue::Bool(value) => (*value).into(),
        ParamValue::Text(word) => json!(&**word),
    }
}
