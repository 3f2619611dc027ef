//! Keeps the contracts up to date while the daemon runs: asks for them on a timer, and soon when the exchange refused an order by
//! a rule that we do not know so. What has changed is admitted as definitions.

use super::component::Component;
use super::lane::Lane;
use super::supervise::{Beat, Exit};
use crate::network_manager::Network;
use qcat_core::binance::decode::definitions::{ExchangeInfo, RateLimitKind};
use qcat_core::binance::instruments;
use qcat_core::engine::inbox::Offered;
use qcat_core::event::Input;
use qcat_io::definitions::exchange_info;
use qcat_io::shell::Credentials;
use std::time::Duration;

/// How the contracts are kept up to date.
#[derive(Debug, Clone)]
pub struct Definitions {
    /// The key that may ask for leverage brackets.
    pub credentials: Credentials,
    /// How often they are asked for.
    pub every: Duration,
}

/// Between two times at least: a strategy whose every order is refused must not use up the weight of the address. It also leaves
/// the lane time to take what was offered before.
const PAUSE: Duration = Duration::from_secs(10);

/// Asks again and again; never ends by itself. What fails is noted and tried again after the pause.
pub(crate) async fn keep(definitions: Definitions, network: Network, lane: Lane, beat: Beat) -> Exit {
    let note = |code, text: &str| network.notes.note(Component::NetworkManager, code, text, lane.now());
    let mut wait = definitions.every;
    loop {
        beat.waiting(async {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = network.stale.notified() => {}
            }
        })
        .await;
        let asker = network.asker(&lane);
        wait = match exchange_info(&asker, &definitions.credentials).await {
            Err(error) => {
                note("no_definitions", &error.to_string());
                PAUSE
            }
            Ok(info) => match take(&info, &network, &lane) {
                Ok(refused) => {
                    refused.iter().for_each(|error| note("definition_refused", error));
                    definitions.every
                }
                Err(()) => PAUSE,
            },
        };
        beat.waiting(tokio::time::sleep(PAUSE)).await;
    }
}

/// Offers what has changed. `Err`: the lane has no room. `Ok`: contracts that cannot be followed.
fn take(info: &ExchangeInfo, network: &Network, lane: &Lane) -> Result<Vec<String>, ()> {
    for limit in info.rate_limits.iter().filter(|limit| limit.kind == RateLimitKind::RequestWeight) {
        network.weight.borrow_mut().set_limit(limit.limit);
    }
    let instruments::Plan { definitions, refused } = instruments::plan(&lane.universe(), info);
    if !definitions.is_empty() {
        tracing::info!(count = definitions.len(), "the exchange changed its contracts");
    }
    for definition in definitions {
        if lane.offer(Input::Definition(definition)) == Offered::Full {
            return Err(());
        }
    }
    Ok(refused.iter().map(ToString::to_string).collect())
}
