//! An exact decimal, with the binary form of PostgreSQL's `numeric`.

use bytes::BufMut;
use qcat_core::num::Money;
use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// An exact decimal number without trailing zeros: at most 38 digits, at most [`Decimal::SCALE_MAX`] of them after the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Decimal {
    mantissa: i128,
    scale: u8,
}

/// The text is not a decimal number, or too long a one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal number of at most 38 digits, 28 of them after the point")]
pub struct NotDecimal;

const BASE: u128 = 10_000;
const NEGATIVE: u16 = 0x4000;

impl Decimal {
    /// Digits after the point at most.
    pub const SCALE_MAX: u8 = 28;

    /// `mantissa` × 10^-`scale`; `None` when the scale is too large.
    pub const fn new(mantissa: i128, scale: u8) -> Option<Decimal> {
        if scale > Self::SCALE_MAX || mantissa == i128::MIN {
            return None;
        }
        let (mut mantissa, mut scale) = (mantissa, scale);
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        Some(Decimal { mantissa, scale })
    }

    /// The digits as one number.
    pub const fn mantissa(self) -> i128 {
        self.mantissa
    }

    /// How many of the digits are after the point.
    pub const fn scale(self) -> u8 {
        self.scale
    }

    /// Writes it as PostgreSQL sends and takes a `numeric`.
    pub(super) fn write_binary(self, out: &mut impl BufMut) {
        let size = self.mantissa.unsigned_abs();
        let unit = 10u128.pow(u32::from(self.scale));
        let (mut whole, mut part) = (size / unit, size % unit);
        let after = usize::from(self.scale.div_ceil(4));
        // Below 10^28, times at most 10^3: no overflow.
        part *= 10u128.pow((after * 4) as u32 - u32::from(self.scale));
        // From the last group to the first: 7 after the point and 10 before it at most.
        let (mut groups, mut count) = ([0u16; 17], 0);
        while count < after || whole > 0 {
            let rest = if count < after { &mut part } else { &mut whole };
            groups[count] = (*rest % BASE) as u16;
            *rest /= BASE;
            count += 1;
        }
        out.put_u16(count as u16);
        out.put_i16(count as i16 - after as i16 - 1);
        out.put_u16(if self.mantissa < 0 { NEGATIVE } else { 0 });
        out.put_u16(u16::from(self.scale));
        groups[..count].iter().rev().for_each(|group| out.put_u16(*group));
    }

    /// Reads what PostgreSQL sends; `None` for what is not a number, or has more digits than fit.
    pub(super) fn from_binary(raw: &[u8]) -> Option<Decimal> {
        let word = |at: usize| raw.get(at * 2..at * 2 + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        let (count, weight, sign) = (usize::from(word(0)?), word(1)? as i16, word(2)?);
        if sign != 0 && sign != NEGATIVE {
            return None;
        }
        let mut mantissa: i128 = 0;
        let mut exponent = (i32::from(weight) + 1 - i32::try_from(count).ok()?) * 4;
        for at in 0..count {
            let (mut digit, mut power) = (word(4 + at)?, 4);
            // The last group may be padded with zeros that 38 digits have no room for.
            while at + 1 == count && power > 1 && digit % 10 == 0 && digit != 0 {
                (digit, power, exponent) = (digit / 10, power - 1, exponent + 1);
            }
            mantissa = mantissa.checked_mul(10i128.pow(power))?.checked_add(i128::from(digit))?;
        }
        if mantissa == 0 {
            return Some(Decimal::default());
        }
        let mantissa = mantissa.checked_mul(10i128.checked_pow(exponent.max(0) as u32)?)?;
        let signed = if sign == NEGATIVE { -mantissa } else { mantissa };
        Decimal::new(signed, u8::try_from(-exponent.min(0)).ok()?)
    }
}

impl From<Money> for Decimal {
    fn from(money: Money) -> Decimal {
        // The lowest mantissa of all has no positive twin and more digits than any amount.
        Decimal::new(money.mantissa().max(-i128::MAX), Money::SCALE).expect("an amount's scale is 18")
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = 10u128.pow(u32::from(self.scale));
        let (size, sign) = (self.mantissa.unsigned_abs(), if self.mantissa < 0 { "-" } else { "" });
        match self.scale {
            0 => write!(f, "{sign}{size}"),
            scale => write!(f, "{sign}{}.{:0width$}", size / unit, size % unit, width = usize::from(scale)),
        }
    }
}

impl FromStr for Decimal {
    type Err = NotDecimal;

    fn from_str(text: &str) -> Result<Decimal, NotDecimal> {
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let wrong = |text: &str| !text.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || wrong(whole) || wrong(part) || digits.ends_with('.') {
            return Err(NotDecimal);
        }
        let mut mantissa: i128 = 0;
        for digit in whole.bytes().chain(part.bytes()) {
            let grown = mantissa.checked_mul(10).and_then(|m| m.checked_add(i128::from(digit - b'0')));
            mantissa = grown.ok_or(NotDecimal)?;
        }
        let scale = u8::try_from(part.len()).map_err(|_| NotDecimal)?;
        Decimal::new(if negative { -mantissa } else { mantissa }, scale).ok_or(NotDecimal)
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn binary(decimal: Decimal) -> Vec<u8> {
        let mut out = Vec::new();
        decimal.write_binary(&mut out);
        out
    }

    fn of(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn text_is_exact_and_bad_text_is_refused() {
        for (text, shown) in [("0", "0"), ("-0.00", "0"), ("1.50", "1.5"), ("-0.000001", "-0.000001"), ("007", "7")] {
            assert_eq!(of(text).to_string(), shown);
        }
        for text in [
            "",
            "-",
            ".5",
            "5.",
            "1e5",
            "+1",
            "1_0",
            "NaN",
            "1.2.3",
            &"9".repeat(40),
            &format!("0.{}1", "0".repeat(28)),
        ] {
            assert!(text.parse::<Decimal>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_binary_form_is_the_documented_one() {
        // 12345.678: digits 1, 2345, 6780; weight 1; scale 3.
        assert_eq!(binary(of("12345.678")), [0, 3, 0, 1, 0, 0, 0, 3, 0, 1, 9, 41, 26, 124]);
        assert_eq!(binary(of("-0.00000001"))[2..6], [255, 255, 64, 0]);
        assert_eq!(Decimal::from_binary(&[0, 0, 0, 0, 0xC0, 0, 0, 0]), None, "not a number");
        assert_eq!(Decimal::from_binary(&[0, 9]), None, "cut off");
    }

    proptest! {
        #[test]
        fn every_form_comes_back(mantissa in -i128::MAX..=i128::MAX, scale in 0..=Decimal::SCALE_MAX, small in any::<i64>()) {
            for mantissa in [mantissa, i128::from(small), i128::from(small) * 10_000_000] {
                let decimal = Decimal::new(mantissa, scale).unwrap();
                prop_assert_eq!(decimal.to_string().parse(), Ok(decimal));
                prop_assert_eq!(Decimal::from_binary(&binary(decimal)), Some(decimal));
            }
        }
    }
}
