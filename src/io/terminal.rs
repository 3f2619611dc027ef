//! What must be known of the terminal to draw on it.

/// Columns and rows of the terminal that standard output is; `None` when it is none, or does not say.
pub fn size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}
