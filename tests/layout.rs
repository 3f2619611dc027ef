//! The layout that keeps the code readable: short files, short functions, nothing that is true on one machine only.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file, and of a file of tests.
const FILE_MAX: [usize; 2] = [500, 650];
/// Lines of a function, signature and closing brace included.
const FUNCTION_MAX: usize = 70;
/// Beginnings of paths that exist on one machine only, cut in two so that this file does not hold them.
const MACHINE_PATHS: [[&str; 2]; 5] = [["/wo", "rk/"], ["/ho", "me/"], ["/ro", "ot/"], ["/Us", "ers/"], ["/mn", "t/"]];

fn files_of(directory: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(directory).expect("listed").map(|entry| entry.expect("an entry").path());
    for path in entries {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if path.is_dir() {
            if name != "target" && (!name.starts_with('.') || name == ".ci") && name != "data" {
                files_of(&path, found);
            }
        } else {
            found.push(path);
        }
    }
}

fn files(extensions: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    files_of(root, &mut found);
    found.sort();
    let known = |path: &PathBuf| path.extension().and_then(|e| e.to_str()).is_some_and(|e| extensions.contains(&e));
    let name = |path: &Path| path.strip_prefix(root).expect("below the root").display().to_string();
    found.iter().filter(|path| known(path)).map(|path| (name(path), fs::read_to_string(path).expect("text"))).collect()
}

fn is_test(name: &str) -> bool {
    ["tests/", "benches/"].iter().any(|folder| name.starts_with(folder) || name.contains(&format!("/{folder}")))
        || ["tests.rs", "testkit.rs"].iter().any(|file| name.ends_with(file))
}

/// The functions of a file, as rustfmt lays them out: name, first line, number of lines. A body ends with the first brace at
/// the indentation of its `fn`.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        let Some(name) = function_name(code) else { continue };
        // A declaration without a body ends with a semicolon, a body on one line with its brace.
        let end = (at..lines.len()).find(|&end| {
            let rest = lines[end].strip_prefix(indent).unwrap_or("");
            end > at && rest == "}" || end == at && rest.ends_with('}') || rest.ends_with(';') && !rest.starts_with(' ')
        });
        if let Some(end) = end {
            found.push((name.to_owned(), at + 1, end - at + 1));
        }
    }
    found
}

fn function_name(code: &str) -> Option<&str> {
    let mut words = code.split([' ', '(', '<']).skip_while(|word| {
        word.is_empty()
            || ["pub", "pub(crate)", "const", "async", "unsafe", "extern", "crate)", "super)", "in", "\"C\""]
                .contains(word)
    });
    if words.next() == Some("fn") { words.next() } else { None }
}

#[test]
fn files_are_short() {
    let long = |(name, text): &(String, String)| {
        let (lines, most) = (text.lines().count(), FILE_MAX[usize::from(is_test(name))]);
        (lines > most).then(|| format!("{name}: {lines} lines, {most} are allowed"))
    };
    let found: Vec<String> = files(&["rs"]).iter().filter_map(long).collect();
    assert!(found.is_empty(), "split by concern:\n{}", found.join("\n"));
}

#[test]
fn functions_are_short() {
    let mut found = Vec::new();
    for (name, text) in files(&["rs"]).iter().filter(|(name, _)| !is_test(name)) {
        // Tables of tests may be as long as what they list.
        let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for (function, line, lines) in functions(code).iter().filter(|(_, _, lines)| *lines > FUNCTION_MAX) {
            found.push(format!("{name}:{line}: {function} has {lines} lines, {FUNCTION_MAX} are allowed"));
        }
    }
    assert!(found.is_empty(), "split by concern:\n{}", found.join("\n"));
}

#[test]
fn nothing_names_a_path_of_one_machine() {
    let mut found = Vec::new();
    for (name, text) in files(&["rs", "toml", "yaml", "yml", "md", "sh", "c", "lock"]) {
        for (at, line) in text.lines().enumerate() {
            if MACHINE_PATHS.iter().any(|path| line.contains(&path.concat())) {
                found.push(format!("{name}:{}: {line}", at + 1));
            }
        }
    }
    assert!(found.is_empty(), "paths of one machine:\n{}", found.join("\n"));
}

#[test]
fn functions_are_found_as_rustfmt_writes_them() {
    let body = "        one();\n".repeat(3);
    let text = format!(
        "trait A {{\n    fn declared(&self);\n    fn long_declared(\n        &self,\n    ) -> u8;\n}}\nimpl B {{\n    \
         pub(crate) async fn run<T>(&self) {{\n{body}    }}\n\n    pub const fn short() {{}}\n}}\nfn last() {{\n    x();\n}}\n"
    );
    let found: Vec<(String, usize)> = functions(&text).into_iter().map(|(name, _, lines)| (name, lines)).collect();
    let expected = [("declared", 1), ("long_declared", 3), ("run", 5), ("short", 1), ("last", 3)];
    assert_eq!(found, expected.map(|(name, lines)| (name.to_owned(), lines)));
}
