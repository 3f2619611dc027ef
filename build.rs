//! Tells the program what it was built by and for. The commit is `QCAT_COMMIT`, if whoever builds sets it.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=QCAT_COMMIT");
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(compiler).arg("--version").output().ok().filter(|output| output.status.success());
    if let Some(version) = said.and_then(|output| String::from_utf8(output.stdout).ok()) {
        println!("cargo::rustc-env=QCAT_RUSTC={}", version.trim());
    }
    if let Ok(target) = std::env::var("TARGET") {
        println!("cargo::rustc-env=QCAT_TARGET={target}");
    }
}
