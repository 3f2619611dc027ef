//! Every warning and error of the program has a code, and each code stands in the table with what to do about it.

use qcat_io::logs::codes::{self, CODES};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("listed") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "tests" && name != "target" {
            sources(&path, found);
        } else if name.ends_with(".rs") && name != "tests.rs" && name != "testkit.rs" {
            found.push(path);
        }
    }
}

/// The program's sources without their tests.
fn program() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    sources(&root.join("src"), &mut found);
    sources(&root.join("actors"), &mut found);
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).expect("text");
        let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
        (path.strip_prefix(root).expect("below the root").display().to_string(), code)
    };
    found.iter().map(read).collect()
}

/// What stands between a parenthesis and its closing one.
fn inside(text: &str) -> &str {
    let (mut depth, mut quoted, mut escaped) = (1, false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
    }
    text
}

/// The first text in quotes.
fn quoted(text: &str) -> Option<&str> {
    text.split('"').nth(1)
}

fn known() -> BTreeSet<&'static str> {
    CODES.iter().flat_map(|(_, codes)| codes.iter().map(|code| code.code)).collect()
}

#[test]
fn no_code_stands_twice_and_the_page_is_the_table() {
    assert_eq!(known().len(), CODES.iter().map(|(_, codes)| codes.len()).sum::<usize>());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/log-codes.md");
    if std::env::var_os("QCAT_WRITE_DOCS").is_some() {
        fs::write(&path, codes::page()).expect("written");
    }
    let page = fs::read_to_string(&path).expect("docs/log-codes.md");
    assert_eq!(page, codes::page(), "`QCAT_WRITE_DOCS=1 cargo nextest run --test log_codes` writes it anew");
}

#[test]
fn every_warning_and_error_has_a_code() {
    let mut bare = Vec::new();
    for (name, text) in program() {
        for level in ["warn!(", "error!("] {
            for (at, _) in text.match_indices(level).filter(|(at, _)| text[..*at].ends_with("tracing::")) {
                let words = inside(&text[at + level.len()..]);
                let fields = words.split(['"', '(']).next().unwrap_or_default();
                if !fields.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| word == "code") {
                    bare.push(format!("{name}: {}", words.split_whitespace().collect::<Vec<_>>().join(" ")));
                }
            }
        }
    }
    assert!(bare.is_empty(), "without `code = \"…\"` first:\n{}", bare.join("\n"));
}

#[test]
fn every_code_of_the_sources_is_in_the_table() {
    let known = known();
    let mut missing = BTreeSet::new();
    let mut found = 0;
    for (name, text) in program() {
        let fields = text.match_indices("code = \"").map(|(at, _)| quoted(&text[at..]));
        let calls = text.match_indices("note(").filter_map(|(at, _)| {
            let words = inside(&text[at + "note(".len()..]);
            words.contains('"').then(|| quoted(words))
        });
        for code in
            fields.chain(calls).flatten().filter(|code| code.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        {
            found += 1;
            if !known.contains(code) {
                missing.insert(format!("{name}: {code}"));
            }
        }
        if name == "src/core/event.rs" {
            let names = text.split("impl AlertCode").nth(1).expect("the names of alerts");
            for code in names.match_indices("=> \"").filter_map(|(at, _)| quoted(&names[at..])) {
                found += 1;
                assert!(known.contains(code), "alert {code}");
            }
        }
    }
    assert!(found > 50, "{found} codes were found");
    assert!(missing.is_empty(), "add to src/io/logs/codes:\n{}", missing.into_iter().collect::<Vec<_>>().join("\n"));
}
