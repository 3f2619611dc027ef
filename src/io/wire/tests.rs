use super::arbitrary::Arbitrary;
use super::samples::{decision_samples, input_samples};
use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// Writes in the wire form, reads back, and compares both the value and the bytes of the derived form.
fn there_and_back<W, D>(domain: &D)
where
    W: Frozen<D> + Serialize + DeserializeOwned,
    D: PartialEq + std::fmt::Debug,
{
    let mut bytes = Vec::new();
    write::<W, D>(domain, &mut bytes).unwrap();
    assert_eq!(&read::<W, W, W, D>(VERSION, &bytes).unwrap(), domain);
    // What is written without building the frozen struct is what the frozen struct would have written.
    let form: W = parse(&bytes).unwrap();
    assert_eq!(postcard::to_allocvec(&form).unwrap(), bytes);
}

#[test]
fn arbitrary_values_of_every_variant_come_back() {
    let mut arbitrary = Arbitrary::default();
    for seed in 0..6_000 {
        there_and_back::<v3::event::Input, Input>(&arbitrary.make(seed));
        there_and_back::<Vec<v1::event::Decision>, Vec<Decision>>(&arbitrary.make(seed));
        there_and_back::<v1::event::Station, Station>(&arbitrary.make(seed));
    }
    for seed in 0..200 {
        there_and_back::<Vec<v1::setup::Definition>, Vec<Definition>>(&arbitrary.make(seed));
        there_and_back::<v2::setup::EngineConfig, EngineConfig>(&arbitrary.make(seed));
    }
    for (name, (variants, seen)) in &arbitrary.seen {
        assert_eq!(seen.len(), *variants, "{name}: only {seen:?} came up");
    }
    assert!(arbitrary.seen.len() > 40, "{:?}", arbitrary.seen.keys());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 0u8..5) {
        let _ = read_input(version, &bytes);
        let _ = read_decisions(version, &bytes);
        let _ = read_definitions(version, &bytes);
        let _ = read_configuration(version, &bytes);
    }

    #[test]
    fn cut_and_lengthened_payloads_are_refused(seed: u64, cut: prop::sample::Index) {
        let input: Input = Arbitrary::default().make(seed);
        let mut bytes = Vec::new();
        write_input(&input, &mut bytes).unwrap();
        prop_assert!(read_input(VERSION, &bytes[..cut.index(bytes.len())]).is_err());
        bytes.push(0);
        prop_assert!(read_input(VERSION, &bytes).is_err());
        prop_assert_eq!(read_input(VERSION + 1, &bytes), Err(WireError::Version(VERSION + 1)));
    }
}

fn stored(version: u8) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/data/wire/v{version}"))
}

/// The version in whose folder a sample is stored: the one that wrote it first, or wrote it otherwise last.
fn version_of(name: &str) -> u8 {
    match name {
        "input-configuration.bin" => 2,
        _ if name.starts_with("input-asked-") => 3,
        _ => 1,
    }
}

/// Name, expected value as text for the message, and bytes of each sample.
fn samples() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for (name, input) in input_samples() {
        let mut bytes = Vec::new();
        write_input(&input, &mut bytes).unwrap();
        all.push((format!("input-{name}.bin"), bytes));
    }
    for (name, decisions) in decision_samples() {
        let mut bytes = Vec::new();
        write_decisions(&decisions, &mut bytes).unwrap();
        all.push((format!("decisions-{name}.bin"), bytes));
    }
    all
}

fn read_stored(version: u8, name: &str) -> Vec<u8> {
    fs::read(stored(version).join(name)).unwrap_or_else(|e| panic!("version {version}, {name}: {e}"))
}

#[test]
fn stored_samples_of_every_version_are_read_as_what_they_were() {
    for (name, input) in input_samples() {
        let name = format!("input-{name}.bin");
        for version in version_of(&name)..=VERSION {
            let bytes = read_stored(version_of(&name), &name);
            assert_eq!(read_input(version, &bytes).unwrap(), input, "version {version}, {name}");
        }
        if version_of(&name) == 2 {
            assert_eq!(read_input(1, &read_stored(1, &name)).unwrap(), input, "version 1, {name}");
        }
    }
    for (name, decisions) in decision_samples() {
        let bytes = read_stored(1, &format!("decisions-{name}.bin"));
        (1..=VERSION).for_each(|version| assert_eq!(read_decisions(version, &bytes).unwrap(), decisions, "{name}"));
    }
}

/// A version differs from the one before where it is stored apart, and nowhere else.
#[test]
fn samples_are_written_as_they_are_stored() {
    let mut known: BTreeMap<u8, BTreeSet<String>> = BTreeMap::new();
    for (name, written) in samples() {
        assert_eq!(read_stored(version_of(&name), &name), written, "{name}");
        known.entry(version_of(&name)).or_default().insert(name);
    }
    known.entry(1).or_default().insert("input-configuration.bin".to_owned());
    for (version, mut names) in known {
        names.insert("schema.txt".to_owned());
        let entries = fs::read_dir(stored(version)).unwrap();
        let on_disk: BTreeSet<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(on_disk, names, "version {version}");
    }
}

/// White space differs between compilers, so only that between words is kept, and a line a type.
fn schema(of: &[&str]) -> String {
    let words: Vec<&str> = of.iter().flat_map(|text| text.split_whitespace()).collect();
    let mut schema = String::new();
    for word in words {
        match word {
            // A form that is only read any more is what it was.
            "earlier" => continue,
            "struct" | "enum" if !schema.is_empty() => schema.push('\n'),
            _ if schema.ends_with(char::is_alphanumeric) && word.starts_with(char::is_alphanumeric) => schema.push(' '),
            _ => {}
        }
        schema.push_str(word);
    }
    schema + "\n"
}

#[test]
fn every_version_is_frozen() {
    for (version, of) in [(1, &v1::SCHEMA[..]), (2, &v2::SCHEMA[..]), (3, &v3::SCHEMA[..])] {
        let frozen = fs::read_to_string(stored(version).join("schema.txt")).unwrap();
        assert_eq!(
            frozen,
            schema(of),
            "a stored form changed: once released, add a version and a step of the upcast chain instead"
        );
    }
}

#[test]
fn samples_hold_every_variant_of_inputs_and_decisions() {
    // The first byte of an input, and the first one behind the count of decisions, is the variant.
    let variants = |prefix: &str, at: usize| -> BTreeSet<u8> {
        samples().iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, bytes)| bytes[at]).collect()
    };
    let mut arbitrary = Arbitrary::default();
    (0..500).for_each(|seed| drop(arbitrary.make::<(Input, Decision)>(seed)));
    assert_eq!(variants("input-", 0).len(), arbitrary.seen["Input"].0);
    assert_eq!(variants("decisions-", 1).len(), arbitrary.seen["Decision"].0);
}

/// Stores samples that are not there yet; never changes one: `cargo test -p qcat-io -- --ignored store_new_samples`.
#[test]
#[ignore = "writes into the repository"]
fn store_new_samples() {
    fs::create_dir_all(stored(VERSION)).unwrap();
    let newest = samples().into_iter().filter(|(name, _)| version_of(name) == VERSION);
    for (name, bytes) in newest.chain([("schema.txt".to_owned(), schema(&v3::SCHEMA).into_bytes())]) {
        let path = stored(VERSION).join(name);
        if !path.exists() {
            fs::write(path, bytes).unwrap();
        }
    }
}
