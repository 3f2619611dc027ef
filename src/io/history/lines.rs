//! Lines of a text file, plain or gzipped, bounded and counted.

use super::HistoryError;
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// A depth snapshot of 1000 levels has 50 kB; nothing that is a line is longer than this.
const LINE_MAX: u64 = 16 << 20;

/// A file read line by line.
pub struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
    bytes: Vec<u8>,
    line: u64,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("path", &self.path).field("line", &self.line).finish_non_exhaustive()
    }
}

impl Lines {
    /// Opens a file; gzip is told by its first bytes.
    pub fn open(path: &Path) -> Result<Lines, HistoryError> {
        let io = |error| HistoryError::Io { path: path.to_owned(), error };
        let mut reader = BufReader::with_capacity(1 << 16, File::open(path).map_err(io)?);
        let gzip = reader.fill_buf().map_err(io)?.starts_with(&[0x1f, 0x8b]);
        let reader: Box<dyn BufRead + Send> = match gzip {
            true => Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(reader))),
            false => Box::new(reader),
        };
        Ok(Lines { path: path.to_owned(), reader, bytes: Vec::new(), line: 0 })
    }

    /// Reads the next line that is not empty, without its end. `false` at the end of the file.
    pub fn next_line(&mut self, text: &mut String) -> Result<bool, HistoryError> {
        text.clear();
        loop {
            self.bytes.clear();
            let mut bounded = self.reader.by_ref().take(LINE_MAX);
            let read = bounded.read_until(b'\n', &mut self.bytes);
            self.line += 1;
            let read = read.map_err(|e| self.line_error(format!("cannot be read (is the file whole?): {e}")))?;
            if read == 0 {
                return Ok(false);
            }
            if self.bytes.last() != Some(&b'\n') && self.bytes.len() as u64 >= LINE_MAX {
                return Err(self.line_error(format!("is longer than {LINE_MAX} bytes")));
            }
            let line = std::str::from_utf8(&self.bytes).map_err(|e| self.line_error(format!("is not UTF-8: {e}")))?;
            let line = line.trim_end_matches(['\n', '\r']);
            if !line.is_empty() {
                text.push_str(line);
                return Ok(true);
            }
        }
    }

    /// An error about the line read last.
    pub fn line_error(&self, problem: impl Into<String>) -> HistoryError {
        HistoryError::Line { path: self.path.clone(), line: self.line, problem: problem.into() }
    }

    /// An error about the file.
    pub fn file_error(&self, problem: impl Into<String>) -> HistoryError {
        HistoryError::File { path: self.path.clone(), problem: problem.into() }
    }
}
