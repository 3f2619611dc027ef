//! The running system behind the API: the console, and copies of the board and of the tree that all requests share.

use super::state::{Away, System};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use qcat_actors::runtime::board::{BOARD_AGE_MAX, Board, Boards};
use qcat_actors::runtime::commands::Commands;
use qcat_actors::runtime::console::Console;
use qcat_actors::runtime::stop::StopReport;
use qcat_actors::runtime::system::Tree;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A system that runs.
pub struct Live {
    console: Console,
    commands: Commands,
    /// Where the trading thread keeps what it copied last; nobody else takes this lock.
    boards: Arc<Mutex<Boards>>,
    board: Copies<Board>,
    tree: Copies<Tree>,
}

/// The copy that requests share, at most [`BOARD_AGE_MAX`] old. Who finds it old asks for another one; the rest wait for that.
struct Copies<T> {
    newest: Mutex<Option<(Instant, Arc<T>)>>,
    asking: tokio::sync::Mutex<()>,
}

impl<T> Default for Copies<T> {
    fn default() -> Copies<T> {
        Copies { newest: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }
}

impl<T> Copies<T> {
    async fn get(&self, ask: impl Future<Output = Result<Arc<T>, Away>>) -> Result<Arc<T>, Away> {
        if let Some(fresh) = self.fresh() {
            return Ok(fresh);
        }
        let _turn = self.asking.lock().await;
        if let Some(fresh) = self.fresh() {
            return Ok(fresh);
        }
        let copy = ask.await?;
        *self.locked() = Some((Instant::now(), copy.clone()));
        Ok(copy)
    }

    fn fresh(&self) -> Option<Arc<T>> {
        let most = Duration::from_nanos(BOARD_AGE_MAX.nanos().unsigned_abs());
        self.locked().as_ref().filter(|(at, _)| at.elapsed() < most).map(|(_, copy)| copy.clone())
    }

    fn locked(&self) -> MutexGuard<'_, Option<(Instant, Arc<T>)>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// Asks through this console.
    pub fn new(console: Console, commands: Commands) -> Live {
        Live { console, commands, boards: Arc::default(), board: Copies::default(), tree: Copies::default() }
    }

    async fn ask_board(&self) -> Result<Arc<Board>, Away> {
        let boards = self.boards.clone();
        let copy = move |lane: &_| boards.lock().unwrap_or_else(PoisonError::into_inner).get(lane);
        self.console.on_lane(copy).await.map_err(|error| Away(error.to_string()))
    }

    async fn ask_tree(&self) -> Result<Arc<Tree>, Away> {
        self.console.tree().await.map(Arc::new).map_err(|error| Away(error.to_string()))
    }
}

impl System for Live {
    fn board(&self) -> BoxFuture<'_, Result<Arc<Board>, Away>> {
        self.board.get(self.ask_board()).boxed()
    }

    fn tree(&self) -> BoxFuture<'_, Result<Arc<Tree>, Away>> {
        self.tree.get(self.ask_tree()).boxed()
    }

    fn commands(&self) -> Option<&Commands> {
        Some(&self.commands)
    }

    fn stop_report(&self) -> Option<StopReport> {
        self.console.stop_report()
    }

    fn phase(&self) -> (String, Option<String>) {
        let view = self.console.phase();
        let word = serde_json::to_value(view.phase).ok().and_then(|word| word.as_str().map(str::to_owned));
        (word.unwrap_or_default(), view.reason)
    }

    fn stop(&self, why: &str, force: bool) {
        if force {
            self.console.force();
        } else {
            self.console.stop(why);
        }
    }
}
