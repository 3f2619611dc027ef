//! The running system behind the API: the console, and a copy of the board that all requests share.

use super::state::{Away, System};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use qcat_actors::runtime::board::{BOARD_AGE_MAX, Board, Boards};
use qcat_actors::runtime::console::Console;
use qcat_actors::runtime::stop::StopReport;
use qcat_actors::runtime::system::Tree;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A system that runs.
pub struct Live {
    console: Console,
    /// Where the trading thread keeps what it copied last; nobody else takes this lock.
    boards: Arc<Mutex<Boards>>,
    /// The copy that requests share. Who finds it old asks for another one; the rest wait for that.
    shared: tokio::sync::Mutex<Option<(Instant, Arc<Board>)>>,
}

impl Live {
    /// Asks through this console.
    pub fn new(console: Console) -> Live {
        Live { console, boards: Arc::default(), shared: tokio::sync::Mutex::new(None) }
    }

    async fn newest(&self) -> Result<Arc<Board>, Away> {
        let fresh = Duration::from_nanos(BOARD_AGE_MAX.nanos().unsigned_abs());
        let mut shared = self.shared.lock().await;
        if let Some((at, board)) = &*shared
            && at.elapsed() < fresh
        {
            return Ok(board.clone());
        }
        let boards = self.boards.clone();
        let copy = move |lane: &_| boards.lock().unwrap_or_else(PoisonError::into_inner).get(lane);
        let board = self.console.on_lane(copy).await.map_err(|error| Away(error.to_string()))?;
        *shared = Some((Instant::now(), board.clone()));
        Ok(board)
    }
}

impl System for Live {
    fn board(&self) -> BoxFuture<'_, Result<Arc<Board>, Away>> {
        self.newest().boxed()
    }

    fn tree(&self) -> BoxFuture<'_, Result<Tree, Away>> {
        async { self.console.tree().await.map_err(|error| Away(error.to_string())) }.boxed()
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
