//! PostgreSQL's errors, sorted by what the caller can do.

use super::StoreError;
use tokio_postgres::error::{Error, SqlState};

/// The error with its message; never with values of parameters.
pub(super) fn classify(error: &Error) -> StoreError {
    let Some(db) = error.as_db_error() else {
        // Sockets, TLS, a connection that was closed: all may go well next time. What does not fit a type never will.
        let text = chain(error);
        let bug = text.contains("error serializing parameter") || text.contains("error deserializing column");
        let settings = text.contains("invalid configuration") || text.contains("password missing");
        return match (bug, settings) {
            (true, _) => StoreError::Bug(text),
            (_, true) => StoreError::Refused(text),
            _ => StoreError::Unavailable(text),
        };
    };
    let code = db.code();
    let text = format!("{} ({})", db.message(), code.code());
    let unavailable = [
        &SqlState::LOCK_NOT_AVAILABLE,
        // A standby that is not promoted yet.
        &SqlState::READ_ONLY_SQL_TRANSACTION,
    ];
    match &code.code()[..2] {
        _ if unavailable.contains(&code) => StoreError::Unavailable(text),
        _ if *code == SqlState::INSUFFICIENT_PRIVILEGE => StoreError::Refused(text),
        // Connection, transaction rollback, resources, operator's intervention, system.
        "08" | "40" | "53" | "57" | "58" => StoreError::Unavailable(text),
        // Authorisation, no such database, no such schema.
        "28" | "3D" | "3F" => StoreError::Refused(text),
        "22" => StoreError::Invalid(text),
        "23" => StoreError::Conflict(text),
        // A table or column that is not there: somebody changed the schema behind us.
        _ if [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN].contains(code) => StoreError::Refused(text),
        _ => StoreError::Bug(text),
    }
}

/// An error and its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
