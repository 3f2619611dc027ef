//! The demonstration, as a newcomer runs it: both strategies trade, and after a pause and a drain the books agree to the last digit.

use std::process::Command;

fn demo(more: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_qcat"))
        .args(["demo", "--seconds", "55", "--must-trade"])
        .args(more)
        .output()
        .expect("the binary runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "exit {:?}\n{out}\n{err}", output.status.code());
    assert!(out.contains("agree to the last digit"), "{out}\n{err}");
    // Both books are printed, and every line of the tables fits the narrowest of terminals.
    for what in ["fills ", "position BTCUSDT ", "fees USDT ", "wallet USDT "] {
        let line = out.lines().find(|line| line.starts_with(what) && !line.contains(':'));
        let [here, there] =
            line.map(|line| &line[what.len()..]).map(|l| l.split_whitespace()).expect(what).collect::<Vec<_>>()[..]
        else {
            panic!("{line:?}")
        };
        assert_eq!(here, there, "{what}");
    }
    let table = out.lines().filter(|line| !line.starts_with('!'));
    let wide: Vec<&str> = table.filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
}

#[test]
fn both_strategies_trade_and_the_books_agree() {
    demo(&[]);
}

#[test]
fn the_same_over_tls() {
    demo(&["--tls", "--seed", "9"]);
}
