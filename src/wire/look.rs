//! The tree of components for whoever looks at it often: one look at the trading thread serves them all.

use arc_swap::ArcSwapOption;
use qcat_actors::runtime::console::Console;
use qcat_actors::runtime::system::Tree;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How old a look may be.
const FRESH: Duration = Duration::from_secs(1);

/// Looks at the components. For any thread.
pub(super) struct Look {
    console: Console,
    /// Who finds it old looks again; the rest wait for that.
    turn: tokio::sync::Mutex<()>,
    last: ArcSwapOption<(Instant, Tree)>,
}

impl Look {
    pub fn new(console: Console) -> Look {
        Look { console, turn: tokio::sync::Mutex::new(()), last: ArcSwapOption::empty() }
    }

    /// The components as they were within the last second; `Err`: the trading thread does not answer.
    pub async fn tree(&self) -> Result<Arc<(Instant, Tree)>, String> {
        let _turn = self.turn.lock().await;
        if let Some(last) = self.last()
            && last.0.elapsed() < FRESH
        {
            return Ok(last);
        }
        let tree = self.console.tree().await.map_err(|error| error.to_string())?;
        let last = Arc::new((Instant::now(), tree));
        self.last.store(Some(last.clone()));
        Ok(last)
    }

    /// The last look of anybody, and when it was.
    pub fn last(&self) -> Option<Arc<(Instant, Tree)>> {
        self.last.load_full()
    }
}
