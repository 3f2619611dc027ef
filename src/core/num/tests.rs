//! Tables and properties of numbers.

use super::*;
use proptest::prelude::*;

#[test]
fn text_is_read_exactly_or_refused() {
    assert_eq!(parse_i64(b"61800.30", 8), Ok(6_180_030_000_000));
    assert_eq!(parse_i64(b"-0.00500", 3), Ok(-5));
    assert_eq!(parse_i64(b".5", 1), Ok(5));
    assert_eq!(parse_i64(b"5.", 1), Ok(50));
    assert_eq!(parse_i64(b"0.0000000113", 10), Ok(113));
    assert!(matches!(parse_i64(b"0.0000000113", 8), Err(NumError::TooFine { .. })));
    for bad in [&b""[..], b".", b"-", b"1e5", b"NaN", b"1.2.3", b" 1", b"+1", b"0x1"] {
        assert!(matches!(parse_i64(bad, 8), Err(NumError::Malformed(_))), "{bad:?}");
    }
    assert_eq!(parse_i64(b"99999999999", 12), Err(NumError::Overflow));
    assert_eq!(parse_mantissa(&[b'9'; 60], 0), Err(NumError::Overflow));
}

#[test]
fn text_is_written_with_the_decimals_asked_for() {
    let text = |mantissa, scale, decimals| {
        let mut out = String::new();
        write_mantissa(&mut out, mantissa, scale, decimals);
        out
    };
    assert_eq!(text(6_180_030_000_000, 8, 2), "61800.30");
    assert_eq!(text(6_180_000_000_000, 8, 0), "61800");
    assert_eq!(text(-5, 3, 0), "-0.005");
    assert_eq!(text(5, 0, 3), "5.000");
    assert_eq!(text(i128::MIN, 38, 0), "-1.70141183460469231731687303715884105728");
    assert_eq!(text(0, 8, 2), "0.00");
    // What stands there already does not matter.
    let mut query = String::from("price=0.5&quantity=");
    write_mantissa(&mut query, 7, 0, 1);
    assert_eq!(query, "price=0.5&quantity=7.0");
    assert_eq!(text(15, 1, 3), "1.500");
}

#[test]
fn rounding_has_a_direction() {
    assert_eq!(div_round(7, 2, Rounding::Down), 3);
    assert_eq!(div_round(-7, 2, Rounding::Down), -4);
    assert_eq!(div_round(-7, 2, Rounding::Up), -3);
    assert_eq!(div_round(7, 2, Rounding::Nearest), 4);
    assert_eq!(div_round(-7, 2, Rounding::Nearest), -4);
    assert_eq!(div_round(-5, 4, Rounding::Nearest), -1);
}

#[test]
fn two_assets_are_never_added() {
    let (usdt, bnb) = (Money::units(AssetIx(0), 1), Money::units(AssetIx(1), 1));
    assert_eq!(usdt.checked_add(bnb), Err(NumError::AssetMismatch(AssetIx(0), AssetIx(1))));
    assert_eq!(usdt.checked_add(usdt).map(Money::mantissa), Ok(2 * Money::UNIT));
}

#[test]
fn money_is_text_in_json_and_a_number_in_the_journal() {
    let money = Money::new(AssetIx(1), -Money::UNIT * 425 - 5);
    let json = serde_json::to_value(money).expect("serialisable");
    assert_eq!(json, serde_json::json!({"asset": 1, "amount": "-425.000000000000000005"}));
    assert_eq!(serde_json::from_value::<Money>(json).expect("readable"), money);
    let bytes = postcard::to_allocvec(&money).expect("serialisable");
    assert_eq!(bytes, postcard::to_allocvec(&(1u16, money.mantissa())).expect("serialisable"));
    assert_eq!(postcard::from_bytes::<Money>(&bytes), Ok(money));
}

proptest! {
    #[test]
    fn text_and_back(mantissa in any::<i64>(), scale in 0u8..=18, decimals in 0u8..=20) {
        let mut text = String::new();
        write_mantissa(&mut text, mantissa as i128, scale, decimals);
        prop_assert_eq!(parse_i64(text.as_bytes(), scale), Ok(mantissa));
        prop_assert_eq!(parse_mantissa(text.as_bytes(), scale), Ok(mantissa as i128));
    }

    #[test]
    fn fast_and_exact_readers_agree(text in "-?[0-9]{0,20}(\\.[0-9]{0,12})?", scale in 0u8..=12) {
        let exact = parse_mantissa(text.as_bytes(), scale).and_then(|v| i64::try_from(v).map_err(|_| NumError::Overflow));
        prop_assert_eq!(parse_i64(text.as_bytes(), scale), exact);
    }

    #[test]
    fn nothing_is_accepted_silently(text in "\\PC{0,24}") {
        // Whatever is accepted prints back to the same number.
        if let Ok(value) = parse_mantissa(text.as_bytes(), 12) {
            let printed = mantissa_to_string(value, 12);
            prop_assert_eq!(parse_mantissa(printed.as_bytes(), 12), Ok(value));
        }
    }

    #[test]
    fn a_product_with_a_rate_is_within_one_unit(amount in -(1i128 << 100)..(1i128 << 100), rate in -20_000_000_000i64..20_000_000_000) {
        let product = Money::new(AssetIx(0), amount).times(Rate::from_mantissa(rate), Rounding::Down).expect("in range");
        let unit = pow10(Rate::SCALE);
        let (q, r) = (amount / unit, amount % unit);
        let exact_times_unit_low = r * rate as i128;
        let difference = (product.mantissa() - q * rate as i128) * unit - exact_times_unit_low;
        prop_assert!(difference <= 0 && -difference < unit);
    }
}
