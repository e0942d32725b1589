//! Numbers as they are sent: in their shortest exact form. Integers are as they were, there are no
//! zeros behind a point, and powers of ten are written out up to 21 digits.

use std::borrow::Cow;

const ZEROS: &str = "000000000000000000000";

/// The shortest exact form of a JSON number.
pub(super) fn shortest(text: &str) -> Cow<'_, str> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    if digits != "0" && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Cow::Borrowed(text);
    }
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = if fraction.is_empty() { Cow::Borrowed(whole) } else { Cow::Owned([whole, fraction].concat()) };
    let significant = all.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Cow::Borrowed("0");
    }
    // value = 0.<significant> * 10^point
    let leading = all.len() - all.trim_start_matches('0').len();
    let Some(point) = exponent
        .parse::<i64>()
        .ok()
        .and_then(|exponent| exponent.checked_add(whole.len() as i64 - leading as i64))
    else {
        return Cow::Borrowed(text);
    };
    let length = significant.len() as i64;
    let zeros = |count: i64| {
        let count = usize::try_from(count).unwrap_or_default();
        // Nearly always; the others are integers with a point, of any length.
        ZEROS.get(..count).map_or_else(|| Cow::Owned("0".repeat(count)), Cow::Borrowed)
    };
    let mut out = String::with_capacity(text.len() + 4);
    out.push_str(sign);
    match point {
        1.. if point >= length && (point <= 21 || exponent == "0") => {
            out.push_str(significant);
            out.push_str(&zeros(point - length));
        }
        1.. if point < length => {
            let (whole, fraction) = significant.split_at(point as usize);
            out.push_str(whole);
            out.push('.');
            out.push_str(fraction);
        }
        -20..=0 => {
            out.push_str("0.");
            out.push_str(&zeros(-point));
            out.push_str(significant);
        }
        // An exponent at the end of what i64 holds: as it came.
        _ => match point.checked_sub(length) {
            Some(exponent) => out.push_str(&format!("{significant}e{exponent}")),
            None => return Cow::Borrowed(text),
        },
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_in_their_shortest_exact_form() {
        for (text, due) in [
            ("0", "0"),
            ("-0", "0"),
            ("0.0", "0"),
            ("5", "5"),
            ("100", "100"),
            ("-5.50", "-5.5"),
            ("1e2", "100"),
            ("1.5e1", "15"),
            ("1.25e1", "12.5"),
            ("1E+20", "100000000000000000000"),
            ("1E+21", "1e21"),
            ("1e400", "1e400"),
            ("12e400", "12e400"),
            ("0.0000001", "0.0000001"),
            ("1e-7", "0.0000001"),
            ("1e-400", "1e-400"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("10.010", "10.01"),
            ("1e99999999999999999999", "1e99999999999999999999"),
            ("1.234567891e-9223372036854775808", "1.234567891e-9223372036854775808"),
            ("0.10e1", "1"),
            ("1.0e30", "1e30"),
            ("123456789012345678901.2e1", "1234567890123456789012e0"),
        ] {
            assert_eq!(shortest(text), due, "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_integer_is_verbatim(n: i128) {
            let text = n.to_string();
            prop_assert_eq!(shortest(&text).into_owned(), text);
        }

        #[test]
        fn any_exponent_is_judged_without_panic(mantissa in "-?[0-9]{1,4}(\\.[0-9]{1,12})?", exponent: i64) {
            let _ = shortest(&format!("{mantissa}e{exponent}"));
            let _ = shortest(&format!("{mantissa}e{exponent}0"));
        }

        #[test]
        fn a_number_keeps_its_value(f in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL) {
            for text in [format!("{f:e}"), f.to_string()] {
                prop_assert_eq!(shortest(&text).into_owned().parse::<f64>(), Ok(f));
            }
        }
    }
}
