//! The database behind the API: a place that holds a store once it is open.

use super::state::{Away, Users};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use qcat_io::store::{Store, User};
use std::sync::{Arc, PoisonError, RwLock};

/// Holds the store, once it is open. Clones are the same place.
#[derive(Clone, Default)]
pub struct StoreSlot(Arc<RwLock<Option<Arc<dyn Store>>>>);

impl StoreSlot {
    /// The store is open (or, `None`, is not any more).
    pub fn set(&self, store: Option<Arc<dyn Store>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = store;
    }

    /// The store; `None`: it was never reached, or is closed.
    pub fn get(&self) -> Option<Arc<dyn Store>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Users for StoreSlot {
    fn find<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<User>, Away>> {
        let store = self.get();
        async move {
            let store = store.ok_or_else(|| Away("the database is not open".to_owned()))?;
            store.user(name).await.map_err(|error| Away(error.to_string()))
        }
        .boxed()
    }
}
