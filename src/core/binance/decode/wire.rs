//! Reading single fields: scalars as text, exact numbers, words; errors that name kind, field and value.

use super::{DecodeError, Problem};
use crate::id::AssetIx;
use crate::instrument::{Instrument, Universe};
use crate::num::{Money, NetQuantity, NumError, Price, Quantity, Rate, Rounding, div_round, parse_i64, parse_mantissa};
use crate::num::{Side, pow10};
use crate::order::{PositionSide, TimeInForce, WorkingType};
use crate::time::Ts;
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Text that may carry escapes; absent and null are `None`.
pub(super) type Text<'a> = Option<Cow<'a, str>>;

/// A number, a word or a truth value, quoted or not, as its text. Absent, null and the empty text are one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Scalar<'a>(Option<&'a str>);

impl<'a> Scalar<'a> {
    /// The number zero.
    pub const ZERO: Scalar<'static> = Scalar(Some("0"));

    /// From the text between its quotes, if it had any.
    #[inline]
    pub fn plain(text: &'a str) -> Scalar<'a> {
        Scalar(Some(text).filter(|text| !text.is_empty()))
    }

    /// The text, `None` when absent, null or empty.
    pub fn text(self) -> Option<&'a str> {
        self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar<'a>, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?.get();
        match raw.as_bytes().first() {
            Some(b'{' | b'[') => Err(D::Error::custom("expected a number, a text or a truth value")),
            Some(b'"') if raw.contains('\\') => Err(D::Error::custom("expected plain text without escapes")),
            _ => Ok(Scalar(Some(raw.trim_matches('"')).filter(|text| !text.is_empty() && raw != "null"))),
        }
    }
}

/// Whose field is read: for errors, and for the definitions of symbols and assets.
#[derive(Clone, Copy)]
pub(super) struct Reader<'u> {
    pub kind: &'static str,
    pub universe: &'u Universe,
}

impl<'u> Reader<'u> {
    pub fn error(&self, field: &'static str, value: &str, problem: Problem) -> DecodeError {
        DecodeError::new(self.kind, field, value, problem)
    }

    fn required<'a>(&self, field: &'static str, value: Scalar<'a>) -> Result<&'a str, DecodeError> {
        value.0.ok_or_else(|| self.error(field, "", Problem::Missing))
    }

    fn number<T>(&self, field: &'static str, text: &str, result: Result<T, NumError>) -> Result<T, DecodeError> {
        result.map_err(|error| self.error(field, text, Problem::Number(error)))
    }

    pub fn instrument(&self, field: &'static str, symbol: &Text<'_>) -> Result<&'u Instrument, DecodeError> {
        let name = symbol.as_deref().ok_or_else(|| self.error(field, "", Problem::Missing))?;
        self.universe.by_name(name).ok_or_else(|| self.error(field, name, Problem::Symbol))
    }

    pub fn asset(&self, field: &'static str, name: Scalar<'_>) -> Result<AssetIx, DecodeError> {
        let name = self.required(field, name)?;
        self.universe.asset(name).ok_or_else(|| self.error(field, name, Problem::Asset))
    }

    pub fn price(&self, i: &Instrument, field: &'static str, value: Scalar<'_>) -> Result<Price, DecodeError> {
        let text = self.required(field, value)?;
        self.number(field, text, parse_i64(text.as_bytes(), i.price_scale).map(Price::from_mantissa))
    }

    /// Zero when absent.
    pub fn price_or_zero(&self, i: &Instrument, field: &'static str, value: Scalar<'_>) -> Result<Price, DecodeError> {
        if value.0.is_some() { self.price(i, field, value) } else { Ok(Price::ZERO) }
    }

    /// A price that the exchange computed: it may have more decimals than the instrument's scale, and is rounded.
    pub fn computed_price(&self, i: &Instrument, field: &'static str, v: Scalar<'_>) -> Result<Price, DecodeError> {
        let text = self.required(field, v)?;
        let exact = parse_i64(text.as_bytes(), i.price_scale).or_else(|_| rounded(text, i.price_scale));
        self.number(field, text, exact.map(Price::from_mantissa))
    }

    pub fn quantity(&self, i: &Instrument, field: &'static str, value: Scalar<'_>) -> Result<Quantity, DecodeError> {
        let net = self.net(i, field, value)?;
        let negative = || NumError::Negative(value.0.unwrap_or_default().to_owned());
        let quantity = Quantity::from_mantissa(net.mantissa()).ok_or_else(negative);
        self.number(field, value.0.unwrap_or_default(), quantity)
    }

    /// Zero when absent.
    pub fn quantity_or_zero(
        &self,
        i: &Instrument,
        field: &'static str,
        value: Scalar<'_>,
    ) -> Result<Quantity, DecodeError> {
        if value.0.is_some() { self.quantity(i, field, value) } else { Ok(Quantity::ZERO) }
    }

    pub fn net(&self, i: &Instrument, field: &'static str, value: Scalar<'_>) -> Result<NetQuantity, DecodeError> {
        let text = self.required(field, value)?;
        self.number(field, text, parse_i64(text.as_bytes(), i.quantity_scale).map(NetQuantity::from_mantissa))
    }

    pub fn money(&self, asset: AssetIx, field: &'static str, value: Scalar<'_>) -> Result<Money, DecodeError> {
        let text = self.required(field, value)?;
        self.number(field, text, Money::parse(asset, text.as_bytes()))
    }

    /// Zero when absent (delivery contracts have no funding rate, for one).
    pub fn rate_or_zero(&self, field: &'static str, value: Scalar<'_>) -> Result<Rate, DecodeError> {
        let Some(text) = value.0 else { return Ok(Rate::ZERO) };
        self.number(field, text, Rate::parse(text.as_bytes()))
    }

    pub fn integer(&self, field: &'static str, value: Scalar<'_>) -> Result<i64, DecodeError> {
        let text = self.required(field, value)?;
        self.number(field, text, parse_i64(text.as_bytes(), 0))
    }

    pub fn unsigned<T: TryFrom<i64>>(&self, field: &'static str, value: Scalar<'_>) -> Result<T, DecodeError> {
        let number = self.integer(field, value)?;
        let fits = if number < 0 { None } else { T::try_from(number).ok() };
        self.number(field, value.0.unwrap_or_default(), fits.ok_or(NumError::Overflow))
    }

    /// Milliseconds since the epoch.
    pub fn time(&self, field: &'static str, value: Scalar<'_>) -> Result<Ts, DecodeError> {
        self.integer(field, value).map(Ts::from_millis)
    }

    /// False when absent.
    pub fn flag(&self, field: &'static str, value: Scalar<'_>) -> Result<bool, DecodeError> {
        match value.0 {
            None | Some("false" | "FALSE") => Ok(false),
            Some("true" | "TRUE") => Ok(true),
            Some(other) => Err(self.error(field, other, Problem::Word)),
        }
    }

    pub fn side(&self, field: &'static str, value: Scalar<'_>) -> Result<Side, DecodeError> {
        match self.required(field, value)? {
            "BUY" => Ok(Side::Buy),
            "SELL" => Ok(Side::Sell),
            other => Err(self.error(field, other, Problem::Word)),
        }
    }

    /// BOTH when absent.
    pub fn position_side(&self, field: &'static str, value: Scalar<'_>) -> Result<PositionSide, DecodeError> {
        match value.0.unwrap_or("BOTH") {
            "BOTH" => Ok(PositionSide::Both),
            "LONG" => Ok(PositionSide::Long),
            "SHORT" => Ok(PositionSide::Short),
            other => Err(self.error(field, other, Problem::Word)),
        }
    }

    /// GTC when absent. `good_till` is read only for GTD.
    pub fn time_in_force(&self, value: Scalar<'_>, good_till: Scalar<'_>) -> Result<TimeInForce, DecodeError> {
        match value.0.unwrap_or("GTC") {
            // GTE_GTC: good till the position is gone.
            "GTC" | "GTE_GTC" => Ok(TimeInForce::Gtc),
            "IOC" => Ok(TimeInForce::Ioc),
            "FOK" => Ok(TimeInForce::Fok),
            // RPI orders are post-only too.
            "GTX" | "RPI" => Ok(TimeInForce::PostOnly),
            "GTD" => Ok(TimeInForce::Gtd(self.time("goodTillDate", good_till)?)),
            other => Err(self.error("timeInForce", other, Problem::Word)),
        }
    }

    /// CONTRACT_PRICE when absent.
    pub fn working_type(&self, field: &'static str, value: Scalar<'_>) -> Result<WorkingType, DecodeError> {
        match value.0.unwrap_or("CONTRACT_PRICE") {
            "CONTRACT_PRICE" => Ok(WorkingType::ContractPrice),
            "MARK_PRICE" => Ok(WorkingType::MarkPrice),
            other => Err(self.error(field, other, Problem::Word)),
        }
    }
}

/// A number with more decimals than the scale, to the nearest.
fn rounded(text: &str, scale: u8) -> Result<i64, NumError> {
    const FINE: u8 = 18;
    let cut = match text.find('.') {
        // More than 18 decimals tell nothing that an average price needs; what is cut must be digits all the same.
        Some(point) if text.len() > point + 1 + FINE as usize => {
            let (kept, rest) = (text.get(..point + 1 + FINE as usize), text.get(point + 1 + FINE as usize..));
            match (kept, rest) {
                (Some(kept), Some(rest)) if rest.bytes().all(|b| b.is_ascii_digit()) => kept,
                _ => return Err(NumError::Malformed(text.chars().take(64).collect())),
            }
        }
        _ => text,
    };
    let fine = parse_mantissa(cut.as_bytes(), FINE)?;
    let nearest = div_round(fine, pow10(FINE.saturating_sub(scale)), Rounding::Nearest);
    i64::try_from(nearest).map_err(|_| NumError::Overflow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computed_prices_are_rounded_to_the_nearest() {
        assert_eq!(rounded("6563.123456785", 8), Ok(656_312_345_679));
        assert_eq!(rounded("-0.000000005", 8), Ok(-1));
        assert_eq!(rounded("1.00000000000000000049", 8), Ok(100_000_000));
        assert!(rounded("1.0000000000000000004x", 8).is_err());
        assert!(rounded("1.000000000000000000é", 8).is_err());
    }

    #[test]
    fn scalars_are_text_whatever_their_form() {
        let read = |json| serde_json::from_str::<Scalar<'_>>(json).map(|s| s.text().map(str::to_owned)).ok();
        assert_eq!(read("\"1.50\""), Some(Some("1.50".to_owned())));
        assert_eq!(read("1.50"), Some(Some("1.50".to_owned())));
        assert_eq!(read("true"), Some(Some("true".to_owned())));
        assert_eq!(read("null"), Some(None));
        assert_eq!(read("\"\""), Some(None));
        assert_eq!(read("\"null\""), Some(Some("null".to_owned())));
        assert_eq!(read("[1]"), None);
    }
}
