//! A configuration read anew while the daemon runs: what takes effect, what has to wait.

use super::Config;
use super::value::Leaf;
use super::yaml;
use std::collections::BTreeSet;

/// What differs between two configurations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reload {
    /// Keys whose new value takes effect at once.
    pub changed_now: Vec<Change>,
    /// Keys whose new value needs a restart.
    pub needs_restart: Vec<String>,
}

/// A key with its new value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// Its new value as text.
    pub value: String,
}

/// Compares the configuration that runs with the one that was read anew. Items of lists are compared by their names.
pub fn reload(old: &Config, new: &Config) -> Reload {
    let mut reload = Reload::default();
    let by_name = |config: &Config| -> Vec<(String, String)> {
        let keys = super::schema::rows().flat_map(|row| config.values.keys(row));
        keys.map(|key| (key.dotted, key.path)).collect()
    };
    let (old_keys, new_keys) = (by_name(old), by_name(new));
    let mut told = BTreeSet::new();
    for (dotted, _) in old_keys.iter().chain(&new_keys) {
        let leaf = |config: &'_ Config, keys: &[(String, String)]| -> Option<Leaf> {
            let (_, path) = keys.iter().find(|(name, _)| name == dotted)?;
            config.values.get(path).cloned()
        };
        let (before, after) = (leaf(old, &old_keys), leaf(new, &new_keys));
        if before == after || !told.insert(dotted.clone()) {
            continue;
        }
        let reloadable = super::schema::find(dotted).is_some_and(|row| row.reloadable);
        match after {
            Some(leaf) if reloadable => {
                reload.changed_now.push(Change { key: dotted.clone(), value: yaml::value(&leaf) });
            }
            _ => reload.needs_restart.push(dotted.clone()),
        }
    }
    reload
}
