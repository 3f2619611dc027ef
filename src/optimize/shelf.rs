//! Jobs on disk: one JSON file each, replaced as a whole, so that a restart shows what there was.

use super::job::{Job, TrialRecord};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It waits for its turn.
    Queued,
    /// Its trials run.
    Running,
    /// Every trial ended.
    Finished,
    /// It could not be run.
    Failed,
    /// Somebody cancelled it; trials that had ended are kept.
    Cancelled,
    /// Its time was over; trials that had ended are kept.
    TimedOut,
    /// The program stopped or died in the middle.
    Interrupted,
}

impl JobState {
    /// Whether nothing more comes of it.
    pub fn is_over(self) -> bool {
        !matches!(self, JobState::Queued | JobState::Running)
    }
}

/// A job and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JobRecord {
    /// Its number; later jobs have greater ones.
    #[schema(value_type = String, format = "uuid")]
    pub id: Uuid,
    /// How far it is.
    pub state: JobState,
    /// When it was asked for, in UTC.
    pub submitted: String,
    /// When it began.
    pub started: Option<String>,
    /// When it ended.
    pub ended: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// Trials that ended.
    pub done: u64,
    /// All trials.
    pub total: u64,
    /// The best so far.
    pub best: Option<TrialRecord>,
    /// What was asked for.
    pub job: Job,
    /// The trials that ended, in the order of the grid; filled in when the job is over.
    pub trials: Vec<TrialRecord>,
}

/// The directory of the records.
#[derive(Debug)]
pub(super) struct Shelf(PathBuf);

impl Shelf {
    /// Opens the directory, making it if need be, and reads what is there. What was not over when the program ended is over now.
    pub(super) fn open(dir: &Path) -> io::Result<(Shelf, BTreeMap<Uuid, JobRecord>)> {
        std::fs::create_dir_all(dir)?;
        let (shelf, mut records) = (Shelf(dir.to_owned()), BTreeMap::new());
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let read = std::fs::read(&path).map_err(|error| error.to_string());
            let record = read.and_then(|text| serde_json::from_slice::<JobRecord>(&text).map_err(|e| e.to_string()));
            match record {
                Ok(mut record) => {
                    if !record.state.is_over() {
                        record.state = JobState::Interrupted;
                        shelf.keep(&record)?;
                    }
                    records.insert(record.id, record);
                }
                Err(error) => {
                    tracing::warn!(code = "search_unreadable", path = %path.display(), error, "the record of a search cannot be read")
                }
            }
        }
        Ok((shelf, records))
    }

    fn path(&self, id: Uuid) -> PathBuf {
        self.0.join(format!("{id}.json"))
    }

    /// Writes a record in the place of the one before it.
    pub(super) fn keep(&self, record: &JobRecord) -> io::Result<()> {
        let text = serde_json::to_vec(record)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
        file.write_all(&text)?;
        file.as_file().sync_all()?;
        file.persist(self.path(record.id)).map_err(|error| error.error)?;
        Ok(())
    }

    /// Removes a record.
    pub(super) fn forget(&self, id: Uuid) {
        if let Err(error) = std::fs::remove_file(self.path(id)) {
            tracing::warn!(code = "search_not_removed", %id, %error, "the record of a search cannot be removed");
        }
    }
}
