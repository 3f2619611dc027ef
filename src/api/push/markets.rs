//! The topics of markets: the newest state of each, some times a second, numbered by a count of their own.

use super::clients::Clients;
use super::message::encode;
use super::topic::Topic;
use super::update::Message;
use qcat_actors::runtime::market_feed::{MarketFeed, MarketView, Watched};
use qcat_core::instrument::Instrument;
use qcat_core::market::Level;
use qcat_core::num::Side;
use qcat_core::time::Ts;
use qcat_io::clock;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a snapshot waits for what the engine knows before it says that nothing is known.
const UNKNOWN_AFTER: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Data {
    bid_price: Option<String>,
    bid_quantity: Option<String>,
    ask_price: Option<String>,
    ask_quantity: Option<String>,
    quote_at: Option<String>,
    last_price: Option<String>,
    last_quantity: Option<String>,
    last_side: Option<&'static str>,
    last_at: Option<String>,
    mark_price: Option<String>,
    index_price: Option<String>,
    mark_at: Option<String>,
}

impl Data {
    fn of(view: &MarketView, instrument: &Instrument) -> Data {
        let at = |known: bool, at: Ts| known.then(|| clock::text(at));
        let price = |level: Option<Level>| level.map(|level| instrument.price_text(level.price));
        let quantity = |level: Option<Level>| level.map(|level| instrument.quantity_text(level.quantity));
        let side = |side| match side {
            Side::Buy => "buy",
            Side::Sell => "sell",
        };
        Data {
            bid_price: price(view.bid),
            bid_quantity: quantity(view.bid),
            ask_price: price(view.ask),
            ask_quantity: quantity(view.ask),
            quote_at: at(view.bid.or(view.ask).is_some(), view.quote_time),
            last_price: view.last.map(|(price, ..)| instrument.price_text(price)),
            last_quantity: view.last.map(|(_, quantity, _)| instrument.quantity_text(quantity)),
            last_side: view.last.map(|(.., taker)| side(taker)),
            last_at: at(view.last.is_some(), view.last_time),
            mark_price: view.mark.map(|price| instrument.price_text(price)),
            index_price: view.index.map(|price| instrument.price_text(price)),
            mark_at: at(view.mark.is_some(), view.mark_time),
        }
    }
}

struct Market {
    watched: Watched,
    instrument: Instrument,
    seq: u64,
    /// Who waits for a snapshot, and since when.
    waiting: Vec<(u64, Instant)>,
}

/// The markets that somebody watches.
#[derive(Default)]
pub struct Markets(BTreeMap<Topic, Market>);

impl Markets {
    /// A client wants this market.
    pub fn want(&mut self, feed: &MarketFeed, topic: &Topic, instrument: &Instrument, client: u64) {
        let market = self.0.entry(topic.clone()).or_insert_with(|| Market {
            watched: feed.watch(instrument.symbol),
            instrument: instrument.clone(),
            // Above every number of an earlier watch, also of an earlier run.
            seq: clock_millis(),
            waiting: Vec::new(),
        });
        market.waiting.push((client, Instant::now()));
    }

    /// Tells what changed, and ends what nobody watches.
    pub fn look(&mut self, clients: &mut Clients) {
        let now = clock::text(wall());
        for (topic, market) in &mut self.0 {
            let frame = |market: &Market, view: &MarketView, kind, gap| {
                let data = Data::of(view, &market.instrument);
                encode(&Message { topic, engine: None, seq: market.seq, at: &now, kind, gap, data })
            };
            if let Some(view) = market.watched.changed() {
                market.seq += 1;
                let update = frame(market, &view, "update", Some(false));
                let id = u32::from(market.instrument.symbol.0);
                clients.tell_market(topic, id, &update, || frame(market, &view, "update", Some(true)));
            }
            let known = market.watched.now();
            let ready = |(_, since): &(u64, Instant)| known.is_some() || since.elapsed() > UNKNOWN_AFTER;
            let (ready, waiting) = std::mem::take(&mut market.waiting).into_iter().partition(ready);
            market.waiting = waiting;
            let ready: Vec<(u64, Instant)> = ready;
            if ready.is_empty() {
                continue;
            }
            let snapshot = frame(market, &known.unwrap_or_default(), "snapshot", None);
            for (client, _) in ready {
                if clients.wants(client, topic) {
                    clients.snapshot(client, snapshot.clone());
                    clients.begin(client, topic, market.seq);
                }
            }
        }
        self.0.retain(|topic, market| {
            market.waiting.retain(|(client, _)| clients.wants(*client, topic));
            !market.waiting.is_empty() || clients.has(topic)
        });
    }
}

pub(super) fn wall() -> Ts {
    use qcat_io::clock::Clock as _;
    clock::SystemClock::new().wall()
}

pub(super) fn clock_millis() -> u64 {
    (wall().nanos() / 1_000_000).unsigned_abs()
}
