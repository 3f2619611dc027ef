//! The composition root: which parts make a daemon, from a configuration. It wires; it decides nothing.

use crate::api::server::BindError;
use crate::cli::exit;
use crate::config::{Config, Fault, succession};
use qcat_actors::runtime::console::Phase;
use qcat_actors::runtime::host::SessionWatch;
use qcat_actors::runtime::lane::{Lane, LaneError, LaneOptions, RecoveryReport};
use qcat_actors::runtime::latch::HaltLatch;
use qcat_actors::runtime::service::Services;
use qcat_actors::runtime::watchdog::{Heart, Watchdog};
use qcat_core::binance::decode::definitions::ExchangeInfo;
use qcat_core::binance::instruments;
use qcat_core::engine::{Engine, Observer};
use qcat_core::instrument::{Definition, Universe};
use qcat_core::strategy::registry::Registry;
use qcat_io::ask::Asker;
use qcat_io::clock::{Clock, SystemClock};
use qcat_io::definitions::{self, DefinitionsError};
use qcat_io::disk::{DiskError, RealDisk};
use qcat_io::journal::{self, Durability, MarketData, owner};
use qcat_io::logs;
use qcat_io::net::NetError;
use qcat_io::net::http::HttpClient;
use qcat_io::net::tls::Connector;
use qcat_io::net::url::Url;
use qcat_io::shell::Credentials;
use qcat_io::sign::Signer;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

mod checks;
mod clocks;
mod knobs;
mod look;
mod services;
mod sources;
mod watch;
mod work;

pub use knobs::Knobs;
pub use services::{Composed, services};

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The API cannot be served.
    #[error(transparent)]
    Api(#[from] BindError),
    /// The cache cannot be had.
    #[error(transparent)]
    Cache(#[from] qcat_io::cache::CacheError),
    /// The database refuses, or is away and required.
    #[error("database: {0}")]
    Database(#[from] qcat_io::store::StoreError),
    /// The configuration does not fit the exchange.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Config(Vec<Fault>),
    /// The journal cannot be opened or recovered.
    #[error("journal.dir {dir}: {error}")]
    Lane { dir: String, error: LaneError },
    /// The data directory cannot be used.
    #[error(transparent)]
    Disk(DiskError),
    /// No thread could be started.
    #[error("no thread could be started: {0}")]
    Thread(std::io::Error),
    /// A URL or certificate cannot be used.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The exchange refused what cannot be mended by waiting.
    #[error(transparent)]
    Exchange(#[from] DefinitionsError),
    /// The machine's clock is wrong.
    #[error("this machine's clock shows {ours}, the exchange's {theirs}: set it, then start again")]
    Clock { ours: String, theirs: String },
    /// The journal was written by a wrong clock.
    #[error(
        "the journal's last time is {last}, the exchange's clock shows {theirs}: it was written by a wrong clock; wait until then, or use another journal.dir"
    )]
    Ahead { last: String, theirs: String },
    /// The exchange's definitions cannot be followed.
    #[error("definitions of the exchange: {0}")]
    Definitions(#[from] qcat_core::instrument::DefinitionError),
}

/// What a daemon is composed of besides its configuration.
pub struct Composition {
    /// The kinds of strategies.
    pub registry: Arc<Registry>,
    /// Watches the engine from outside.
    pub observer: Option<Box<dyn Observer>>,
    /// Watches the sessions from outside.
    pub watch: Option<Rc<dyn SessionWatch>>,
    /// Keep every fill of the run in memory, to compare the books at its end.
    pub keep_fills: bool,
    /// Changes the work of the services, as the configuration made it.
    pub services: Box<dyn FnOnce(&mut Services)>,
    /// Ends the process at once, when somebody forces the stop over the console.
    pub force: Box<dyn Fn() + Send + Sync>,
    /// What can be changed while it runs, the logs of the process among it; `None`: as configured, with somebody else's logs.
    pub knobs: Option<Knobs>,
}

impl From<Arc<Registry>> for Composition {
    fn from(registry: Arc<Registry>) -> Composition {
        let force = Box::new(|| {
            logs::flush_before_exit();
            std::process::exit(i32::from(exit::FORCED))
        });
        let services = Box::new(|_: &mut Services| {});
        Composition { registry, observer: None, watch: None, keep_fills: false, services, force, knobs: None }
    }
}

/// Everything that the components are made of.
#[derive(Debug)]
pub struct Parts {
    /// The lane, recovered and begun; nothing drains it yet.
    pub lane: Lane,
    /// What recovery found.
    pub recovery: RecoveryReport,
    /// Opens connections.
    pub connector: Connector,
    /// Keys by account index.
    pub credentials: Vec<Credentials>,
    /// What the exchange said of its limits; `None` when it could not be asked.
    pub info: Option<ExchangeInfo>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Watches the sessions.
    pub watch: Option<Rc<dyn SessionWatch>>,
    /// Ends the process when the trading thread hangs, for as long as this is kept.
    pub watchdog: Watchdog,
}

/// First pause between two attempts to reach the exchange at the start; doubles up to the second.
const RETRY: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(15)];

/// What the lane is composed of besides the configuration.
pub struct LaneComposition {
    /// The kinds of strategies.
    pub registry: Arc<Registry>,
    /// Watches the engine from outside.
    pub observer: Option<Box<dyn Observer>>,
    /// Watches the sessions from outside.
    pub watch: Option<Rc<dyn SessionWatch>>,
    /// Threads besides the trading one that the watchdog watches.
    pub hearts: Vec<(&'static str, Heart)>,
}

/// Opens the journal, learns the exchange's contracts and begins the engine. `came_to` is told how far it is, and what it waits
/// for.
pub async fn parts(
    config: &Config,
    composition: LaneComposition,
    came_to: &dyn Fn(Phase, Option<String>),
) -> Result<Parts, StartError> {
    let LaneComposition { registry, observer, watch, hearts } = composition;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let connector = Connector::new(config.exchange.ca_file.as_deref())?;
    let (http, wall) = (HttpClient::new(connector.clone(), &config.exchange.rest_url)?, clock.clone());
    let asker = Asker { http: Rc::new(http), weight: Rc::default(), now: Rc::new(move || wall.wall()) };
    let credentials: Vec<Credentials> = config
        .accounts
        .iter()
        .map(|account| Credentials { key: account.api_key.clone(), signer: Signer::new(&account.api_secret) })
        .collect();
    let wrong = |error| StartError::Lane { dir: config.journal.dir.display().to_string(), error };
    let latch = Arc::new(HaltLatch::default());
    let options = lane_options(config);
    let recovering = Lane::open(options, registry, Arc::new(RealDisk), clock.clone(), latch).map_err(wrong)?;
    claim(config, recovering.engine())?;
    came_to(Phase::Recovered, None);
    let known = recovering.engine().universe().clone();
    let info = learn(config, &asker, &credentials, recovering.engine(), &*clock, came_to).await?;
    let definitions = info.as_ref().map_or_else(Vec::new, |info| {
        let instruments::Plan { definitions, refused } = instruments::plan(&known, info);
        refused.iter().for_each(
            |error| tracing::warn!(code = "contract_refused", %error, "a contract of the exchange cannot be followed"),
        );
        definitions
    });
    let universe = with(&known, &definitions)?;
    let engine_config = config.engine(&universe).map_err(StartError::Config)?;
    let engine_config = succession::after(engine_config, recovering.engine().config()).map_err(|error| {
        let (source, problem) = (config.source.clone(), error.to_string());
        StartError::Config(vec![Fault { source, pos: None, key: "journal.dir".to_owned(), problem }])
    })?;
    let watched = watch::Watched {
        pulse: recovering.pulse(),
        latch: recovering.latch(),
        hearts,
        connector: &connector,
        credentials: &credentials,
        clock: &clock,
    };
    let watchdog = watch::start(config, watched).map_err(StartError::Thread)?;
    let (lane, recovery) = recovering.begin(definitions, engine_config, observer).map_err(wrong)?;
    Ok(Parts { lane, recovery, connector, credentials, info, clock, watch, watchdog })
}

/// Asks the exchange until it answers. With all symbols known from the journal one attempt is enough: the daemon starts with
/// what it knows and learns the rest when the exchange is back.
async fn learn(
    config: &Config,
    asker: &Asker,
    credentials: &[Credentials],
    past: &Engine,
    clock: &dyn Clock,
    came_to: &dyn Fn(Phase, Option<String>),
) -> Result<Option<ExchangeInfo>, StartError> {
    let known = past.universe();
    let Some(first) = credentials.first() else { return Ok(None) };
    let accounts: Vec<_> = config.accounts.iter().map(|account| account.name.as_str()).zip(credentials).collect();
    let enough = config.strategies.iter().flat_map(|s| &s.symbols).all(|name| known.by_name(name).is_some());
    let enough = enough && !known.instruments().is_empty();
    let mut pause = RETRY[0];
    loop {
        // First: with an absurd clock the exchange would answer nothing that is signed.
        clocks::agree(asker, clock, past.now()).await?;
        let info = match definitions::check_keys(asker, &accounts, &config.exchange.rest_url).await {
            Ok(()) => definitions::exchange_info(asker, first).await,
            Err(error) => Err(error),
        };
        match info {
            Ok(info) => return Ok(Some(info)),
            Err(error) if error.is_final() => return Err(error.into()),
            Err(error) if enough => {
                tracing::warn!(code = "exchange_away_known", %error, "the exchange cannot be asked; starting with the contracts of the journal");
                return Ok(None);
            }
            Err(error) => {
                tracing::warn!(code = "exchange_away", %error, retry_in = ?pause, "the exchange cannot be asked");
                came_to(Phase::WaitingForExchange, Some(error.to_string()));
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY[1]);
            }
        }
    }
}

/// A journal is that of one exchange; one without a past becomes that of the configured one.
fn claim(config: &Config, past: &Engine) -> Result<(), StartError> {
    let url = Url::parse(&config.exchange.rest_url, ["http", "https"])?;
    let dir = &config.journal.dir;
    let Some(other) = owner::claim(&RealDisk, dir, &url.address()).map_err(StartError::Disk)? else { return Ok(()) };
    let (dir, file) = (dir.display(), dir.join(owner::OWNER));
    let problem = format!(
        "the journal in {dir} belongs to the exchange at {other}: its orders and positions (up to input {}) are there. Use \
         another journal.dir; if it is the same exchange under another name, write `{}` into {}",
        past.seq().0,
        url.address(),
        file.display()
    );
    let (source, key) = (config.source.clone(), "exchange.rest_url".to_owned());
    Err(StartError::Config(vec![Fault { source, pos: None, key, problem }]))
}

fn with(known: &Universe, definitions: &[Definition]) -> Result<Universe, StartError> {
    let mut universe = known.clone();
    definitions.iter().try_for_each(|definition| universe.define(definition))?;
    Ok(universe)
}

fn lane_options(config: &Config) -> LaneOptions {
    let durability = match config.journal.durability.as_str() {
        "async" => Durability::Async,
        "each" => Durability::Each,
        _ => Durability::Group,
    };
    let market_data = match config.journal.market_data.as_str() {
        "none" => MarketData::None,
        "conflated" => MarketData::Conflated,
        _ => MarketData::All,
    };
    let journal = journal::Options {
        durability,
        market_data,
        segment_size: config.journal.segment_size,
        keep: config.journal.keep,
        keep_bytes: config.journal.keep_bytes,
        ..journal::Options::default()
    };
    LaneOptions {
        dir: config.journal.dir.clone(),
        journal,
        queue: config.market_data.queue,
        batch: 256,
        step_budget: config.market_data.step_budget,
        snapshot_every: config.journal.snapshot_every,
    }
}
