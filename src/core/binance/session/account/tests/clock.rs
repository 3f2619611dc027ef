//! The clocks may differ by so much.

use super::*;

#[test]
fn a_clock_that_is_off_keeps_the_account_untrusted_until_it_agrees() {
    let mut script = Script::up();
    for (ahead, took, told) in [
        (-5_001, 0, vec!["note clock_off", "down"]),
        (9_000, 0, vec![]),
        (-5_000, 0, vec!["note clock_agrees", "up"]),
        // It may be the way of the question.
        (5_500, 1_000, vec![]),
        (6_001, 1_000, vec!["note clock_off", "down"]),
        (0, 0, vec!["note clock_agrees", "up"]),
    ] {
        script.pass();
        let request = script.request();
        let server = script.now.plus(Span::from_millis(took / 2 + ahead)).millis();
        script.now = script.now.plus(Span::from_millis(took));
        script.reply(request.id, 200, &format!(r#"{{"serverTime":{server}}}"#));
        assert_eq!(script.told(), told, "{ahead} ms ahead, after {took} ms");
    }
    // Off from the start: the stream opens and is not said to be up.
    let mut script = Script::new();
    script.start();
    script.answer_time(7_000);
    script.answer_key();
    script.give(Incoming::LinkUp(PRIVATE));
    assert!(!script.told().contains(&"up".to_owned()));
}

#[test]
fn a_clock_error_measures_anew() {
    let mut script = Script::up();
    script.command(1, limit(&script.universe, 1));
    let request = script.request();
    script.reply(request.id, 400, r#"{"code":-1021,"msg":"Timestamp for this request is outside of the recvWindow."}"#);
    assert!(script.told()[0].starts_with("1 Rejected"));
    script.pass();
    script.answer_time(5_000);
    assert_eq!(script.session.offset().expect("measured").span(), Span::from_secs(5));
}
