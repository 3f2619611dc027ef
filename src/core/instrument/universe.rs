//! Definitions as the exchange gives them, and the universe that they make.

use super::*;

/// What an edge knows of an instrument before it has an index: everything as text or numbers of the exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstrumentSpec {
    /// The exchange's name, upper case.
    pub name: String,
    /// Where it is in its life.
    pub status: ContractStatus,
    /// Its kind.
    pub contract: ContractType,
    /// Base asset's name.
    pub base: String,
    /// Quote asset's name.
    pub quote: String,
    /// Margin asset's name.
    pub margin: String,
    /// Decimals that prices need at least.
    pub price_decimals: u8,
    /// Decimals that quantities need at least.
    pub quantity_decimals: u8,
    /// PRICE_FILTER as text: min, max, tick.
    pub price: [String; 3],
    /// LOT_SIZE as text: min, max, step.
    pub lot: [String; 3],
    /// MARKET_LOT_SIZE as text: min, max, step.
    pub market_lot: [String; 3],
    /// MAX_NUM_ORDERS.
    pub max_orders: Option<u32>,
    /// MAX_NUM_ALGO_ORDERS.
    pub max_conditional_orders: Option<u32>,
    /// MIN_NOTIONAL as text.
    pub min_notional: Option<String>,
    /// PERCENT_PRICE as text: up, down.
    pub percent_price: Option<[String; 2]>,
    /// `triggerProtect`.
    pub trigger_protect: Option<Rate>,
    /// `marketTakeBound`.
    pub market_take_bound: Option<Rate>,
    /// `liquidationFee`.
    pub liquidation_fee: Rate,
    /// Filters of unknown name.
    pub unknown_filters: Vec<String>,
    /// Leverage brackets, amounts as text: floor, cap, leverage, maintenance rate, maintenance amount.
    pub brackets: Vec<(String, String, u16, Rate, String)>,
}

/// A journaled definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Definition {
    /// An asset gets its index.
    Asset { asset: AssetIx, name: Arc<str> },
    /// An instrument is defined for the first time or anew.
    Instrument(Box<Instrument>),
}

/// A definition that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// A number of the definition is wrong.
    #[error("{symbol}: {field}: {error}")]
    Number { symbol: String, field: &'static str, error: NumError },
    /// Price and quantity need more decimals together than money has.
    #[error(
        "{symbol}: prices with {price} decimals and quantities with {quantity} need more than 18 decimals together"
    )]
    TooFine { symbol: String, price: u8, quantity: u8 },
    /// The table of symbols or assets is full.
    #[error("more than 65,535 symbols or assets")]
    Full,
    /// A definition names an index out of order.
    #[error("definition of {0} does not follow the last index")]
    OutOfOrder(String),
}

/// All assets and instruments that the engine knows, by index.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Universe {
    assets: Vec<Arc<str>>,
    instruments: Vec<Instrument>,
    /// The live index of each name: the newest one.
    by_name: BTreeMap<Arc<str>, SymbolIx>,
}

/// Decimals kept for mark and index prices, which have 8 on the wire.
const PRICE_SCALE_MIN: u8 = 8;

impl Universe {
    /// The asset's index by name.
    pub fn asset(&self, name: &str) -> Option<AssetIx> {
        self.assets.iter().position(|a| &**a == name).map(|ix| AssetIx(ix as u16))
    }

    /// The asset's name, `?` for an unknown index.
    pub fn asset_name(&self, asset: AssetIx) -> &str {
        self.assets.get(asset.ix()).map_or("?", |name| name)
    }

    /// All assets by index.
    pub fn assets(&self) -> impl Iterator<Item = (AssetIx, &str)> {
        self.assets.iter().enumerate().map(|(ix, name)| (AssetIx(ix as u16), &**name))
    }

    /// The instrument of an index that the engine handed out.
    #[inline]
    pub fn instrument(&self, symbol: SymbolIx) -> Option<&Instrument> {
        self.instruments.get(symbol.ix())
    }

    /// The newest instrument of a name.
    pub fn by_name(&self, name: &str) -> Option<&Instrument> {
        self.by_name.get(name).and_then(|ix| self.instruments.get(ix.ix()))
    }

    /// All instruments by index.
    pub fn instruments(&self) -> &[Instrument] {
        &self.instruments
    }

    /// Turns what the exchange says into the definitions to admit: none when nothing changed.
    pub fn plan(&self, spec: &InstrumentSpec) -> Result<Vec<Definition>, DefinitionError> {
        let mut plan = Vec::new();
        let mut assets = self.assets.clone();
        let mut asset = |name: &str| {
            if let Some(ix) = assets.iter().position(|a| &**a == name) {
                return Ok(AssetIx(ix as u16));
            }
            let ix = AssetIx(u16::try_from(assets.len()).map_err(|_| DefinitionError::Full)?);
            assets.push(name.into());
            plan.push(Definition::Asset { asset: ix, name: name.into() });
            Ok(ix)
        };
        let (base, quote, margin) = (asset(&spec.base)?, asset(&spec.quote)?, asset(&spec.margin)?);
        let old = self.by_name(&spec.name);
        let next = SymbolIx(u16::try_from(self.instruments.len()).map_err(|_| DefinitionError::Full)?);
        let fits = |i: &&Instrument| i.price_scale >= spec.price_decimals && i.quantity_scale >= spec.quantity_decimals;
        let (symbol, version, price_scale, quantity_scale) = match old.filter(fits) {
            Some(i) => (i.symbol, i.version + 1, i.price_scale, i.quantity_scale),
            None => {
                if let Some(outgrown) = old {
                    let mut halted = outgrown.clone();
                    (halted.version, halted.status) = (halted.version + 1, ContractStatus::Halted);
                    plan.push(Definition::Instrument(Box::new(halted)));
                }
                // Two decimals of headroom, so that a finer tick does not end the index at once.
                let price = (spec.price_decimals + 2).max(PRICE_SCALE_MIN);
                let quantity = spec.quantity_decimals.max(1);
                (next, 1, price, quantity)
            }
        };
        if price_scale + quantity_scale > Money::SCALE {
            let symbol = spec.name.clone();
            return Err(DefinitionError::TooFine { symbol, price: price_scale, quantity: quantity_scale });
        }
        let instrument = Instrument {
            symbol,
            name: spec.name.as_str().into(),
            version,
            status: spec.status,
            contract: spec.contract,
            base,
            quote,
            margin,
            price_scale,
            quantity_scale,
            filters: filters(spec, quote, price_scale, quantity_scale)?,
            liquidation_fee: spec.liquidation_fee,
            brackets: brackets(spec, quote)?,
        };
        let same = |i: &Instrument| Instrument { version: instrument.version, ..i.clone() } == instrument;
        if !old.is_some_and(|i| i.symbol == symbol && same(i)) {
            plan.push(Definition::Instrument(Box::new(instrument)));
        }
        Ok(plan)
    }

    /// Takes an admitted definition. An index may be repeated (a new version) or be the next one.
    pub fn define(&mut self, definition: &Definition) -> Result<(), DefinitionError> {
        match definition {
            Definition::Asset { asset, name } => match self.assets.get(asset.ix()) {
                Some(known) if known == name => Ok(()),
                None if asset.ix() == self.assets.len() => {
                    self.assets.push(name.clone());
                    Ok(())
                }
                _ => Err(DefinitionError::OutOfOrder(name.to_string())),
            },
            Definition::Instrument(instrument) => {
                let ix = instrument.symbol.ix();
                if ix > self.instruments.len() {
                    return Err(DefinitionError::OutOfOrder(instrument.name.to_string()));
                }
                if ix == self.instruments.len() {
                    self.instruments.push((**instrument).clone());
                } else if self.instruments[ix].name == instrument.name {
                    self.instruments[ix] = (**instrument).clone();
                } else {
                    return Err(DefinitionError::OutOfOrder(instrument.name.to_string()));
                }
                // Repeated definitions at a segment's head list every index; the newest index of a name wins.
                let newest = self.by_name.entry(instrument.name.clone()).or_insert(instrument.symbol);
                *newest = (*newest).max(instrument.symbol);
                Ok(())
            }
        }
    }

    /// Everything that is needed to rebuild this universe, in order.
    pub fn definitions(&self) -> impl Iterator<Item = Definition> {
        let assets = self.assets().map(|(asset, name)| Definition::Asset { asset, name: name.into() });
        assets.chain(self.instruments.iter().map(|i| Definition::Instrument(Box::new(i.clone()))))
    }
}

fn filters(
    spec: &InstrumentSpec,
    quote: AssetIx,
    price_scale: u8,
    quantity_scale: u8,
) -> Result<Filters, DefinitionError> {
    let wrong = |field, error| DefinitionError::Number { symbol: spec.name.clone(), field, error };
    let price = |field, text: &str| {
        parse_i64(text.as_bytes(), price_scale).map(Price::from_mantissa).map_err(|e| wrong(field, e))
    };
    let quantity = |field, text: &str| {
        let mantissa = parse_i64(text.as_bytes(), quantity_scale).map_err(|e| wrong(field, e))?;
        Quantity::from_mantissa(mantissa).ok_or_else(|| wrong(field, NumError::Negative(text.to_owned())))
    };
    let lot = |field, text: &[String; 3]| {
        Ok(LotFilter {
            min: quantity(field, &text[0])?,
            max: quantity(field, &text[1])?,
            step: quantity(field, &text[2])?,
        })
    };
    let rate = |field, text: &str| Rate::parse(text.as_bytes()).map_err(|e| wrong(field, e));
    let percent_price = match &spec.percent_price {
        Some([up, down]) => Some(PercentPrice { up: rate("PERCENT_PRICE", up)?, down: rate("PERCENT_PRICE", down)? }),
        None => None,
    };
    let min_notional = spec.min_notional.as_ref().map(|text| Money::parse(quote, text.as_bytes()));
    Ok(Filters {
        price: PriceFilter {
            min: price("PRICE_FILTER", &spec.price[0])?,
            max: price("PRICE_FILTER", &spec.price[1])?,
            tick: price("PRICE_FILTER", &spec.price[2])?,
        },
        lot: lot("LOT_SIZE", &spec.lot)?,
        market_lot: lot("MARKET_LOT_SIZE", &spec.market_lot)?,
        max_orders: spec.max_orders,
        max_conditional_orders: spec.max_conditional_orders,
        min_notional: min_notional.transpose().map_err(|e| wrong("MIN_NOTIONAL", e))?,
        percent_price,
        trigger_protect: spec.trigger_protect,
        market_take_bound: spec.market_take_bound,
        unknown: spec.unknown_filters.iter().map(|f| f.as_str().into()).collect(),
    })
}

fn brackets(spec: &InstrumentSpec, quote: AssetIx) -> Result<Vec<Bracket>, DefinitionError> {
    let money = |text: &str| {
        let wrong = |error| DefinitionError::Number { symbol: spec.name.clone(), field: "brackets", error };
        Money::parse(quote, text.as_bytes()).map_err(wrong)
    };
    let bracket = |(floor, cap, max_leverage, rate, amount): &(String, String, u16, Rate, String)| {
        Ok(Bracket {
            notional_floor: money(floor)?,
            notional_cap: money(cap)?,
            max_leverage: *max_leverage,
            maintenance_rate: *rate,
            maintenance_amount: money(amount)?,
        })
    };
    spec.brackets.iter().map(bracket).collect()
}
