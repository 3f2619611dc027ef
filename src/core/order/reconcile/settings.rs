//! The account's settings at the venue against the configuration: a difference refuses trading until a later check agrees.
#![deny(clippy::float_arithmetic)]

use super::Reconciler;
use crate::command::{AccountSettings, MarginType};
use crate::config::AccountConfig;
use crate::event::{AlertCode, Event};
use crate::id::SymbolIx;
use crate::node::{Context, Outbox};
use crate::order::PositionMode;
use std::collections::BTreeSet;

impl Reconciler {
    /// Checks all settings. Every difference is named in one alert, once until they change.
    pub(super) fn check_settings(&mut self, settings: &AccountSettings, context: &Context<'_>, out: &mut Outbox) {
        let Some(account) = context.config.account(self.account) else { return };
        let mut differences = Vec::new();
        if settings.position_mode != account.position_mode {
            let (found, wanted) = (mode(settings.position_mode), mode(account.position_mode));
            differences.push(format!(
                "position mode is {found}, wanted is {wanted} (change it at the exchange while the account has no position and no open order, or set `position_mode: {found}`)"
            ));
        }
        if settings.multi_assets != account.multi_assets {
            let (found, wanted) = (settings.multi_assets, account.multi_assets);
            differences.push(format!(
                "multi-assets mode is {found}, wanted is {wanted} (change it at the exchange, or set `multi_assets: {found}`)"
            ));
        }
        let configured = self.configured_symbols(context);
        for symbol in self.used_symbols(context) {
            // Of a symbol that nobody is configured for and that the venue does not know any more there is nothing to check.
            if configured.contains(&symbol) || settings.symbols.iter().any(|found| found.symbol == symbol) {
                differences.extend(symbol_differences(settings, symbol, account, context));
            }
        }
        self.state.settings = Some(differences.is_empty());
        if std::mem::take(&mut self.state.suspected) && !differences.is_empty() {
            if let Some(run) = &mut self.state.run {
                run.began = context.seq;
            }
            out.push(Event::Untrusted(self.account));
        }
        if differences.is_empty() {
            self.state.told = None;
            return;
        }
        let text = format!(
            "the account does not trade: it is not set up at the exchange as the configuration wants it: {}",
            differences.join("; ")
        );
        if self.state.told.as_ref() != Some(&text) {
            self.alert(AlertCode::SettingsDiffer, None, text.clone(), out);
            self.state.told = Some(text);
        }
    }

    /// Leverage was changed at the venue.
    pub(super) fn on_leverage(&mut self, symbol: SymbolIx, leverage: u16, context: &Context<'_>, out: &mut Outbox) {
        let Some(account) = context.config.account(self.account) else { return };
        if self.used_symbols(context).contains(&symbol) {
            self.on_setting(leverage == account.leverage, context, out);
        }
    }

    /// Multi-assets mode was changed at the venue.
    pub(super) fn on_multi_assets(&mut self, multi_assets: bool, context: &Context<'_>, out: &mut Outbox) {
        let Some(account) = context.config.account(self.account) else { return };
        self.on_setting(multi_assets == account.multi_assets, context, out);
    }

    /// A setting was changed: to what differs, or back. Either way the whole has to be checked; the check tells what differs.
    fn on_setting(&mut self, agrees: bool, context: &Context<'_>, out: &mut Outbox) {
        if agrees && self.state.settings == Some(true) {
            return;
        }
        self.state.settings = None;
        if !agrees {
            out.push(Event::Untrusted(self.account));
        }
        self.begin(context, out);
    }

    /// The account trades or holds a symbol for the first time in a while: whoever does it, its settings have to agree. Whether
    /// that is to be checked now.
    pub(super) fn suspect(&mut self, symbol: SymbolIx, context: &Context<'_>) -> bool {
        let new = self.state.settings == Some(true) && !self.configured_symbols(context).contains(&symbol);
        if new {
            (self.state.settings, self.state.suspected) = (None, true);
        }
        new
    }

    /// Every symbol whose settings matter: configured, or with an order, a position or a fill.
    fn used_symbols(&self, context: &Context<'_>) -> BTreeSet<SymbolIx> {
        let mut symbols = self.configured_symbols(context);
        symbols.extend(self.state.active.iter().copied());
        symbols
    }

    fn configured_symbols(&self, context: &Context<'_>) -> BTreeSet<SymbolIx> {
        let strategies = context.config.strategies.iter().filter(|strategy| strategy.account == self.account);
        strategies.flat_map(|strategy| strategy.symbols.iter().copied()).collect()
    }
}

fn symbol_differences(
    settings: &AccountSettings,
    symbol: SymbolIx,
    account: &AccountConfig,
    context: &Context<'_>,
) -> Vec<String> {
    let name =
        context.universe.instrument(symbol).map_or_else(|| format!("symbol {}", symbol.0), |i| i.name.to_string());
    let Some(found) = settings.symbols.iter().find(|settings| settings.symbol == symbol) else {
        return vec![format!("the venue tells no settings of {name}")];
    };
    let mut differences = Vec::new();
    if found.margin_type != account.margin_type {
        let (found, wanted) = (margin(found.margin_type), margin(account.margin_type));
        differences.push(format!(
            "margin type of {name} is {found}, wanted is {wanted} (change it at the exchange while the symbol has no position and no open order, or set `margin_type: {found}`)"
        ));
    }
    if found.leverage != account.leverage {
        let (found, wanted) = (found.leverage, account.leverage);
        differences.push(format!(
            "leverage of {name} is {found}, wanted is {wanted} (change it at the exchange, or set `leverage: {found}`)"
        ));
    }
    differences
}

/// As it stands in the configuration.
fn mode(mode: PositionMode) -> &'static str {
    match mode {
        PositionMode::OneWay => "one_way",
        PositionMode::Hedge => "hedge",
    }
}

fn margin(margin: MarginType) -> &'static str {
    match margin {
        MarginType::Cross => "cross",
        MarginType::Isolated => "isolated",
    }
}
