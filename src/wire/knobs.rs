//! What can be changed while the daemon runs: the reloadable keys of the configuration.

use crate::api::limit::RateLimit;
use crate::api::options::Rate;
use crate::config::Config;
use crate::health::HealthBoard;
use crate::memory::MemoryBoard;
use qcat_io::clock::{Clock, SystemClock};
use qcat_io::logs::{LogError, Logs};

/// The knobs of a daemon. Clones are the same; any thread may turn them.
#[derive(Debug, Clone)]
pub struct Knobs {
    /// The logs of the process; `None`: somebody else's.
    pub logs: Option<Logs>,
    /// The health checks' options and report.
    pub health: HealthBoard,
    /// The memory manager's options and facts.
    pub memory: MemoryBoard,
    /// The limit of requests.
    pub rate: RateLimit,
}

impl Knobs {
    /// As configured.
    pub fn of(config: &Config, logs: Option<Logs>) -> Knobs {
        let now = SystemClock::new().wall();
        Knobs {
            logs,
            health: HealthBoard::new((&config.health).into(), now),
            memory: MemoryBoard::new((&config.memory).into(), now),
            rate: RateLimit::new(rate(config)),
        }
    }

    /// Has every reloadable key of this configuration take effect.
    pub fn turn(&self, config: &Config) -> Result<(), LogError> {
        let level = config.logging.level.parse()?;
        self.logs.iter().for_each(|logs| logs.set_level(level));
        self.health.tune((&config.health).into());
        self.memory.tune((&config.memory).into());
        self.rate.set(rate(config));
        Ok(())
    }
}

fn rate(config: &Config) -> Option<Rate> {
    let security = &config.security;
    let rate = Rate { requests: security.rate_limit_requests, window: security.rate_limit_window };
    security.rate_limit_enabled.then_some(rate)
}
