//! To which exchange a journal belongs. Its orders and positions live there: against another one they would be settled as if
//! they had never been, or traded away for real.

use crate::disk::{Disk, DiskError};
use std::path::Path;

/// The file's name.
pub const OWNER: &str = "exchange";
const TEMPORARY: &str = "exchange.tmp";
/// Longest name read.
const LONGEST: usize = 512;

/// Writes down to whom a journal belongs if nobody has yet. `Some` is the other one to whom it belongs. The caller holds the
/// directory's lock.
pub fn claim(disk: &dyn Disk, dir: &Path, owner: &str) -> Result<Option<String>, DiskError> {
    if let Some(found) = read(disk, dir)? {
        return Ok(Some(found).filter(|found| found != owner));
    }
    let temporary = dir.join(TEMPORARY);
    match disk.remove(&temporary) {
        Err(e) if !e.is_missing() => return Err(e),
        _ => {}
    }
    let line = format!("{owner}\n");
    let file = disk.create(&temporary, line.len() as u64)?;
    file.write_at(0, line.as_bytes())?;
    file.sync_data()?;
    disk.rename(&temporary, &dir.join(OWNER))?;
    disk.sync_dir(dir)?;
    Ok(None)
}

fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<String>, DiskError> {
    let file = match disk.open_read(&dir.join(OWNER)) {
        Err(e) if e.is_missing() => return Ok(None),
        other => other?,
    };
    let mut bytes = [0; LONGEST];
    let read = file.read_at(0, &mut bytes)?;
    let text = String::from_utf8_lossy(&bytes[..read]).trim_matches(['\0', '\n', ' ']).to_owned();
    Ok(Some(text).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn a_journal_belongs_to_the_first_exchange_that_claims_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let claim = |owner| claim(&RealDisk, dir.path(), owner).expect("a disk");
        assert_eq!(claim("fapi.binance.com:443"), None);
        assert_eq!(claim("fapi.binance.com:443"), None);
        assert_eq!(claim("127.0.0.1:8099"), Some("fapi.binance.com:443".to_owned()));
        // A person may move it.
        std::fs::write(dir.path().join(OWNER), "127.0.0.1:8099\n").expect("written");
        assert_eq!(claim("127.0.0.1:8099"), None);
    }
}
