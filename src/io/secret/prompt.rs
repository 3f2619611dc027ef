//! Secrets from a person or a pipe. They are never taken from the command line, where everybody on the machine could read them.

use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use secrecy::SecretString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use zeroize::Zeroizing;

/// Bytes of a secret at most.
const SECRET_MAX: u64 = 1 << 16;

/// Reads a secret: from the terminal without echo if standard input is one, else all of standard input. One line end at the end
/// is not part of it.
pub fn secret(question: &str) -> io::Result<SecretString> {
    let mut text = Zeroizing::new(String::new());
    if io::stdin().is_terminal() {
        let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
        write!(terminal, "{question}: ")?;
        let quiet = Quiet::start(&terminal)?;
        BufReader::new(&terminal).take(SECRET_MAX).read_line(&mut text)?;
        drop(quiet);
        writeln!(terminal)?;
    } else {
        io::stdin().lock().take(SECRET_MAX).read_to_string(&mut text)?;
    }
    let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(line.into())
}

/// A terminal without echo until it is dropped.
struct Quiet<'a> {
    terminal: &'a File,
    before: Termios,
}

impl Quiet<'_> {
    fn start(terminal: &File) -> io::Result<Quiet<'_>> {
        let before = termios::tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        termios::tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Quiet { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // Nothing better can be done about a terminal that refuses.
        let _ = termios::tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}
