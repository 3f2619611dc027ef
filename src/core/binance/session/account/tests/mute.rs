//! What REST acknowledged has to be heard of on the user stream.

use super::*;

/// A report of the order that `limit(.., n)` places.
fn report_of(script: &mut Script, n: u32) {
    let id = ClientOrderId { epoch: 1, account: ACCOUNT, strategy: crate::id::StrategyIx(1), counter: n };
    let frame = format!(
        r#"{{"e":"ORDER_TRADE_UPDATE","E":1790000000000,"T":1790000000000,"o":{{"s":"BTCUSDT","c":"{id}","S":"BUY","o":"LIMIT","f":"GTC","q":"0.010","p":"61000.0","ap":"0","sp":"0","x":"NEW","X":"NEW","i":{n},"l":"0","z":"0","L":"0","n":"0","T":1790000000000,"t":0,"b":"0","a":"0","m":false,"R":false,"wt":"CONTRACT_PRICE","ot":"LIMIT","ps":"BOTH","cp":false,"rp":"0"}}}}"#
    );
    script.give(Incoming::Frame { link: PRIVATE, bytes: frame.as_bytes() });
}

fn acknowledge(script: &mut Script, id: RequestId, n: u32) {
    let key = ClientOrderId { epoch: 1, account: ACCOUNT, strategy: crate::id::StrategyIx(1), counter: n };
    let body = format!(
        r#"{{"orderId":{n},"symbol":"BTCUSDT","status":"NEW","clientOrderId":"{key}","price":"61000.0","avgPrice":"0","origQty":"0.010","executedQty":"0","cumQuote":"0","timeInForce":"GTC","type":"LIMIT","reduceOnly":false,"closePosition":false,"side":"BUY","positionSide":"BOTH","stopPrice":"0","workingType":"CONTRACT_PRICE","priceProtect":false,"origType":"LIMIT","updateTime":1790000000000}}"#
    );
    script.reply(id, 200, &body);
}

#[test]
fn a_stream_that_says_nothing_of_an_acknowledged_order_is_opened_anew() {
    let mut script = Script::up();
    // The report may come before the answer, or after it: both are well.
    for (n, early) in [(1, true), (2, false)] {
        script.command(n, limit(&script.universe, n));
        let request = script.request();
        if early {
            report_of(&mut script, n as u32);
        }
        acknowledge(&mut script, request.id, n as u32);
        if !early {
            assert!(script.session.confirmations.next_due().is_some());
            report_of(&mut script, n as u32);
        }
        assert_eq!(script.session.confirmations.next_due(), None, "order {n}");
    }
    // What has no effect is not waited for.
    script.command(3, limit(&script.universe, 3));
    let request = script.request();
    script.reply(request.id, 400, r#"{"code":-2019,"msg":"Margin is insufficient."}"#);
    script.command(4, limit(&script.universe, 4));
    let request = script.request();
    script.give(Incoming::Failed { id: request.id, written: true, timed_out: true });
    assert_eq!(script.session.confirmations.next_due(), None);
    script.command(5, limit(&script.universe, 5));
    let request = script.request();
    acknowledge(&mut script, request.id, 5);
    script.told();
    // Words about others do not help.
    report_of(&mut script, 1);
    script.told();
    let due = script.now.plus(Span::from_secs(3));
    script.pass();
    assert_eq!(
        (script.now, script.told()),
        (due, ["note user_stream_mute", "close", "down"].map(String::from).to_vec())
    );
    script.pass();
    script.answer_key();
    script.give(Incoming::LinkUp(PRIVATE));
    assert_eq!(script.told().last().map(String::as_str), Some("up"), "which reconciles");
    assert_eq!(script.session.confirmations.next_due(), None);
}
