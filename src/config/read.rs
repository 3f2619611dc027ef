//! Reads all sources by the schema table: every fault in one run, each with its place, what was found and what is allowed.

use super::dotenv;
use super::inputs::{ENCRYPTION_KEY, Inputs, OTHER_VARIABLES};
use super::nearest::unknown;
use super::schema::{self, Row};
use super::tree::{self, Node, Pos, Value};
pub use super::value::Leaf;
use super::value::{Secret, parse_node, parse_text};
use super::values::{Key, Origin, Setting, Values};
use qcat_io::secret::enc::EncryptionKey;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One fault of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, or what else the value came from.
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
            write!(f, ":{pos}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// What was read.
pub(super) struct Read {
    /// All values; a refused one has its default.
    pub(super) values: Values,
    /// What is wrong.
    pub(super) faults: Vec<Fault>,
    /// What is allowed but unwise.
    pub(super) warnings: Vec<Fault>,
}

/// Reads everything. A file that is not YAML is the only fault then.
pub(super) fn read(inputs: &Inputs) -> Result<Read, Vec<Fault>> {
    let [source, text] = &inputs.file;
    let tree = tree::parse(text).map_err(|error| {
        let problem = format!("not valid YAML: {}", error.reason);
        vec![Fault { source: source.clone(), pos: Some(error.pos), key: String::new(), problem }]
    })?;
    let dotenv_source = inputs.dotenv.as_ref().map_or_else(String::new, |dotenv| dotenv.source.clone());
    let values = Values { sources: [source.clone(), dotenv_source], ..Values::default() };
    let mut reader = Reader { values, faults: Vec::new(), warnings: Vec::new() };
    reader.values.sections.insert(String::new(), tree.pos);
    reader.section("", "", &tree);
    if let (Some(name), 0) = (inputs.offline, reader.values.count("accounts")) {
        reader.values.lists.insert("accounts".to_owned(), 1);
        let row = schema::find("accounts[].name").expect("the schema has it");
        reader.take("accounts[0].name".to_owned(), row, Origin::Default, parse_text(row, name, false).map(Some));
    }
    let key = reader.variables(inputs);
    reader.sets(&inputs.sets);
    reader.defaults();
    reader.open_secrets(key, inputs.offline.is_some());
    let Reader { values, faults, warnings } = reader;
    Ok(Read { values, faults, warnings })
}

struct Reader {
    values: Values,
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
}

impl Reader {
    fn fault(&mut self, origin: &Origin, key: &str, problem: String) {
        let (source, pos) = self.values.place(origin);
        self.faults.push(Fault { source, pos, key: key.to_owned(), problem });
    }

    /// Takes a value, or the fault in its place.
    fn take(&mut self, path: String, row: &'static Row, origin: Origin, found: Result<Option<Leaf>, String>) {
        match found {
            Ok(None) => {}
            Ok(leaf) => {
                self.values.refused.remove(&path);
                self.values.settings.insert(path, Setting { row, leaf, origin });
            }
            Err(problem) => {
                self.fault(&origin, &path, problem);
                self.values.refused.insert(path);
            }
        }
    }

    /// `path` has concrete indices, `pattern` has `[]`.
    fn section(&mut self, path: &str, pattern: &str, node: &Node) {
        let entries = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => return,
            _ => {
                let problem = "found a single value or a list, allowed: a section with keys".to_owned();
                self.values.refused.insert(path.to_owned());
                return self.fault(&Origin::File(node.pos), path, problem);
            }
        };
        let mut seen: BTreeMap<&str, Pos> = BTreeMap::new();
        for entry in entries {
            let join = |base: &str| if base.is_empty() { entry.key.clone() } else { format!("{base}.{}", entry.key) };
            let (path, pattern_here) = (join(path), join(pattern));
            if let Some(first) = seen.insert(&entry.key, entry.pos) {
                let problem = format!("stands twice; the first is in line {}", first.line);
                self.fault(&Origin::File(entry.pos), &path, problem);
                continue;
            }
            if let Some(row) = schema::find(&pattern_here) {
                self.take(path, row, Origin::File(entry.node.pos), parse_node(row, &entry.node));
                continue;
            }
            self.values.sections.insert(path.clone(), entry.pos);
            if schema::is_list(&pattern_here) {
                self.list(&path, &pattern_here, &entry.node);
            } else if schema::is_section(&pattern_here) {
                self.section(&path, &pattern_here, &entry.node);
            } else {
                let problem = unknown(&entry.key, &schema::names_in(pattern));
                self.fault(&Origin::File(entry.pos), &path, problem);
            }
        }
    }

    fn list(&mut self, path: &str, pattern: &str, node: &Node) {
        let items = match &node.value {
            Value::List(items) => items,
            Value::Null => return,
            _ => {
                let problem = "found no list, allowed: a list (items begin with `- `)".to_owned();
                self.values.refused.insert(path.to_owned());
                return self.fault(&Origin::File(node.pos), path, problem);
            }
        };
        self.values.lists.insert(path.to_owned(), items.len());
        for (at, item) in items.iter().enumerate() {
            self.values.sections.insert(format!("{path}[{at}]"), item.pos);
            self.section(&format!("{path}[{at}]"), &format!("{pattern}[]"), item);
        }
    }

    /// Takes `.env` and the process's variables; the key that decrypts, with where it came from.
    fn variables(&mut self, inputs: &Inputs) -> Option<(Origin, String)> {
        let names = self.names();
        let mut key = None;
        if let Some(file) = &inputs.dotenv {
            let (variables, faults) = dotenv::parse(&file.text);
            for (line, problem) in faults {
                self.fault(&Origin::DotEnv(line), "", problem);
            }
            let mut secret = None;
            for variable in variables.into_iter().filter(|variable| variable.name.starts_with("QCAT_")) {
                let holds = names.get(&variable.name).is_some_and(|(_, row)| row.is_secret());
                if secret.is_none() && (holds || variable.name == ENCRYPTION_KEY) {
                    secret = Some(variable.line);
                }
                self.variable(&names, Origin::DotEnv(variable.line), variable.name, variable.value, &mut key);
            }
            self.check_mode(file.open_to_others, secret);
        }
        for (name, value) in &inputs.environment {
            self.variable(&names, Origin::Environment(name.clone()), name.clone(), value.clone(), &mut key);
        }
        key
    }

    /// Variables by name. A name that two keys share is a fault: it could not be told which of them is meant.
    fn names(&mut self) -> BTreeMap<String, (Key, &'static Row)> {
        let mut names: BTreeMap<String, (Key, &'static Row)> = BTreeMap::new();
        let mut told = BTreeSet::new();
        for row in schema::rows() {
            for key in self.values.keys(row) {
                let Some(name) = key.variable() else { continue };
                let Key { path, dotted } = key.clone();
                // Items of the same name are told of elsewhere.
                let Some((other, _)) =
                    names.insert(name.clone(), (key, row)).filter(|(other, _)| other.dotted != dotted)
                else {
                    continue;
                };
                let item = path.split_once(']').map_or(path.as_str(), |(item, _)| item);
                if told.insert(item.to_owned()) {
                    let problem = format!("shares the variable {name} with {}: rename one of the two", other.path);
                    let fault = self.values.fault(&[&format!("{item}].name")], problem);
                    self.faults.push(fault);
                }
            }
        }
        names
    }

    fn variable(
        &mut self,
        names: &BTreeMap<String, (Key, &'static Row)>,
        origin: Origin,
        name: String,
        value: String,
        key: &mut Option<(Origin, String)>,
    ) {
        match names.get(&name) {
            Some((target, row)) => {
                self.take(target.path.clone(), row, origin, parse_text(row, &value, false).map(Some));
            }
            None if name == ENCRYPTION_KEY => *key = Some((origin, value)),
            None if OTHER_VARIABLES.contains(&name.as_str()) => {}
            None => {
                let known: Vec<&str> = names.keys().map(String::as_str).chain(OTHER_VARIABLES).collect();
                let problem = unknown(&name, &known);
                let (source, pos) = self.values.place(&origin);
                let source = if pos.is_none() { "environment".to_owned() } else { source };
                self.faults.push(Fault { source, pos, key: name, problem });
            }
        }
    }

    fn check_mode(&mut self, open_to_others: bool, secret: Option<usize>) {
        if !open_to_others {
            return;
        }
        let problem = "found a file that others than its owner may open; allowed: mode 0600".to_owned();
        match secret {
            Some(line) => self.fault(&Origin::DotEnv(line), "", format!("{problem}, since it holds a secret")),
            None => {
                let fault = Fault { source: self.values.sources[1].clone(), pos: None, key: String::new(), problem };
                self.warnings.push(fault);
            }
        }
    }

    /// `key=value` of the command line, the key as in the file, a list item by its name or number.
    fn sets(&mut self, sets: &[String]) {
        let mut known: BTreeMap<String, (String, &'static Row)> = BTreeMap::new();
        for row in schema::rows() {
            for key in self.values.keys(row).into_iter().filter(|key| key.variable().is_some()) {
                known.insert(key.path.clone(), (key.path.clone(), row));
                known.insert(key.dotted, (key.path, row));
            }
        }
        for set in sets {
            let Some((key, value)) = set.split_once('=') else {
                let problem = "found no `=`, allowed: --set KEY=VALUE".to_owned();
                self.fault(&Origin::CommandLine, "", problem);
                continue;
            };
            match known.get(key) {
                Some((path, row)) if row.is_secret() => {
                    let problem = "is a secret: everybody on the machine can read a command line".to_owned();
                    self.fault(&Origin::CommandLine, path, problem);
                }
                Some((path, row)) => {
                    self.take(path.clone(), row, Origin::CommandLine, parse_text(row, value, false).map(Some));
                }
                None => {
                    let known: Vec<&str> = known.keys().map(String::as_str).collect();
                    self.fault(&Origin::CommandLine, key, unknown(key, &known));
                }
            }
        }
    }

    fn defaults(&mut self) {
        for row in schema::rows() {
            for Key { path, .. } in self.values.keys(row) {
                if self.values.settings.contains_key(&path) {
                    continue;
                }
                let leaf = match row.default {
                    None if !self.values.refused.contains(&path) => {
                        let problem = format!("is missing and has no default: {}", row.doc);
                        let fault = self.values.fault(&[&path], problem);
                        self.faults.push(fault);
                        self.values.refused.insert(path.clone());
                        None
                    }
                    None | Some("") => None,
                    Some(text) => {
                        Some(parse_text(row, text, false).expect("defaults of the schema satisfy their own rows"))
                    }
                };
                self.values.settings.insert(path, Setting { row, leaf, origin: Origin::Default });
            }
        }
    }

    /// Decrypts what is encrypted, and warns of what is not.
    fn open_secrets(&mut self, key: Option<(Origin, String)>, offline: bool) {
        let production = matches!(self.values.get("app.environment"), Some(Leaf::Text(text)) if text == "production");
        let key = key.map(|(origin, text)| (EncryptionKey::parse(&text), origin));
        if let Some((Err(error), origin)) = &key {
            let (source, pos) = self.values.place(origin);
            self.faults.push(Fault { source, pos, key: ENCRYPTION_KEY.to_owned(), problem: error.to_string() });
        }
        let mut settings = std::mem::take(&mut self.values.settings);
        for (path, setting) in &mut settings {
            let Some(Leaf::Secret(secret)) = &setting.leaf else { continue };
            if !secret.is_encrypted() {
                if production && matches!(setting.origin, Origin::File(_)) {
                    let (source, pos) = self.values.place(&setting.origin);
                    let problem = "a secret in clear in a production file: encrypt it (`qcat encrypt`)".to_owned();
                    self.warnings.push(Fault { source, pos, key: path.clone(), problem });
                }
                continue;
            }
            let opened = match &key {
                _ if offline => None,
                Some((Ok(key), _)) => Some(secret.opened(key, setting.row)),
                // Told already, once for all.
                Some((Err(_), _)) => None,
                None => Some(Err(format!("is encrypted, and {ENCRYPTION_KEY} is not set"))),
            };
            setting.leaf = match opened {
                Some(Ok(leaf)) => Some(leaf),
                Some(Err(problem)) => {
                    self.fault(&setting.origin, path, problem);
                    self.values.refused.insert(path.clone());
                    None
                }
                None => {
                    self.values.refused.insert(path.clone());
                    None
                }
            };
        }
        self.values.settings = settings;
    }
}

impl Secret {
    fn is_encrypted(&self) -> bool {
        self.expose().starts_with(qcat_io::secret::enc::MARK)
    }

    fn opened(&self, key: &EncryptionKey, row: &Row) -> Result<Leaf, String> {
        let plain = key.decrypt(self.expose()).map_err(|error| error.to_string())?;
        let plain = Secret::from(plain);
        if plain.is_encrypted() {
            return Err("was encrypted twice".to_owned());
        }
        parse_text(row, plain.expose(), false)
    }
}
