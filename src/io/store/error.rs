//! What can go wrong with a store, sorted by what the caller can do about it.

/// A failure of a store. Texts never hold passwords.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, is too slow, or gave up in the middle: the same call may go well later. A batch is not
    /// half done, but it may be done as a whole; repeating it is harmless.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The database does not let us: its schema, our rights, the password. Only a person can change that.
    #[error("the database is refused: {0}")]
    Refused(String),
    /// Something else is already there under that name.
    #[error("conflict: {0}")]
    Conflict(String),
    /// The batch begins after the next sequence: what lies between is missing.
    #[error("batch of engine {engine} begins at {first}, but the store has it only up to {checkpoint}")]
    Gap {
        /// The engine.
        engine: i64,
        /// Up to where the store is.
        checkpoint: i64,
        /// Where the batch begins.
        first: i64,
    },
    /// The call makes no sense: a bad cursor, a limit out of range, a value that fits no column.
    #[error("invalid: {0}")]
    Invalid(String),
    /// A fault of this program.
    #[error("bug: {0}")]
    Bug(String),
}

impl StoreError {
    /// Whether the same call may go well later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, StoreError::Unavailable(_))
    }

    /// A stable word for metrics.
    pub const fn class(&self) -> &'static str {
        match self {
            StoreError::Unavailable(_) => "unavailable",
            StoreError::Refused(_) => "refused",
            StoreError::Conflict(_) => "conflict",
            StoreError::Gap { .. } => "gap",
            StoreError::Invalid(_) => "invalid",
            StoreError::Bug(_) => "bug",
        }
    }
}
