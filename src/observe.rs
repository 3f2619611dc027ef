//! What the configuration says of logs and metrics, made into both, and a lane that is measured.

use crate::config::Config;
use qcat_actors::runtime::lane::Lane;
use qcat_actors::runtime::order_log::OrderLog;
use qcat_core::binance::limits::WeightLimit;
use qcat_io::logs::{Format, LogError, LogOptions, Logs, Output};
use qcat_io::metrics::{HostOptions, Metrics};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How often the machine is looked at: a third of the usual scrape.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The logs that the configuration wants.
pub fn log_options(config: &Config) -> Result<LogOptions, LogError> {
    let logging = &config.logging;
    Ok(LogOptions {
        level: logging.level.parse()?,
        format: if logging.json { Format::Json } else { Format::Text },
        output: if logging.to_files { Output::File } else { Output::Stderr },
        max_size: logging.max_size_mb.unwrap_or(0).saturating_mul(1 << 20),
        max_backups: logging.max_backups.map_or(0, |count| u32::try_from(count).unwrap_or(u32::MAX)),
        max_age: logging.max_age.unwrap_or_default(),
        compress: logging.compress,
        log_dir: logging.dir.clone(),
    })
}

/// Begins to measure the machine and the process.
pub fn metrics(config: &Config, logs: Option<Logs>) -> io::Result<Arc<Metrics>> {
    let mut directories = vec![("data", config.journal.dir.clone())];
    if config.logging.to_files {
        directories.push(("logs", config.logging.dir.clone()));
    }
    Metrics::start(HostOptions { every: LOOK_EVERY, directories }, logs)
}

/// Has a lane that is composed measured, and logged order by order. To be called on its thread, before it runs.
pub fn observe(lane: &Lane, metrics: &Metrics, weight: Rc<RefCell<WeightLimit>>) -> io::Result<()> {
    lane.measure(metrics.trading.clone());
    lane.publish_also(Box::new(move |all, now| {
        let weight = weight.borrow();
        let (left, max) = (f64::from(weight.left_at(now)), f64::from(weight.per_minute()));
        all.gauge("request_weight_left", "Request weight of this address that is left in the minute", &[], left);
        all.gauge("request_weight_max", "Request weight that the exchange grants in a minute", &[], max);
    }));
    lane.tap(Box::new(OrderLog::start()?));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn megabytes_and_what_is_without_bound_are_understood() {
        let mut config = crate::config::parse_offline("sim.yaml", include_str!("../configs/sim.yaml")).expect("valid");
        config.logging.max_size_mb = Some(100);
        (config.logging.max_backups, config.logging.max_age) = (None, None);
        let options = log_options(&config).expect("valid");
        assert_eq!((options.max_size, options.max_backups, options.max_age), (100 << 20, 0, Duration::ZERO));
        config.logging.level = "loud".to_owned();
        assert!(log_options(&config).is_err());
    }
}
