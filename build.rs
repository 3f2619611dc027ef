//! Tells the program what it was built from: `QCAT_RUSTC` by asking the compiler; `QCAT_COMMIT` is set by whoever builds a release.
//! Git is not asked: what it says of a working tree is old with the next commit, or makes every commit a build.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=QCAT_COMMIT");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(rustc).arg("--version").output().ok().filter(|output| output.status.success());
    let version = output.and_then(|output| String::from_utf8(output.stdout).ok());
    if let Some(version) = version.as_deref().and_then(|text| text.lines().next()) {
        println!("cargo:rustc-env=QCAT_RUSTC={version}");
    }
}
