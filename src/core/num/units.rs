//! Prices and quantities, at the scale of their instrument, and sides.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A price as a mantissa at the instrument's price scale. Zero means "none" only where a field's doc says so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Price(i64);

/// A quantity that is never negative, as a mantissa at the instrument's quantity scale.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Quantity(i64);

/// A position's quantity: positive is long, negative is short. Same scale as [`Quantity`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct NetQuantity(i64);

impl Price {
    /// The price zero.
    pub const ZERO: Price = Price(0);

    /// From a mantissa at the instrument's price scale.
    pub const fn from_mantissa(mantissa: i64) -> Price {
        Price(mantissa)
    }

    /// The mantissa at the instrument's price scale.
    pub const fn mantissa(self) -> i64 {
        self.0
    }

    /// Whether the price is zero.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl Quantity {
    /// The quantity zero.
    pub const ZERO: Quantity = Quantity(0);

    /// From a mantissa at the instrument's quantity scale; `None` when negative.
    pub const fn from_mantissa(mantissa: i64) -> Option<Quantity> {
        if mantissa < 0 { None } else { Some(Quantity(mantissa)) }
    }

    /// The mantissa at the instrument's quantity scale.
    pub const fn mantissa(self) -> i64 {
        self.0
    }

    /// Whether nothing is left.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, or `None` on overflow.
    pub const fn checked_add(self, other: Quantity) -> Option<Quantity> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Quantity(sum)),
            None => None,
        }
    }

    /// The difference, or `None` when it would be negative.
    pub const fn checked_sub(self, other: Quantity) -> Option<Quantity> {
        if other.0 > self.0 { None } else { Some(Quantity(self.0 - other.0)) }
    }

    /// The difference, zero at least.
    pub const fn saturating_sub(self, other: Quantity) -> Quantity {
        if other.0 > self.0 { Quantity(0) } else { Quantity(self.0 - other.0) }
    }

    /// The same quantity with the sign of `side`: positive to buy, negative to sell.
    pub const fn signed(self, side: Side) -> NetQuantity {
        match side {
            Side::Buy => NetQuantity(self.0),
            Side::Sell => NetQuantity(-self.0),
        }
    }
}

impl NetQuantity {
    /// No position.
    pub const ZERO: NetQuantity = NetQuantity(0);

    /// From a signed mantissa at the instrument's quantity scale.
    pub const fn from_mantissa(mantissa: i64) -> NetQuantity {
        NetQuantity(mantissa)
    }

    /// The signed mantissa at the instrument's quantity scale.
    pub const fn mantissa(self) -> i64 {
        self.0
    }

    /// Whether there is no position.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The size without its sign.
    pub const fn abs(self) -> Quantity {
        Quantity(self.0.saturating_abs())
    }

    /// The side that opened the position, `None` when flat.
    pub const fn side(self) -> Option<Side> {
        match self.0 {
            0 => None,
            n if n > 0 => Some(Side::Buy),
            _ => Some(Side::Sell),
        }
    }

    /// The sum, or `None` on overflow.
    pub const fn checked_add(self, other: NetQuantity) -> Option<NetQuantity> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(NetQuantity(sum)),
            None => None,
        }
    }

    /// The opposite position.
    pub const fn negate(self) -> NetQuantity {
        NetQuantity(-self.0)
    }
}

impl fmt::Debug for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Price({})", self.0)
    }
}

impl fmt::Debug for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Quantity({})", self.0)
    }
}

impl fmt::Debug for NetQuantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NetQuantity({})", self.0)
    }
}

/// Buy or sell. As the side of a position: `Buy` is long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Side {
    /// Buy; long.
    Buy,
    /// Sell; short.
    Sell,
}

impl Side {
    /// The other side.
    pub const fn opposite(self) -> Side {
        match self {
            Side::Buy => Side::Sell,
            Side::Sell => Side::Buy,
        }
    }

    /// The exchange's word: `BUY` or `SELL`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Side::Buy => "BUY",
            Side::Sell => "SELL",
        }
    }
}
