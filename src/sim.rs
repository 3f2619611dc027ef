//! The simulated exchange as a server: the venue behind the real protocol on loopback, with a generated or a recorded market.

use qcat_core::binance::instruments;
use qcat_core::binance::server::{Feed, SimExchange};
use qcat_core::id::AccountIx;
use qcat_core::market::MarketInput;
use qcat_core::num::Money;
use qcat_core::sim::derive::DeriveParams;
use qcat_core::sim::market::{Generator, GeneratorParams};
use qcat_core::time::{Span, Ts};
use qcat_core::venue::{AccountSpec, Fees, Latency, Venue, VenueConfig};
use qcat_io::clock::{Clock, SystemClock};
use qcat_io::history;
use qcat_io::net::tls::ThrowAwayCa;
use qcat_io::serve::Server;
use qcat_io::sign::Signer;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use tokio::net::TcpListener;

/// Where the market comes from.
#[derive(Debug, Clone)]
pub enum Market {
    /// The seeded generator, for these symbols.
    Generated { seed: u64, symbols: Vec<String> },
    /// A recording of one symbol, replayed at `speed_permille` thousandths of its own speed.
    Replay { path: PathBuf, speed_permille: i64 },
}

/// An account of the simulator.
#[derive(Debug, Clone)]
pub struct SimAccount {
    /// API key.
    pub key: String,
    /// API secret.
    pub secret: SecretString,
    /// Wallet at the start in USDT, as decimal text.
    pub balance: String,
    /// Leverage of every symbol at the start.
    pub leverage: u16,
}

/// How a simulator runs.
#[derive(Debug, Clone)]
pub struct SimOptions {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// With TLS by a CA made for this run.
    pub tls: bool,
    /// The market.
    pub market: Market,
    /// Accounts by index.
    pub accounts: Vec<SimAccount>,
    /// Latency of requests and reports inside the venue.
    pub latency: Span,
    /// Fee rates.
    pub fees: Fees,
}

/// Why a simulator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The port cannot be taken.
    #[error("cannot listen on {address}: {error}")]
    Listen { address: SocketAddr, error: std::io::Error },
    /// Only loopback addresses are served.
    #[error("{0} is not a loopback address; the simulator has no protection against strangers")]
    NotLoopback(SocketAddr),
    /// A balance is not a number above zero.
    #[error("balance `{0}`: a decimal number above 0 is expected")]
    Balance(String),
    /// Two accounts have the same key.
    #[error("API key `{0}` is given twice")]
    DuplicateKey(String),
    /// A symbol has no definition.
    #[error("unknown symbol `{name}`; known: {known}")]
    UnknownSymbol { name: String, known: String },
    /// The recording cannot be read.
    #[error(transparent)]
    History(#[from] history::HistoryError),
    /// The embedded instruments are wrong.
    #[error(transparent)]
    Instruments(#[from] instruments::InstrumentsError),
    /// The market cannot be generated.
    #[error(transparent)]
    Generator(#[from] qcat_core::sim::market::GeneratorError),
    /// Candles cannot be derived.
    #[error(transparent)]
    Candle(#[from] qcat_core::candle::CandleError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Net(#[from] qcat_io::net::NetError),
}

/// A simulator that listens. Dropping it ends it.
#[derive(Debug)]
pub struct RunningSim {
    /// Where it listens.
    pub address: SocketAddr,
    /// The CA's certificate in PEM form, with TLS.
    pub ca_pem: Option<String>,
    /// The server: its exchange's books are the truth.
    pub server: Rc<Server<SimExchange>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for RunningSim {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Intervals of the candles that are derived and kept for `klines`.
const INTERVALS: [i64; 5] = [60, 180, 300, 900, 3600];
/// Closed candles before the start, per interval.
const HISTORY: usize = 1000;

/// Starts a simulator. Must run inside a `LocalSet`.
pub async fn start(options: &SimOptions) -> Result<RunningSim, SimError> {
    if !options.listen.ip().is_loopback() {
        return Err(SimError::NotLoopback(options.listen));
    }
    let clock = SystemClock::new();
    let exchange = build(options, clock.wall())?;
    let refused = |error| SimError::Listen { address: options.listen, error };
    let listener = TcpListener::bind(options.listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let ca = if options.tls { Some(ThrowAwayCa::new(&["127.0.0.1", "::1", "localhost"])?) } else { None };
    let signers = options.accounts.iter().map(|a| (a.key.clone(), Signer::new(&a.secret))).collect();
    let server = Server::new(exchange, signers, move || clock.wall());
    let task = tokio::task::spawn_local(server.clone().run(listener, ca.as_ref().map(|ca| ca.server.clone())));
    Ok(RunningSim { address, ca_pem: ca.map(|ca| ca.ca_pem), server, task })
}

fn build(options: &SimOptions, start: Ts) -> Result<SimExchange, SimError> {
    let info = instruments::builtin()?;
    let universe = instruments::universe_of(&info)?;
    let usdt = universe.asset("USDT").unwrap_or_default();
    let latency = Latency { entry: options.latency, answer: Span::ZERO, report: Span::ZERO };
    let mut venue = Venue::new(VenueConfig { latency, ..VenueConfig::default() }, universe.clone());
    let mut accounts = BTreeMap::new();
    for (at, account) in options.accounts.iter().enumerate() {
        let balance = Money::parse(usdt, account.balance.as_bytes()).ok().filter(|m| !m.is_negative() && !m.is_zero());
        let balance = balance.ok_or_else(|| SimError::Balance(account.balance.clone()))?;
        let ix = AccountIx(at as u16);
        let spec = AccountSpec { balances: vec![balance], fees: options.fees, leverage: account.leverage };
        venue.add_account(ix, &spec);
        if accounts.insert(account.key.clone(), ix).is_some() {
            return Err(SimError::DuplicateKey(account.key.clone()));
        }
    }
    let candles: Vec<Span> = INTERVALS.map(Span::from_secs).to_vec();
    let derive = DeriveParams { marks: Some(Span::from_secs(1)), candles };
    let mut past = Vec::new();
    let feed = match &options.market {
        Market::Generated { seed, symbols } => {
            let mut generators = Vec::new();
            for name in symbols {
                let instrument = universe.by_name(name).ok_or_else(|| SimError::UnknownSymbol {
                    name: name.clone(),
                    known: universe.instruments().iter().map(|i| &*i.name).collect::<Vec<_>>().join(", "),
                })?;
                let params = GeneratorParams::at(crate::start_price(instrument));
                let generator = Generator::new(*seed, instrument, start, params)?;
                for seconds in INTERVALS {
                    let candles = generator.klines_before(Span::from_secs(seconds), HISTORY);
                    past.extend(candles.into_iter().map(|candle| (instrument.symbol, candle)));
                }
                generators.push(generator);
            }
            Feed::new(merge(generators), start, 1000, derive)?
        }
        Market::Replay { path, speed_permille } => {
            let open = history::OpenOptions::default();
            let events = history::open(path, &universe, &open)?;
            let name = path.display().to_string();
            // A line that cannot be read ends the replay; it is told, and the market simply stops there.
            let readable = events.map_while(move |event| match event {
                Ok(event) => Some(event),
                Err(error) => {
                    tracing::error!(code = "recording_ended", file = %name, %error, "the recording ends early");
                    None
                }
            });
            Feed::new(readable, start, *speed_permille, derive)?
        }
    };
    Ok(SimExchange::new(venue, info, accounts, feed, past))
}

/// Several symbols in one order of time.
pub fn merge(generators: Vec<Generator>) -> impl Iterator<Item = MarketInput> {
    let mut generators: Vec<_> = generators.into_iter().map(Iterator::peekable).collect();
    std::iter::from_fn(move || {
        let time = |g: &mut std::iter::Peekable<Generator>| g.peek().map_or(Ts::MAX, |event| event.exchange_time);
        let next = (0..generators.len()).min_by_key(|&at| time(&mut generators[at]))?;
        generators[next].next()
    })
}

/// The beginning of a configuration for a daemon of many beside a simulator: its URLs, and an API on a free port.
pub fn config_beside(address: SocketAddr, tls: bool) -> String {
    format!("server:\n  port: 0\nmonitoring:\n  prometheus_enabled: false\n{}", config_urls(address, tls))
}

/// The URLs of a simulator, as configuration text.
pub fn config_urls(address: SocketAddr, tls: bool) -> String {
    let (http, ws) = if tls { ("https", "wss") } else { ("http", "ws") };
    format!(
        "exchange:\n  rest_url: {http}://{address}\n  ws_public_url: {ws}://{address}/public\n  ws_market_url: {ws}://{address}/market\n  \
         ws_private_url: {ws}://{address}/private\n  ws_api_url: {ws}://{address}/ws-fapi/v1\n"
    )
}

/// The account of a simulator that nobody configured: good for loopback only.
pub fn default_account(balance: &str) -> SimAccount {
    let (key, secret) = ("sim-key".to_owned(), SecretString::from("sim-secret"));
    SimAccount { key, secret, balance: balance.to_owned(), leverage: 20 }
}
