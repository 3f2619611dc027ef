//! Reads a tree by the schema table: every fault in one run, each with its place, what was found and what is allowed.

use super::nearest::unknown;
use super::schema::{self, Row};
use super::tree::{self, Node, Pos, Value};
pub use super::value::Leaf;
use super::value::{parse_node, parse_text};
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
        for row in schema::rows() {
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
        for row in schema::rows() {
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
