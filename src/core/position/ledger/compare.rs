//! Comparison with the venue's positions and balances, and repair.

use super::Ledger;
use super::state::{Book, BookError, State, instrument};
use crate::command::{VenueBalance, VenuePosition};
use crate::event::{AlertCode, Event};
use crate::id::{AssetIx, StrategyIx, SymbolIx};
use crate::instrument::Instrument;
use crate::node::{Context, Outbox, encode_state, hash_bytes};
use crate::num::{Money, NetQuantity, NumError, Price, Side};
use crate::order::PositionSide;
use crate::order::reconcile::Finding;
use crate::position::Position;
use crate::time::Ts;
use std::collections::BTreeMap;

/// What the venue said that the account holds.
pub(super) struct Holdings<'a> {
    pub asked_at: Ts,
    pub positions: &'a [VenuePosition],
    pub balances: &'a [VenueBalance],
}

/// A position that differs.
struct PositionGap {
    symbol: SymbolIx,
    side: PositionSide,
    ours: NetQuantity,
    venue: NetQuantity,
    entry_price: Price,
}

/// A balance that differs, by a single digit of the last decimal even.
struct BalanceGap {
    ours: Money,
    venue: Money,
}

impl BalanceGap {
    fn is_loss(&self) -> bool {
        self.venue.mantissa() < self.ours.mantissa()
    }
}

impl Ledger {
    /// Compares, repairs if told to, and says whether ledger and venue agree *now*. What changed here since the question was
    /// asked is not repaired: the answer may be older than the change, and has to be asked for again.
    pub(super) fn compare(&mut self, holdings: &Holdings<'_>, repair: bool, context: &Context<'_>, out: &mut Outbox) {
        self.state.roll(self.margin, context);
        let (positions, balances) = (self.state.position_gaps(holdings), self.state.balance_gaps(holdings));
        let mut equal = positions.is_empty() && balances.is_empty();
        let gap = gap_of(&positions, &balances);
        if equal {
            self.state.repaired.clear();
        }
        if !equal && repair {
            // The first look at an account that has a past is no repair.
            let silent = !self.state.adopted && self.state.booked == 0;
            equal = true;
            for gap in &positions {
                equal &= self.repair_position(gap, holdings.asked_at, silent, context, out);
            }
            for gap in &balances {
                equal &= self.repair_balance(gap, holdings.asked_at, silent, context, out);
            }
        }
        if equal {
            // What the exchange's reports said before is settled.
            self.state.told.clear();
            self.state.adopted = true;
        }
        if equal || repair {
            self.emit_equity(context, out);
        }
        out.push(Event::Finding(Finding::Compared { account: self.account, equal, gap }));
    }

    fn repair_position(
        &mut self,
        gap: &PositionGap,
        asked_at: Ts,
        silent: bool,
        context: &Context<'_>,
        out: &mut Outbox,
    ) -> bool {
        if self.state.touched.get(&gap.symbol).is_some_and(|&touched| touched >= asked_at) {
            return false;
        }
        let repaired = instrument(context.universe, gap.symbol)
            .and_then(|instrument| Ok((instrument, self.state.adopt(gap, instrument)?)));
        let (instrument, price) = match repaired {
            Ok(repaired) => repaired,
            Err(error) => {
                self.fail(Some(gap.symbol), "a position could not be repaired", &error, out);
                return false;
            }
        };
        if !silent {
            let (name, side) = (&instrument.name, gap.side);
            let (ours, venue) = (instrument.net_text(gap.ours), instrument.net_text(gap.venue));
            let price = instrument.price_text(price);
            let text = format!(
                "the position in {name} ({side:?}) was {ours} here and {venue} at the venue; it was set to {venue}, the difference is the external strategy's at {price}"
            );
            self.alert(AlertCode::PositionRepaired, Some(gap.symbol), text, out);
        }
        self.state.repaired.insert(gap.symbol);
        self.emit_position(StrategyIx::EXTERNAL, gap.symbol, out);
        true
    }

    fn repair_balance(
        &mut self,
        gap: &BalanceGap,
        asked_at: Ts,
        silent: bool,
        context: &Context<'_>,
        out: &mut Outbox,
    ) -> bool {
        if self.state.wallet_touched.is_some_and(|touched| touched >= asked_at) {
            return false;
        }
        if let Err(error) = self.state.set_balance(gap) {
            self.fail(None, "a balance could not be repaired", &error.into(), out);
            return false;
        }
        if !silent {
            let (ours, venue) = (self.amount(gap.ours, context), self.amount(gap.venue, context));
            let loss = if gap.is_loss() { ", the difference counts as a loss until a report explains it" } else { "" };
            let text =
                format!("the wallet balance was {ours} here and {venue} at the venue; it was set to {venue}{loss}");
            self.alert(AlertCode::BalanceRepaired, None, text, out);
        }
        true
    }
}

/// A number that is the same for the same differences.
fn gap_of(positions: &[PositionGap], balances: &[BalanceGap]) -> u64 {
    let positions: Vec<_> = positions.iter().map(|g| (g.symbol, g.side, g.ours, g.venue)).collect();
    let balances: Vec<_> = balances.iter().map(|g| (g.ours, g.venue)).collect();
    hash_bytes(&encode_state(&(positions, balances)))
}

impl State {
    fn position_gaps(&self, holdings: &Holdings<'_>) -> Vec<PositionGap> {
        let mut keys: BTreeMap<(SymbolIx, PositionSide), (NetQuantity, Price)> =
            self.positions.keys().map(|&key| (key, (NetQuantity::ZERO, Price::ZERO))).collect();
        for position in holdings.positions {
            keys.insert((position.symbol, position.position_side), (position.quantity, position.entry_price));
        }
        let gaps = keys.into_iter().map(|((symbol, side), (venue, entry_price))| {
            let ours = self.positions.get(&(symbol, side)).map_or(NetQuantity::ZERO, |p| p.quantity);
            PositionGap { symbol, side, ours, venue, entry_price }
        });
        gaps.filter(|gap| gap.ours != gap.venue).collect()
    }

    fn balance_gaps(&self, holdings: &Holdings<'_>) -> Vec<BalanceGap> {
        let mut venue: BTreeMap<AssetIx, Money> = self.wallet.iter().map(|m| (m.asset, Money::zero(m.asset))).collect();
        venue.extend(holdings.balances.iter().map(|b| (b.wallet.asset, b.wallet)));
        let gaps = venue.into_values().map(|venue| BalanceGap { ours: self.wallet.get(venue.asset), venue });
        gaps.filter(|gap| gap.ours != gap.venue).collect()
    }

    /// Makes a position what the venue says. The difference becomes a trade of the reserved strategy at the venue's entry price, or
    /// at ours where the venue has none because it is flat. The account's own realised profit takes what that price leaves
    /// over, so that it still agrees with the strategies' in sum. Returns the price.
    fn adopt(&mut self, gap: &PositionGap, instrument: &Instrument) -> Result<Price, BookError> {
        let key = (gap.symbol, gap.side);
        let before = self.positions.get(&key).copied().unwrap_or(Position::flat(instrument.quote));
        let named = Some(gap.entry_price).filter(|p| !gap.venue.is_zero() && p.mantissa() > 0);
        let price = match named {
            Some(price) => price,
            None if gap.venue.is_zero() => before.entry_price(instrument).ok_or(NumError::Overflow)?,
            None => return Err(BookError::NoEntryPrice(gap.symbol)),
        };
        let change = gap.venue.mantissa().checked_sub(gap.ours.mantissa()).ok_or(NumError::Overflow)?;
        let change = NetQuantity::from_mantissa(change);
        let external = (StrategyIx::EXTERNAL, gap.symbol);
        let mut book = self.books.get(&external).cloned().unwrap_or(Book::new(instrument.quote));
        let side = change.side().unwrap_or(Side::Buy);
        book.position = book.position.traded(instrument, side, price, change.abs())?;

        let mut realized = book.position.balance()?;
        for (strategy, other) in self.books_of(gap.symbol) {
            if strategy != StrategyIx::EXTERNAL {
                realized = realized.checked_add(other.position.balance()?)?;
            }
        }
        for (_, other) in self.sides(gap.symbol).filter(|(side, _)| *side != gap.side) {
            realized = realized.checked_sub(other.balance()?)?;
        }
        let cost = instrument.signed_notional(price, gap.venue)?;
        let after = Position { quantity: gap.venue, cost, realized: realized.checked_add(cost)? };
        self.rebase(gap.symbol, change, cost.checked_sub(before.cost)?, instrument)?;
        self.positions.insert(key, after);
        self.books.insert(external, book);
        Ok(price)
    }

    /// Makes a balance what the venue says. What is missing without an explanation is most likely funding of which no report
    /// came: it is booked as such, nobody's, so that it counts as a loss of the day. What is too much counts as a transfer. A
    /// report that comes late puts it where it belongs.
    fn set_balance(&mut self, gap: &BalanceGap) -> Result<(), NumError> {
        let change = gap.venue.checked_sub(gap.ours)?;
        let mut wallet = self.wallet.clone();
        wallet.add(change)?;
        if gap.is_loss() && self.adopted {
            let (mut funding, mut unassigned) = (self.funding.clone(), self.unassigned.clone());
            funding.add(change)?;
            unassigned.add(change)?;
            (self.funding, self.unassigned) = (funding, unassigned);
        } else {
            let mut transfers = self.transfers.clone();
            transfers.add(change)?;
            self.transfers = transfers;
        }
        self.wallet = wallet;
        Ok(())
    }
}
