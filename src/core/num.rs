//! Exact numbers: prices, quantities, rates and money.
//!
//! A [`Price`] and a [`Quantity`] are integer mantissas at the decimal scale of *their instrument*; alone they mean nothing,
//! so they have no operators that mix units: notional value comes only from [`crate::instrument::Instrument`].
//! [`Money`] is an amount of one asset at the fixed scale of 18 decimals. All arithmetic is checked.
//! Tests: tables and properties here (text goes to integers and back without loss).

use crate::id::AssetIx;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What can be wrong with a number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NumError {
    /// The text is not a plain decimal number.
    #[error("`{0}` is not a decimal number (allowed: digits with one optional point and an optional leading minus)")]
    Malformed(String),
    /// The text has more decimals than the scale can hold.
    #[error("`{text}` has more than {scale} decimals")]
    TooFine { text: String, scale: u8 },
    /// The value does not fit.
    #[error("the value is too large for its type")]
    Overflow,
    /// Two assets were mixed.
    #[error("amounts of two different assets ({0:?} and {1:?}) cannot be added")]
    AssetMismatch(AssetIx, AssetIx),
    /// A value that must not be negative is negative.
    #[error("`{0}` is negative")]
    Negative(String),
}

/// How a value that lies between two representable ones is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Towards negative infinity.
    Down,
    /// Towards positive infinity.
    Up,
    /// To the nearest; a tie goes away from zero.
    Nearest,
}

/// Powers of ten that fit an `i128` (10^0 to 10^38).
pub const fn pow10(exponent: u8) -> i128 {
    let mut result = 1i128;
    let mut i = 0;
    while i < exponent {
        result *= 10;
        i += 1;
    }
    result
}

/// Reads decimal text into an integer mantissa at `scale`. Zeros beyond the scale are accepted, other digits are not.
#[inline]
pub fn parse_mantissa(text: &[u8], scale: u8) -> Result<i128, NumError> {
    let malformed = || NumError::Malformed(String::from_utf8_lossy(&text[..text.len().min(64)]).into_owned());
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut value: i128 = 0;
    let mut decimals: Option<u8> = None;
    let mut seen = 0usize;
    for &byte in digits {
        if byte == b'.' {
            if decimals.is_some() {
                return Err(malformed());
            }
            decimals = Some(0);
            continue;
        }
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(malformed());
        }
        seen += 1;
        match &mut decimals {
            Some(count) if *count >= scale => {
                if digit != 0 {
                    let text = String::from_utf8_lossy(&text[..text.len().min(64)]).into_owned();
                    return Err(NumError::TooFine { text, scale });
                }
                continue;
            }
            Some(count) => *count += 1,
            None => {}
        }
        value = value.checked_mul(10).and_then(|v| v.checked_add(digit as i128)).ok_or(NumError::Overflow)?;
    }
    if seen == 0 {
        return Err(malformed());
    }
    let missing = scale - decimals.unwrap_or(0);
    if value != 0 {
        if missing > 38 {
            return Err(NumError::Overflow);
        }
        value = value.checked_mul(pow10(missing)).ok_or(NumError::Overflow)?;
    }
    Ok(if negative { -value } else { value })
}

/// Reads decimal text into an `i64` mantissa: the fast path of the decoders.
#[inline]
pub fn parse_i64(text: &[u8], scale: u8) -> Result<i64, NumError> {
    // Up to 18 digits cannot overflow; anything longer or odd takes the exact path.
    if text.len() <= 18 {
        let mut value: i64 = 0;
        let mut decimals: i32 = -1;
        for &byte in text {
            let digit = byte.wrapping_sub(b'0');
            if digit <= 9 {
                value = value * 10 + digit as i64;
                decimals += (decimals >= 0) as i32;
            } else if byte == b'.' && decimals < 0 {
                decimals = 0;
            } else {
                return slow_i64(text, scale);
            }
        }
        let missing = scale as i32 - decimals.max(0);
        let digits = text.len() as i32 - (decimals >= 0) as i32;
        if digits > 0
            && (0..=18).contains(&missing)
            && let Some(scaled) = value.checked_mul(POW10_I64[missing as usize])
        {
            return Ok(scaled);
        }
    }
    slow_i64(text, scale)
}

#[cold]
fn slow_i64(text: &[u8], scale: u8) -> Result<i64, NumError> {
    i64::try_from(parse_mantissa(text, scale)?).map_err(|_| NumError::Overflow)
}

const POW10_I64: [i64; 19] = {
    let mut table = [1i64; 19];
    let mut i = 1;
    while i < 19 {
        table[i] = table[i - 1] * 10;
        i += 1;
    }
    table
};

/// Appends a mantissa as decimal text with exactly `decimals` digits after the point, or more if the value needs them.
/// `scale` is 38 at most.
pub fn write_mantissa(out: &mut String, mantissa: i128, scale: u8, decimals: u8) {
    // An i128 has at most 39 digits; zeros stand to the left of them up to the point.
    const ROOM: usize = 40;
    let mut digits = [b'0'; ROOM];
    let mut start = ROOM;
    let mut large = mantissa.unsigned_abs();
    while large > u64::MAX as u128 {
        start -= 1;
        digits[start] += (large % 10) as u8;
        large /= 10;
    }
    let mut rest = large as u64;
    while rest > 0 {
        start -= 1;
        digits[start] += (rest % 10) as u8;
        rest /= 10;
    }
    let point = ROOM - usize::from(scale);
    let begin = start.min(point - 1);
    let mut end = ROOM;
    while end > point + usize::from(decimals) && digits[end - 1] == b'0' {
        end -= 1;
    }
    if mantissa < 0 {
        out.push('-');
    }
    let text = |from: usize, to: usize| std::str::from_utf8(&digits[from..to]).expect("digits are ASCII");
    out.push_str(text(begin, point));
    if end > point || decimals > 0 {
        out.push('.');
        out.push_str(text(point, end));
        (end - point..usize::from(decimals)).for_each(|_| out.push('0'));
    }
}

/// Decimal text of a mantissa without trailing zeros.
pub fn mantissa_to_string(mantissa: i128, scale: u8) -> String {
    let mut out = String::new();
    write_mantissa(&mut out, mantissa, scale, 0);
    out
}

/// Integer division with an explicit rounding. `divisor` must be positive.
pub fn div_round(value: i128, divisor: i128, rounding: Rounding) -> i128 {
    debug_assert!(divisor > 0);
    let (quotient, remainder) = (value.div_euclid(divisor), value.rem_euclid(divisor));
    match rounding {
        Rounding::Down => quotient,
        Rounding::Up => quotient + (remainder > 0) as i128,
        Rounding::Nearest => {
            let twice = remainder * 2;
            let up = twice > divisor || (twice == divisor && value >= 0);
            quotient + up as i128
        }
    }
}

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

/// A dimensionless rate (fee rate, funding rate, margin rate) with 10 decimals: 0.0005 is 5,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Rate(i64);

impl Rate {
    /// Decimals of a rate.
    pub const SCALE: u8 = 10;
    /// No rate.
    pub const ZERO: Rate = Rate(0);
    /// The rate 1 (100 %).
    pub const ONE: Rate = Rate(10_000_000_000);

    /// From a mantissa with ten decimals.
    pub const fn from_mantissa(mantissa: i64) -> Rate {
        Rate(mantissa)
    }

    /// From basis points (1 bp = 0.0001).
    pub const fn from_bps(bps: i64) -> Rate {
        Rate(bps * 1_000_000)
    }

    /// The mantissa with ten decimals.
    pub const fn mantissa(self) -> i64 {
        self.0
    }

    /// Reads decimal text.
    pub fn parse(text: &[u8]) -> Result<Rate, NumError> {
        parse_i64(text, Self::SCALE).map(Rate)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mantissa_to_string(self.0 as i128, Self::SCALE))
    }
}

/// An amount of one asset, exact to 18 decimals.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// The asset.
    pub asset: AssetIx,
    #[serde(with = "amount_form")]
    amount: i128,
}

/// An amount in the journal is its mantissa; in JSON and the like, where numbers end at 64 bits, its decimal text.
mod amount_form {
    use super::{Money, mantissa_to_string, parse_mantissa};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub fn serialize<S: Serializer>(amount: &i128, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            mantissa_to_string(*amount, Money::SCALE).serialize(to)
        } else {
            amount.serialize(to)
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i128, D::Error> {
        if from.is_human_readable() {
            let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
            parse_mantissa(text.as_bytes(), Money::SCALE).map_err(D::Error::custom)
        } else {
            i128::deserialize(from)
        }
    }
}

impl Money {
    /// Decimals of every amount.
    pub const SCALE: u8 = 18;
    /// One whole unit of an asset.
    pub const UNIT: i128 = pow10(18);

    /// From a mantissa with 18 decimals.
    pub const fn new(asset: AssetIx, mantissa: i128) -> Money {
        Money { asset, amount: mantissa }
    }

    /// Nothing of an asset.
    pub const fn zero(asset: AssetIx) -> Money {
        Money { asset, amount: 0 }
    }

    /// Whole units of an asset.
    pub const fn units(asset: AssetIx, units: i64) -> Money {
        Money { asset, amount: units as i128 * Self::UNIT }
    }

    /// The mantissa with 18 decimals.
    pub const fn mantissa(self) -> i128 {
        self.amount
    }

    /// Whether the amount is zero.
    pub const fn is_zero(self) -> bool {
        self.amount == 0
    }

    /// Whether the amount is below zero.
    pub const fn is_negative(self) -> bool {
        self.amount < 0
    }

    /// Reads decimal text.
    pub fn parse(asset: AssetIx, text: &[u8]) -> Result<Money, NumError> {
        Ok(Money { asset, amount: parse_mantissa(text, Self::SCALE)? })
    }

    /// The sum of two amounts of the same asset.
    pub fn checked_add(self, other: Money) -> Result<Money, NumError> {
        if self.asset != other.asset {
            return Err(NumError::AssetMismatch(self.asset, other.asset));
        }
        let amount = self.amount.checked_add(other.amount).ok_or(NumError::Overflow)?;
        Ok(Money { asset: self.asset, amount })
    }

    /// The difference of two amounts of the same asset.
    pub fn checked_sub(self, other: Money) -> Result<Money, NumError> {
        self.checked_add(other.negate())
    }

    /// The amount with the other sign.
    pub const fn negate(self) -> Money {
        Money { asset: self.asset, amount: -self.amount }
    }

    /// The amount without its sign.
    pub const fn abs(self) -> Money {
        Money { asset: self.asset, amount: self.amount.saturating_abs() }
    }

    /// This amount times a rate, rounded to 18 decimals.
    pub fn times(self, rate: Rate, rounding: Rounding) -> Result<Money, NumError> {
        let unit = pow10(Rate::SCALE);
        // Split, so that a large amount does not overflow before the division.
        let (whole, part) = (self.amount.div_euclid(unit), self.amount.rem_euclid(unit));
        let high = whole.checked_mul(rate.0 as i128).ok_or(NumError::Overflow)?;
        let low = div_round(part * rate.0 as i128, unit, rounding);
        Ok(Money { asset: self.asset, amount: high.checked_add(low).ok_or(NumError::Overflow)? })
    }

    /// The amount rounded to `decimals` (exchanges book with 8).
    pub fn round_to(self, decimals: u8, rounding: Rounding) -> Money {
        let unit = pow10(Self::SCALE.saturating_sub(decimals));
        Money { asset: self.asset, amount: div_round(self.amount, unit, rounding) * unit }
    }

    /// The nearest `f64`, for statistics and display only.
    pub fn to_f64(self) -> f64 {
        self.amount as f64 / 1e18
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mantissa_to_string(self.amount, Self::SCALE))
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{:?}", mantissa_to_string(self.amount, Self::SCALE), self.asset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_read_exactly_or_refused() {
        assert_eq!(parse_i64(b"61800.30", 8), Ok(6_180_030_000_000));
        assert_eq!(parse_i64(b"-0.00500", 3), Ok(-5));
        assert_eq!(parse_i64(b".5", 1), Ok(5));
        assert_eq!(parse_i64(b"5.", 1), Ok(50));
        assert_eq!(parse_i64(b"0.0000000113", 10), Ok(113));
        assert!(matches!(parse_i64(b"0.0000000113", 8), Err(NumError::TooFine { .. })));
        for bad in [&b""[..], b".", b"-", b"1e5", b"NaN", b"1.2.3", b" 1", b"+1", b"0x1"] {
            assert!(matches!(parse_i64(bad, 8), Err(NumError::Malformed(_))), "{bad:?}");
        }
        assert_eq!(parse_i64(b"99999999999", 12), Err(NumError::Overflow));
        assert_eq!(parse_mantissa(&[b'9'; 60], 0), Err(NumError::Overflow));
    }

    #[test]
    fn text_is_written_with_the_decimals_asked_for() {
        let text = |mantissa, scale, decimals| {
            let mut out = String::new();
            write_mantissa(&mut out, mantissa, scale, decimals);
            out
        };
        assert_eq!(text(6_180_030_000_000, 8, 2), "61800.30");
        assert_eq!(text(6_180_000_000_000, 8, 0), "61800");
        assert_eq!(text(-5, 3, 0), "-0.005");
        assert_eq!(text(5, 0, 3), "5.000");
        assert_eq!(text(i128::MIN, 38, 0), "-1.70141183460469231731687303715884105728");
        assert_eq!(text(0, 8, 2), "0.00");
        // What stands there already does not matter.
        let mut query = String::from("price=0.5&quantity=");
        write_mantissa(&mut query, 7, 0, 1);
        assert_eq!(query, "price=0.5&quantity=7.0");
        assert_eq!(text(15, 1, 3), "1.500");
    }

    #[test]
    fn rounding_has_a_direction() {
        assert_eq!(div_round(7, 2, Rounding::Down), 3);
        assert_eq!(div_round(-7, 2, Rounding::Down), -4);
        assert_eq!(div_round(-7, 2, Rounding::Up), -3);
        assert_eq!(div_round(7, 2, Rounding::Nearest), 4);
        assert_eq!(div_round(-7, 2, Rounding::Nearest), -4);
        assert_eq!(div_round(-5, 4, Rounding::Nearest), -1);
    }

    #[test]
    fn two_assets_are_never_added() {
        let (usdt, bnb) = (Money::units(AssetIx(0), 1), Money::units(AssetIx(1), 1));
        assert_eq!(usdt.checked_add(bnb), Err(NumError::AssetMismatch(AssetIx(0), AssetIx(1))));
        assert_eq!(usdt.checked_add(usdt).map(Money::mantissa), Ok(2 * Money::UNIT));
    }

    #[test]
    fn money_is_text_in_json_and_a_number_in_the_journal() {
        let money = Money::new(AssetIx(1), -Money::UNIT * 425 - 5);
        let json = serde_json::to_value(money).expect("serialisable");
        assert_eq!(json, serde_json::json!({"asset": 1, "amount": "-425.000000000000000005"}));
        assert_eq!(serde_json::from_value::<Money>(json).expect("readable"), money);
        let bytes = postcard::to_allocvec(&money).expect("serialisable");
        assert_eq!(bytes, postcard::to_allocvec(&(1u16, money.mantissa())).expect("serialisable"));
        assert_eq!(postcard::from_bytes::<Money>(&bytes), Ok(money));
    }

    proptest! {
        #[test]
        fn text_and_back(mantissa in any::<i64>(), scale in 0u8..=18, decimals in 0u8..=20) {
            let mut text = String::new();
            write_mantissa(&mut text, mantissa as i128, scale, decimals);
            prop_assert_eq!(parse_i64(text.as_bytes(), scale), Ok(mantissa));
            prop_assert_eq!(parse_mantissa(text.as_bytes(), scale), Ok(mantissa as i128));
        }

        #[test]
        fn fast_and_exact_readers_agree(text in "-?[0-9]{0,20}(\\.[0-9]{0,12})?", scale in 0u8..=12) {
            let exact = parse_mantissa(text.as_bytes(), scale).and_then(|v| i64::try_from(v).map_err(|_| NumError::Overflow));
            prop_assert_eq!(parse_i64(text.as_bytes(), scale), exact);
        }

        #[test]
        fn nothing_is_accepted_silently(text in "\\PC{0,24}") {
            // Whatever is accepted prints back to the same number.
            if let Ok(value) = parse_mantissa(text.as_bytes(), 12) {
                let printed = mantissa_to_string(value, 12);
                prop_assert_eq!(parse_mantissa(printed.as_bytes(), 12), Ok(value));
            }
        }

        #[test]
        fn a_product_with_a_rate_is_within_one_unit(amount in -(1i128 << 100)..(1i128 << 100), rate in -20_000_000_000i64..20_000_000_000) {
            let product = Money::new(AssetIx(0), amount).times(Rate::from_mantissa(rate), Rounding::Down).expect("in range");
            let unit = pow10(Rate::SCALE);
            let (q, r) = (amount / unit, amount % unit);
            let exact_times_unit_low = r * rate as i128;
            let difference = (product.mantissa() - q * rate as i128) * unit - exact_times_unit_low;
            prop_assert!(difference <= 0 && -difference < unit);
        }
    }
}
