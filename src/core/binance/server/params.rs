//! The parameters of requests: read exactly, refused with the exchange's codes.

use crate::binance::encode::percent_decode;
use crate::command::VenueError;
use crate::id::{ForeignId, OrderKey, VenueOrderId};
use crate::instrument::{Instrument, Universe};
use crate::num::{NumError, Price, Quantity, Rate, Side};
use crate::order::{Conditional, PositionSide, Terms, TimeInForce, Trigger, WorkingType};
use crate::time::Ts;
use crate::venue::{OrderRef, PlaceOrder};
use std::collections::BTreeMap;

/// A refused request.
pub fn refuse(code: i32, message: impl Into<String>) -> VenueError {
    VenueError { code, message: message.into().into() }
}

/// The parameters of one request.
#[derive(Debug, Default)]
pub struct Params(BTreeMap<String, String>);

impl Params {
    /// Reads a query.
    pub fn read(query: &str) -> Result<Params, VenueError> {
        let mut params = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = (percent_decode(name), percent_decode(&value.replace('+', "%20")));
            let (Some(name), Some(value)) = decoded else {
                return Err(refuse(-1100, "Illegal characters found in a parameter."));
            };
            if params.insert(name.clone(), value).is_some() {
                return Err(refuse(-1101, format!("Duplicate values for parameter '{name}' detected.")));
            }
        }
        Ok(Params(params))
    }

    /// A parameter, `None` when it is missing or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A parameter that must be there.
    pub fn need(&self, name: &str) -> Result<&str, VenueError> {
        self.get(name).ok_or_else(|| {
            refuse(-1102, format!("Mandatory parameter '{name}' was not sent, was empty/null, or malformed."))
        })
    }

    /// A whole number.
    pub fn number(&self, name: &str) -> Result<Option<i64>, VenueError> {
        let wrong = |_| {
            refuse(-1100, format!("Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'."))
        };
        self.get(name).map(|text| text.parse().map_err(wrong)).transpose()
    }

    /// A time in milliseconds.
    pub fn time(&self, name: &str) -> Result<Option<Ts>, VenueError> {
        Ok(self.number(name)?.map(Ts::from_millis))
    }

    /// `true` or `false`, in any case.
    pub fn flag(&self, name: &str) -> Result<bool, VenueError> {
        match self.get(name) {
            None => Ok(false),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(_) => Err(refuse(-1130, format!("Data sent for parameter '{name}' is not valid."))),
        }
    }

    /// The instrument of `symbol`.
    pub fn instrument<'a>(&self, universe: &'a Universe) -> Result<&'a Instrument, VenueError> {
        universe.by_name(self.need("symbol")?).ok_or_else(|| refuse(-1121, "Invalid symbol."))
    }

    fn price(&self, name: &str, instrument: &Instrument) -> Result<Option<Price>, VenueError> {
        self.get(name).map(|text| instrument.parse_price(text).map_err(|e| number_error(name, &e))).transpose()
    }

    fn quantity(&self, instrument: &Instrument) -> Result<Option<Quantity>, VenueError> {
        self.get("quantity")
            .map(|text| instrument.parse_quantity(text).map_err(|e| number_error("quantity", &e)))
            .transpose()
    }

    fn side(&self) -> Result<Side, VenueError> {
        match self.need("side")? {
            "BUY" => Ok(Side::Buy),
            "SELL" => Ok(Side::Sell),
            _ => Err(refuse(-1117, "Invalid side.")),
        }
    }

    fn position_side(&self) -> Result<PositionSide, VenueError> {
        match self.get("positionSide") {
            None | Some("BOTH") => Ok(PositionSide::Both),
            Some("LONG") => Ok(PositionSide::Long),
            Some("SHORT") => Ok(PositionSide::Short),
            Some(_) => Err(refuse(-1116, "Invalid positionSide.")),
        }
    }

    fn time_in_force(&self) -> Result<TimeInForce, VenueError> {
        match self.get("timeInForce") {
            None | Some("GTC") => Ok(TimeInForce::Gtc),
            Some("IOC") => Ok(TimeInForce::Ioc),
            Some("FOK") => Ok(TimeInForce::Fok),
            Some("GTX") => Ok(TimeInForce::PostOnly),
            Some("GTD") => Ok(TimeInForce::Gtd(self.time("goodTillDate")?.unwrap_or(Ts::ZERO))),
            Some(_) => Err(refuse(-1115, "Invalid timeInForce.")),
        }
    }

    fn key(&self, name: &str, fresh: u64) -> Result<OrderKey, VenueError> {
        let Some(text) = self.get(name) else {
            return Ok(OrderKey::Foreign(ForeignId::new(&format!("sim_{fresh}"))));
        };
        let legal = |b: u8| b.is_ascii_alphanumeric() || b".:/_-".contains(&b);
        if text.len() > 36 || !text.bytes().all(legal) {
            let pattern = r"^[\.A-Z\:/a-z0-9_-]{1,36}$";
            return Err(refuse(
                -1100,
                format!("Illegal characters found in parameter '{name}'; legal range is '{pattern}'."),
            ));
        }
        Ok(OrderKey::parse(text))
    }

    /// An ordinary order. `fresh` makes an id where the client gave none.
    pub fn order(&self, universe: &Universe, fresh: u64) -> Result<PlaceOrder, VenueError> {
        let instrument = self.instrument(universe)?;
        let side = self.side()?;
        let terms = match self.need("type")? {
            "MARKET" => Terms::Market,
            "LIMIT" => {
                self.need("timeInForce")?;
                self.need("price")?;
                let price = self.price("price", instrument)?.unwrap_or_default();
                Terms::Limit { price, time_in_force: self.time_in_force()? }
            }
            "STOP" | "STOP_MARKET" | "TAKE_PROFIT" | "TAKE_PROFIT_MARKET" | "TRAILING_STOP_MARKET" => {
                let text =
                    "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.";
                return Err(refuse(-4120, text));
            }
            _ => return Err(refuse(-1116, "Invalid orderType.")),
        };
        if terms == Terms::Market && self.get("price").is_some() {
            return Err(refuse(-1106, "Parameter 'price' sent when not required."));
        }
        self.need("quantity")?;
        Ok(PlaceOrder {
            key: self.key("newClientOrderId", fresh)?,
            symbol: instrument.symbol,
            side,
            quantity: self.quantity(instrument)?.unwrap_or_default(),
            terms,
            reduce_only: self.flag("reduceOnly")?,
            position_side: self.position_side()?,
        })
    }

    /// A conditional order.
    pub fn algo_order(&self, universe: &Universe, fresh: u64) -> Result<PlaceOrder, VenueError> {
        let instrument = self.instrument(universe)?;
        if self.need("algoType")? != "CONDITIONAL" {
            return Err(refuse(-1116, "Invalid algoType."));
        }
        let (trigger, limited) = match self.need("type")? {
            "STOP" => (Trigger::Stop, true),
            "STOP_MARKET" => (Trigger::Stop, false),
            "TAKE_PROFIT" => (Trigger::TakeProfit, true),
            "TAKE_PROFIT_MARKET" => (Trigger::TakeProfit, false),
            "TRAILING_STOP_MARKET" => (self.trailing(instrument)?, false),
            _ => return Err(refuse(-1116, "Invalid orderType.")),
        };
        if !matches!(trigger, Trigger::Trailing { .. }) {
            self.need("triggerPrice")?;
        }
        let limit = if limited {
            self.need("price")?;
            Some((self.price("price", instrument)?.unwrap_or_default(), self.time_in_force()?))
        } else {
            None
        };
        let close_position = self.flag("closePosition")?;
        if close_position && (self.get("quantity").is_some() || self.get("reduceOnly").is_some()) {
            return Err(refuse(-4137, "Quantity and reduceOnly must not be sent with closePosition equals true."));
        }
        if !close_position {
            self.need("quantity")?;
        }
        let working_type = match self.get("workingType") {
            None | Some("CONTRACT_PRICE") => WorkingType::ContractPrice,
            Some("MARK_PRICE") => WorkingType::MarkPrice,
            Some(_) => return Err(refuse(-1130, "Data sent for parameter 'workingType' is not valid.")),
        };
        let trigger_price = self.price("triggerPrice", instrument)?.unwrap_or_default();
        let price_protect = self.flag("priceProtect")?;
        let terms = Conditional { trigger, trigger_price, working_type, limit, close_position, price_protect };
        Ok(PlaceOrder {
            key: self.key("clientAlgoId", fresh)?,
            symbol: instrument.symbol,
            side: self.side()?,
            quantity: self.quantity(instrument)?.unwrap_or_default(),
            terms: Terms::Conditional(terms),
            reduce_only: self.flag("reduceOnly")?,
            position_side: self.position_side()?,
        })
    }

    fn trailing(&self, instrument: &Instrument) -> Result<Trigger, VenueError> {
        let percent =
            Rate::parse(self.need("callbackRate")?.as_bytes()).map_err(|e| number_error("callbackRate", &e))?;
        let callback_rate = Rate::from_mantissa(percent.mantissa() / 100);
        Ok(Trigger::Trailing { callback_rate, activation: self.price("activatePrice", instrument)? })
    }

    /// Price and quantity of a modification.
    pub fn change(&self, instrument: &Instrument) -> Result<(Side, Price, Quantity), VenueError> {
        self.need("price")?;
        self.need("quantity")?;
        let price = self.price("price", instrument)?.unwrap_or_default();
        Ok((self.side()?, price, self.quantity(instrument)?.unwrap_or_default()))
    }

    /// Which order is meant.
    pub fn order_ref(&self, id: &str, client_id: &str) -> Result<OrderRef, VenueError> {
        match (self.number(id)?, self.get(client_id)) {
            (Some(number), _) => Ok(OrderRef::Id(VenueOrderId(number))),
            (None, Some(text)) => Ok(OrderRef::Key(OrderKey::parse(text))),
            (None, None) => {
                Err(refuse(-1102, format!("Param '{client_id}' or '{id}' must be sent, but both were empty/null!")))
            }
        }
    }
}

fn number_error(name: &str, error: &NumError) -> VenueError {
    match error {
        NumError::TooFine { .. } => refuse(-1111, "Precision is over the maximum defined for this asset."),
        _ => refuse(-1100, format!("Illegal characters found in parameter '{name}': {error}.")),
    }
}
