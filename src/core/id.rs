//! Identities: dense indices inside, text at the edges. An index is never reused.

use crate::time::Ts;
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        pub struct $name(pub u16);

        impl $name {
            /// The index for a `Vec`.
            pub const fn ix(self) -> usize {
                self.0 as usize
            }
        }
    };
}

index! {
    /// An instrument, in the order of first definition.
    SymbolIx
}
index! {
    /// An asset, in the order of first mention.
    AssetIx
}
index! {
    /// An account at a venue, in the order of the configuration.
    AccountIx
}
index! {
    /// A strategy *within the engine*, in the order of the configuration. Index 0 is never a configured strategy: see [`StrategyIx::EXTERNAL`].
    StrategyIx
}

impl StrategyIx {
    /// The reserved strategy of each account that owns API orders without a strategy, foreign orders, liquidation,
    /// auto-deleveraging, settlement and transfers. With an account it is a unique key.
    pub const EXTERNAL: StrategyIx = StrategyIx(0);
}

/// The exchange's number of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VenueOrderId(pub i64);

/// The exchange's number of a trade, unique per symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TradeId(pub i64);

/// The sequence number of an admitted input, counted from 1 within one engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Seq(pub u64);

/// An order's identity from us: never used twice, over all restarts.
///
/// Text form: `q` and the four numbers in base 36 joined by `-`, 28 characters at most, all of `[0-9a-z-]`, so it satisfies
/// the exchange's `^[.A-Z:/a-z0-9_-]{1,36}$` and never begins like its own `autoclose-`, `adl_autoclose`, `settlement_autoclose-`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientOrderId {
    /// Increases with every start of the daemon: max(stored + 1, Unix seconds).
    pub epoch: u32,
    /// The account.
    pub account: AccountIx,
    /// The strategy that the order belongs to.
    pub strategy: StrategyIx,
    /// Counts the orders of one strategy in one epoch, from 1.
    pub counter: u32,
}

impl ClientOrderId {
    /// Reads the text form; `None` when the text is not one of ours.
    pub fn parse(text: &str) -> Option<ClientOrderId> {
        let mut parts = text.strip_prefix('q')?.split('-');
        let mut number = || {
            let part = parts.next()?;
            // Only the canonical form is ours: `from_str_radix` alone would accept `+1`, `A` and leading zeros.
            let canonical = part.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
                && (part.len() == 1 || !part.starts_with('0'));
            if canonical { u32::from_str_radix(part, 36).ok() } else { None }
        };
        let id = ClientOrderId {
            epoch: number()?,
            account: AccountIx(u16::try_from(number()?).ok()?),
            strategy: StrategyIx(u16::try_from(number()?).ok()?),
            counter: number()?,
        };
        parts.next().is_none().then_some(id)
    }

    /// Appends the text form.
    pub fn write(self, out: &mut String) {
        out.push('q');
        base36(out, self.epoch);
        for part in [self.account.0 as u32, self.strategy.0 as u32, self.counter] {
            out.push('-');
            base36(out, part);
        }
    }
}

fn base36(out: &mut String, mut value: u32) {
    let mut digits = [0u8; 7];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b"0123456789abcdefghijklmnopqrstuvwxyz"[(value % 36) as usize];
        value /= 36;
        if value == 0 {
            break;
        }
    }
    out.extend(digits[start..].iter().map(|&b| b as char));
}

impl fmt::Display for ClientOrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(28);
        self.write(&mut text);
        f.write_str(&text)
    }
}

impl fmt::Debug for ClientOrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The epoch of this start: larger than any stored one, so that ids never repeat even when the clock went back.
pub fn next_epoch(stored: Option<u32>, now: Ts) -> u32 {
    let wall = u32::try_from(now.seconds().max(0)).unwrap_or(u32::MAX);
    stored.map_or(wall, |last| wall.max(last.saturating_add(1)))
}

/// Text of at most 36 bytes held in place: a client order id that somebody else chose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ForeignId {
    len: u8,
    // Two halves, because serde derives arrays up to 32 only.
    head: [u8; 32],
    tail: [u8; 4],
}

impl ForeignId {
    /// Keeps the first 36 bytes of `text` (the exchange allows no more); non-ASCII bytes become `?`.
    pub fn new(text: &str) -> ForeignId {
        let mut id = ForeignId { len: 0, head: [0; 32], tail: [0; 4] };
        for (at, byte) in text.bytes().take(36).enumerate() {
            let byte = if byte.is_ascii() { byte } else { b'?' };
            match at.checked_sub(32) {
                None => id.head[at] = byte,
                Some(rest) => id.tail[rest] = byte,
            }
            id.len += 1;
        }
        id
    }
}

impl fmt::Display for ForeignId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head.iter().chain(&self.tail).take(self.len as usize).try_for_each(|&b| write!(f, "{}", b as char))
    }
}

impl fmt::Debug for ForeignId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The client order id that a report carries: ours, or somebody else's (a person, another program, the exchange itself).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OrderKey {
    /// Sent by this program, in this or an earlier epoch.
    Ours(ClientOrderId),
    /// Anybody else's.
    Foreign(ForeignId),
}

impl OrderKey {
    /// From the text on the wire.
    pub fn parse(text: &str) -> OrderKey {
        ClientOrderId::parse(text).map_or_else(|| OrderKey::Foreign(ForeignId::new(text)), OrderKey::Ours)
    }

    /// Our id, if it is ours.
    pub fn ours(self) -> Option<ClientOrderId> {
        match self {
            OrderKey::Ours(id) => Some(id),
            OrderKey::Foreign(_) => None,
        }
    }
}

impl fmt::Display for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OrderKey::Ours(id) => id.fmt(f),
            OrderKey::Foreign(id) => id.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_survive_the_wire(epoch: u32, account: u16, strategy: u16, counter: u32) {
            let id = ClientOrderId { epoch, account: AccountIx(account), strategy: StrategyIx(strategy), counter };
            let text = id.to_string();
            prop_assert!(text.len() <= 36 && text.starts_with('q'));
            prop_assert_eq!(OrderKey::parse(&text), OrderKey::Ours(id));
        }

        #[test]
        fn foreign_ids_keep_their_text(text in "[.A-Z:/a-z0-9_-]{1,36}") {
            prop_assert_eq!(OrderKey::parse(&text).to_string(), text);
        }
    }

    #[test]
    fn only_the_canonical_text_is_ours() {
        for text in [
            "q1-0-1",
            "q1-0-1-2-3",
            "q1-0-1-",
            "q+1-0-1-2",
            "q01-0-1-2",
            "qA-0-1-2",
            "autoclose-1",
            "x1-0-1-2",
            "q1-0-99999-2",
        ] {
            assert!(ClientOrderId::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_epoch_grows_even_when_the_clock_does_not() {
        assert_eq!(next_epoch(None, Ts::from_millis(5_000)), 5);
        assert_eq!(next_epoch(Some(9), Ts::from_millis(5_000)), 10);
        assert_eq!(next_epoch(Some(9), Ts::from_millis(50_000)), 50);
    }
}
