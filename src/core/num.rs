//! Exact numbers: prices, quantities, rates and money.
//!
//! A [`Price`] and a [`Quantity`] are integer mantissas at the decimal scale of *their instrument*; alone they mean nothing,
//! so they have no operators that mix units: notional value comes only from [`crate::instrument::Instrument`].
//! [`Money`] is an amount of one asset at the fixed scale of 18 decimals. All arithmetic is checked.
//! Tests: tables and properties here (text goes to integers and back without loss).

mod money;
#[cfg(test)]
mod tests;
mod units;

pub use money::{Money, Rate};
pub use units::{NetQuantity, Price, Quantity, Side};

use crate::id::AssetIx;

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
