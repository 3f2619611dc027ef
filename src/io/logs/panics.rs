//! Panics go to the log, with their place. What they say is stripped of anything that looks like a secret.

use crate::shell::panic_text;
use std::panic;

/// Words whose value is never logged.
const SECRETS: [&str; 8] = ["signature", "password", "passwd", "secret", "token", "api_key", "apikey", "listenkey"];
/// Characters of a panic's text that are logged.
const TEXT_MAX: usize = 1_000;

/// Has panics logged from here on, instead of printed.
pub(super) fn install() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        let text: String = panic_text(info.payload()).chars().take(TEXT_MAX).collect();
        tracing::error!(code = "panic", place, thread, text = scrubbed(&text), "panicked");
    }));
}

/// The text without the values of words that name secrets, and without what stands before an `@` in a URL.
fn scrubbed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split_inclusive([' ', '&', ',', ';', '\n', '?']) {
        let lower = word.to_ascii_lowercase();
        let value = word.find(['=', ':']).filter(|end| SECRETS.iter().any(|name| lower[..*end].contains(name)));
        let user = word.find("://").and_then(|at| word.rfind('@').filter(|end| *end > at).map(|end| (at + 3, end)));
        match (value, user) {
            (Some(end), _) => out.push_str(&format!("{}***{}", &word[..=end], tail(word))),
            (None, Some((from, to))) => out.push_str(&format!("{}***{}", &word[..from], &word[to..])),
            (None, None) => out.push_str(word),
        }
    }
    out
}

/// The separator at the end of a word.
fn tail(word: &str) -> &str {
    let end = word.trim_end_matches([' ', '&', ',', ';', '\n', '?']).len();
    &word[end..]
}

#[cfg(test)]
mod tests {
    use super::scrubbed;

    #[test]
    fn what_looks_like_a_secret_is_not_logged() {
        for (text, expected) in [
            ("index 7 out of range: 3", "index 7 out of range: 3"),
            ("GET /x?a=b&signature=cafe&c=d failed", "GET /x?a=b&signature=***&c=d failed"),
            ("no route to postgres://qcat:hunter2@db:5432/qcat", "no route to postgres://***@db:5432/qcat"),
            ("{\"password\":\"hunter2\",\"x\":1}", "{\"password\":***,\"x\":1}"),
        ] {
            assert_eq!(scrubbed(text), expected);
        }
    }
}
