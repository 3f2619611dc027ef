//! Tokens as PyJWT sees them: what a login gives can be read by anybody with the key, and what was not made by that key, or says
//! something else, opens nothing.
#![allow(clippy::unwrap_used)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/running.rs"]
mod running;

use daemon::on_local_set;
use running::{KEY, Running, python, said, tool};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// Answers of `/api/v1/auth/me` to tokens that are not good.
const REFUSED: [(&str, &str); 16] = [
    ("expired", "token_expired"),
    ("foreign_key", "token_invalid"),
    ("no_key", "token_invalid"),
    ("none", "token_invalid"),
    ("hs384", "token_invalid"),
    ("hs512", "token_invalid"),
    ("other_claims", "token_invalid"),
    ("no_signature", "token_invalid"),
    ("other_issuer", "token_invalid"),
    ("other_user", "token_invalid"),
    ("other_version", "token_invalid"),
    ("no_end", "token_invalid"),
    ("no_user", "token_invalid"),
    ("no_version", "token_invalid"),
    ("long_local", "token_invalid"),
    ("text", "token_invalid"),
];

#[test]
fn pyjwt_reads_the_token_of_a_login_and_none_of_its_forgeries_is_taken() {
    on_local_set(async {
        let exchange = daemon::exchange(42).await;
        let user = |config: &Path| running::add_user(config, "tess", "trader");
        let daemon = Running::start(|journal| daemon::configuration(&exchange, journal), user).await;
        let given = json!({"url": format!("http://{}", daemon.address()), "key": KEY, "name": "Tess",
            "password": running::PASSWORD});
        let input = daemon.config.with_file_name("given.json");
        std::fs::write(&input, given.to_string()).unwrap();
        let mut script = Command::new(python("python"));
        script.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/tokens.py"));
        script.stdin(std::fs::File::open(&input).unwrap());
        let output = tool(script).await;
        assert!(output.status.success(), "{}", said(&output));
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();

        assert_eq!(found["header"], json!({"alg": "HS256", "typ": "JWT"}));
        let claims = &found["claims"];
        assert_eq!(
            (&claims["sub"], &claims["role"], &claims["iss"]),
            (&json!("tess"), &json!("trader"), &json!("qcat"))
        );
        let time = |name: &str| claims[name].as_u64().unwrap();
        assert_eq!(time("exp") - time("iat"), 24 * 3_600, "{claims}");
        assert!(claims["jti"].as_str().is_some_and(|id| id.len() >= 16), "{claims}");

        let answers = found["answers"].as_object().unwrap();
        for good in ["given", "made"] {
            assert_eq!(answers[good], json!([200, "trader"]), "{good}");
        }
        for (case, code) in REFUSED {
            assert_eq!(answers[case], json!([401, code]), "{case}");
        }
        assert_eq!(answers.len(), REFUSED.len() + 2);
    });
}
