use super::arbitrary::Arbitrary;
use super::samples::{decision_samples, input_samples};
use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
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
    assert_eq!(&read::<W, W, D>(VERSION, &bytes).unwrap(), domain);
    // What is written without building the frozen struct is what the frozen struct would have written.
    let form: W = parse(&bytes).unwrap();
    assert_eq!(postcard::to_allocvec(&form).unwrap(), bytes);
}

#[test]
fn arbitrary_values_of_every_variant_come_back() {
    let mut arbitrary = Arbitrary::default();
    for seed in 0..6_000 {
        there_and_back::<v2::event::Input, Input>(&arbitrary.make(seed));
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
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 0u8..4) {
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

/// What version 2 writes otherwise than version 1.
const CHANGED: [&str; 1] = ["input-configuration.bin"];

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

#[test]
fn stored_samples_of_version_1_are_read_as_what_they_were() {
    let bytes = |name: String| fs::read(stored(1).join(&name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    for (name, input) in input_samples() {
        assert_eq!(read_input(1, &bytes(format!("input-{name}.bin"))).unwrap(), input, "{name}");
    }
    for (name, decisions) in decision_samples() {
        assert_eq!(read_decisions(1, &bytes(format!("decisions-{name}.bin"))).unwrap(), decisions, "{name}");
    }
    let on_disk: BTreeSet<String> =
        fs::read_dir(stored(1)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    let mut known: BTreeSet<String> = samples().into_iter().map(|(name, _)| name).collect();
    known.insert("schema.txt".to_owned());
    assert_eq!(on_disk, known);
}

/// Version 2 differs from version 1 where it is stored apart, and nowhere else.
#[test]
fn stored_samples_of_version_2_are_read_as_what_they_were() {
    for (name, written) in samples() {
        let version = if CHANGED.contains(&name.as_str()) { 2 } else { 1 };
        assert_eq!(fs::read(stored(version).join(&name)).unwrap(), written, "{name}");
    }
    for (name, input) in input_samples() {
        let name = format!("input-{name}.bin");
        if CHANGED.contains(&name.as_str()) {
            assert_eq!(read_input(2, &fs::read(stored(2).join(&name)).unwrap()).unwrap(), input, "{name}");
        }
    }
    assert_eq!(fs::read_dir(stored(2)).unwrap().count(), CHANGED.len() + 1);
}

/// White space differs between compilers, so only that between words is kept, and a line a type.
fn schema(of: &[&str]) -> String {
    let words: Vec<&str> = of.iter().flat_map(|text| text.split_whitespace()).collect();
    let mut schema = String::new();
    for word in words {
        match word {
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
    for (version, of) in [(1, &v1::SCHEMA[..]), (2, &v2::SCHEMA[..])] {
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
    let changed = samples().into_iter().filter(|(name, _)| CHANGED.contains(&name.as_str()));
    for (name, bytes) in changed.chain([("schema.txt".to_owned(), schema(&v2::SCHEMA).into_bytes())]) {
        let path = stored(VERSION).join(name);
        if !path.exists() {
            fs::write(path, bytes).unwrap();
        }
    }
}
