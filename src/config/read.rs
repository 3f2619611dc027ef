//! Reads a tree by the schema table: every fault in one run, each with its place, what was found and what is allowed.

use super::schema::{self, Kind, Row, SCHEMA};
use super::tree::{self, Node, Pos, Value};
use qcat_core::num::parse_mantissa;
use qcat_core::time::Span;
use std::collections::BTreeMap;
use std::fmt;

/// One fault of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, or the name of the environment variable.
    pub source: String,
    /// Where in the file; `None` outside one.
    pub pos: Option<Pos>,
    /// The key's path; empty for the whole file.
    pub key: String,
    /// What is wrong: what was found, what is allowed.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)?;
        if let Some(pos) = self.pos {
            write!(f, ":{}:{}", pos.line, pos.column)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// A value that passed its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaf {
    /// Text, word, URL, path, decimal.
    Text(String),
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A duration.
    Duration(Span),
    /// A list of texts.
    Texts(Vec<String>),
    /// Free keys; the flag tells whether the text was quoted.
    Params(Vec<(String, String, bool)>),
}

/// All values by concrete path (`accounts[0].name`), defaults included, with the place of those that stand in the file.
#[derive(Debug, Default)]
pub struct Values {
    leaves: BTreeMap<String, (Leaf, Option<Pos>)>,
    lists: BTreeMap<String, usize>,
}

impl Values {
    /// A value; the path must be one of the schema with an existing index.
    pub fn get(&self, path: &str) -> Option<&Leaf> {
        self.leaves.get(path).map(|(leaf, _)| leaf)
    }

    /// Where a value stands, if it stands in the file.
    pub fn pos(&self, path: &str) -> Option<Pos> {
        self.leaves.get(path).and_then(|(_, pos)| *pos)
    }

    /// Where each value stands that stands in the file.
    pub(super) fn places(&self) -> BTreeMap<String, Pos> {
        self.leaves.iter().filter_map(|(path, (_, pos))| Some((path.clone(), (*pos)?))).collect()
    }

    /// The number of items of a list of sections.
    pub fn count(&self, list: &str) -> usize {
        self.lists.get(list).copied().unwrap_or(0)
    }

    /// All values by path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Leaf)> {
        self.leaves.iter().map(|(path, (leaf, _))| (path.as_str(), leaf))
    }
}

/// Reads the text of a file, then the environment. `source` names the file in faults.
/// With `implied_account`, a configuration without accounts has one of that name, with every default.
pub fn read(
    source: &str,
    text: &str,
    environment: &[(String, String)],
    implied_account: Option<&str>,
) -> Result<Values, Vec<Fault>> {
    let tree = tree::parse(text).map_err(|error| {
        let problem = format!("not valid YAML: {}", error.reason);
        vec![Fault { source: source.to_owned(), pos: Some(error.pos), key: String::new(), problem }]
    })?;
    let mut reader = Reader { source, values: Values::default(), faults: Vec::new() };
    reader.section("", "", &tree);
    if let (Some(name), 0) = (implied_account, reader.values.count("accounts")) {
        reader.values.lists.insert("accounts".to_owned(), 1);
        reader.values.leaves.insert("accounts[0].name".to_owned(), (Leaf::Text(name.to_owned()), None));
    }
    reader.environment(environment);
    reader.defaults();
    if reader.faults.is_empty() { Ok(reader.values) } else { Err(reader.faults) }
}

struct Reader<'a> {
    source: &'a str,
    values: Values,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn fault(&mut self, pos: Option<Pos>, key: &str, problem: String) {
        let (source, key) = (self.source.to_owned(), key.to_owned());
        self.faults.push(Fault { source, pos, key, problem });
    }

    /// `path` has concrete indices, `pattern` has `[]`.
    fn section(&mut self, path: &str, pattern: &str, node: &Node) {
        let entries = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => return,
            _ => {
                return self.fault(
                    Some(node.pos),
                    path,
                    "found a single value, a section with keys is expected".to_owned(),
                );
            }
        };
        let mut seen: BTreeMap<&str, Pos> = BTreeMap::new();
        for entry in entries {
            let join = |base: &str| if base.is_empty() { entry.key.clone() } else { format!("{base}.{}", entry.key) };
            let (path, pattern_here) = (join(path), join(pattern));
            if let Some(first) = seen.insert(&entry.key, entry.pos) {
                self.fault(Some(entry.pos), &path, format!("stands twice; the first is in line {}", first.line));
                continue;
            }
            if let Some(row) = schema::find(&pattern_here) {
                self.leaf(&path, row, &entry.node);
            } else if schema::is_list(&pattern_here) {
                self.list(&path, &pattern_here, &entry.node);
            } else if schema::is_section(&pattern_here) {
                self.section(&path, &pattern_here, &entry.node);
            } else {
                let known = schema::names_in(pattern);
                self.fault(Some(entry.pos), &path, unknown(&entry.key, &known));
            }
        }
    }

    fn list(&mut self, path: &str, pattern: &str, node: &Node) {
        let items = match &node.value {
            Value::List(items) => items,
            Value::Null => return,
            _ => return self.fault(Some(node.pos), path, "a list is expected (items begin with `- `)".to_owned()),
        };
        self.values.lists.insert(path.to_owned(), items.len());
        for (at, item) in items.iter().enumerate() {
            self.section(&format!("{path}[{at}]"), &format!("{pattern}[]"), item);
        }
    }

    fn leaf(&mut self, path: &str, row: &Row, node: &Node) {
        match parse_node(row, node) {
            Ok(Some(leaf)) => {
                self.values.leaves.insert(path.to_owned(), (leaf, Some(node.pos)));
            }
            Ok(None) => {}
            Err(problem) => {
                // Marked as present, so that a required key is not called missing too.
                self.values.leaves.insert(path.to_owned(), (Leaf::Text(String::new()), Some(node.pos)));
                self.fault(Some(node.pos), path, problem);
            }
        }
    }

    /// `QCAT_` and the path in upper case joined by `_`; list items by their name.
    fn environment(&mut self, environment: &[(String, String)]) {
        let mut names: BTreeMap<String, (String, &Row)> = BTreeMap::new();
        for row in SCHEMA {
            for (path, label) in self.concrete(row) {
                names.insert(format!("QCAT_{label}"), (path, row));
            }
        }
        for (name, value) in environment {
            match names.get(name) {
                None => {
                    let known: Vec<&str> = names.keys().map(String::as_str).collect();
                    let (pos, problem) = (None, unknown(name, &known));
                    self.faults.push(Fault { source: "environment".to_owned(), pos, key: name.clone(), problem });
                }
                Some((path, row)) => match parse_text(row, value, false) {
                    Ok(leaf) => {
                        self.values.leaves.insert(path.clone(), (leaf, None));
                    }
                    Err(problem) => {
                        let source = "environment".to_owned();
                        self.faults.push(Fault { source, pos: None, key: name.clone(), problem });
                    }
                },
            }
        }
    }

    /// The concrete paths of a row with the label of each in the environment.
    fn concrete(&self, row: &Row) -> Vec<(String, String)> {
        let label = |text: &str| text.to_uppercase().replace(['.', '-', ' '], "_");
        let Some((list, rest)) = row.path.split_once("[]") else {
            return vec![(row.path.to_owned(), label(row.path))];
        };
        let item = |at: usize| {
            let name = match self.values.get(&format!("{list}[{at}].name")) {
                Some(Leaf::Text(name)) if !name.is_empty() => name.clone(),
                _ => at.to_string(),
            };
            (format!("{list}[{at}]{rest}"), label(&format!("{list}.{name}{rest}")))
        };
        (0..self.values.count(list)).map(item).collect()
    }

    fn defaults(&mut self) {
        for row in SCHEMA {
            for (path, _) in self.concrete(row) {
                if self.values.leaves.contains_key(&path) {
                    continue;
                }
                match row.default {
                    None => {
                        let (pos, problem) = (None, format!("is missing and has no default: {}", row.doc));
                        self.fault(pos, &path, problem);
                    }
                    Some("") => {}
                    Some(text) => {
                        let leaf = parse_text(row, text, false).expect("defaults of the schema satisfy their own rows");
                        self.values.leaves.insert(path, (leaf, None));
                    }
                }
            }
        }
    }
}

fn parse_node(row: &Row, node: &Node) -> Result<Option<Leaf>, String> {
    match (&node.value, row.kind) {
        (Value::Null, _) => Ok(None),
        (Value::Scalar { text, quoted }, _) => parse_text(row, text, *quoted).map(Some),
        (Value::List(items), Kind::Texts | Kind::Order(_)) => {
            let text = |item: &Node| match &item.value {
                Value::Scalar { text, .. } => Ok(text.clone()),
                _ => Err(format!("line {}: a plain text is expected in this list", item.pos.line)),
            };
            let texts = items.iter().map(text).collect::<Result<Vec<String>, String>>()?;
            check_texts(row, texts).map(Some)
        }
        (Value::Map(entries), Kind::Params) => {
            let param = |entry: &tree::Entry| match &entry.node.value {
                Value::Scalar { text, quoted } => Ok((entry.key.clone(), text.clone(), *quoted)),
                _ => Err(format!("line {}: parameter `{}` needs a single value", entry.pos.line, entry.key)),
            };
            let params = entries.iter().map(param).collect::<Result<_, String>>()?;
            Ok(Some(Leaf::Params(params)))
        }
        _ => Err(format!("found a list or section, allowed: {}", allowed(row.kind))),
    }
}

fn parse_text(row: &Row, text: &str, quoted: bool) -> Result<Leaf, String> {
    let shown = if row.secret { "the value given".to_owned() } else { format!("`{text}`") };
    let wrong = || format!("found {shown}, allowed: {}", allowed(row.kind));
    match row.kind {
        Kind::Text | Kind::Path => {
            if text.is_empty() {
                Err(wrong())
            } else {
                Ok(Leaf::Text(text.to_owned()))
            }
        }
        Kind::Word(words) => words.contains(&text).then(|| Leaf::Text(text.to_owned())).ok_or_else(wrong),
        Kind::Bool if !quoted => match text {
            "true" => Ok(Leaf::Bool(true)),
            "false" => Ok(Leaf::Bool(false)),
            _ => Err(wrong()),
        },
        Kind::Int(min, max) if !quoted => {
            let number = text.parse::<i64>().map_err(|_| wrong())?;
            if (min..=max).contains(&number) { Ok(Leaf::Int(number)) } else { Err(wrong()) }
        }
        Kind::Bool | Kind::Int(..) => Err(format!("found quoted text {shown}, allowed: {}", allowed(row.kind))),
        Kind::Decimal(min, max) => {
            let read = |text: &str| parse_mantissa(text.as_bytes(), 18);
            let value = read(text).map_err(|_| wrong())?;
            let within = read(min).is_ok_and(|min| value >= min) && read(max).is_ok_and(|max| value <= max);
            if within { Ok(Leaf::Text(text.to_owned())) } else { Err(wrong()) }
        }
        Kind::Duration(min, max) => {
            let span = parse_duration(text).ok_or_else(wrong)?;
            if (min..=max).contains(&span.millis()) { Ok(Leaf::Duration(span)) } else { Err(wrong()) }
        }
        Kind::Url(schemes) => match qcat_io::net::url::Url::parse(text, schemes) {
            Ok(_) => Ok(Leaf::Text(text.to_owned())),
            Err(error) => Err(error.to_string()),
        },
        Kind::Texts | Kind::Order(_) => check_texts(row, text.split(',').map(|t| t.trim().to_owned()).collect()),
        Kind::Params => Err(wrong()),
    }
}

fn check_texts(row: &Row, texts: Vec<String>) -> Result<Leaf, String> {
    if texts.is_empty() || texts.iter().any(String::is_empty) {
        return Err(format!("found an empty list or item, allowed: {}", allowed(row.kind)));
    }
    if let Kind::Order(words) = row.kind {
        for text in &texts {
            if !words.contains(&text.as_str()) {
                return Err(unknown(text, words));
            }
        }
        for word in words {
            match texts.iter().filter(|t| t == word).count() {
                1 => {}
                0 => return Err(format!("`{word}` is missing; each of {} must stand in it once", words.join(", "))),
                _ => return Err(format!("`{word}` stands twice")),
            }
        }
    }
    Ok(Leaf::Texts(texts))
}

/// A duration: whole numbers with the units `ms`, `s`, `m`, `h`, several in a row allowed (`1m30s`). A bare number is refused.
pub fn parse_duration(text: &str) -> Option<Span> {
    let mut rest = text;
    let mut millis: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let factor = match &rest[..unit_end] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        millis = millis.checked_add(number.checked_mul(factor)?)?;
        rest = &rest[unit_end..];
    }
    // Far beyond any row's range, and small enough for nanoseconds.
    (!text.is_empty() && millis <= 1_000_000_000_000).then(|| Span::from_millis(millis))
}

/// Text of a kind's allowed values.
pub fn allowed(kind: Kind) -> String {
    let span = |millis: i64| match millis {
        m if m % 3_600_000 == 0 => format!("{}h", m / 3_600_000),
        m if m % 60_000 == 0 => format!("{}m", m / 60_000),
        m if m % 1_000 == 0 => format!("{}s", m / 1_000),
        m => format!("{m}ms"),
    };
    match kind {
        Kind::Text => "text that is not empty".to_owned(),
        Kind::Word(words) => words.join(", "),
        Kind::Bool => "true, false".to_owned(),
        Kind::Int(min, max) => format!("a whole number from {min} to {max}"),
        Kind::Decimal(min, max) => format!("a decimal number from {min} to {max}"),
        Kind::Duration(min, max) => {
            format!("a duration with unit from {} to {} (such as 250ms, 30s, 5m)", span(min), span(max))
        }
        Kind::Url([plain, tls]) => format!("a URL beginning with {plain}:// or {tls}://"),
        Kind::Path => "a path".to_owned(),
        Kind::Texts => "a list of texts".to_owned(),
        Kind::Order(words) => format!("a list with each of {} once", words.join(", ")),
        Kind::Params => "keys with single values".to_owned(),
    }
}

fn unknown(name: &str, known: &[&str]) -> String {
    let nearest = known.iter().min_by_key(|k| distance(name, k)).filter(|k| distance(name, k) <= 1 + name.len() / 3);
    match nearest {
        Some(nearest) => format!("unknown key; did you mean `{nearest}`?"),
        None => format!("unknown key; known here: {}", known.join(", ")),
    }
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, cb) in b.iter().enumerate() {
            let next = (diagonal + usize::from(ca != *cb)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[b.len()]
}
