//! `--print-config`: the effective values, secrets masked, each with where it came from.

use super::Config;
use super::schema;
use super::values::Origin;
use super::yaml::{self, Outline};

/// All values as YAML that can be read again, but for the secrets.
pub fn effective(config: &Config) -> String {
    let mut outline = Outline::default();
    for row in schema::rows() {
        for key in config.values.keys(row) {
            let Some(setting) = config.values.settings.get(&key.path) else { continue };
            let value = setting.leaf.as_ref().map(yaml::value);
            let told = match (&setting.origin, &value) {
                (Origin::Default, None) => "unset".to_owned(),
                (origin, _) => config.values.told(origin),
            };
            outline.key(&key.path, &[], value.as_deref(), &told);
        }
    }
    outline.finish()
}
