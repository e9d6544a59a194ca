//! The core schema of YAML 1.2.2 (10.3): what tags and plain scalars mean. `yes`, `no`, `on` and `off` are strings.

use saphyr_parser::{ScalarStyle, Tag};
use serde_json::{Number, Value};

/// How a scalar gets its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Typing {
    /// By the core schema.
    Plain,
    /// Quoted, a block, or tagged as a string.
    Text,
    Null,
    Bool,
    Int,
    Float,
}

/// How a scalar of this style and tag gets its type.
pub(super) fn typing(style: ScalarStyle, tag: Option<&Tag>) -> Result<Typing, String> {
    const TAGS: [(&str, Typing); 5] = [
        ("str", Typing::Text),
        ("null", Typing::Null),
        ("bool", Typing::Bool),
        ("int", Typing::Int),
        ("float", Typing::Float),
    ];
    match (tag, style) {
        (None, ScalarStyle::Plain) => Ok(Typing::Plain),
        (None, _) => Ok(Typing::Text),
        // The non-specific tag; YAML 1.2.2 6.9.1.
        (Some(tag), _) if tag.handle.is_empty() && tag.suffix == "!" || tag.handle == "!" && tag.suffix.is_empty() => {
            Ok(Typing::Text)
        }
        (Some(tag), _) => {
            let known = TAGS.iter().find(|(suffix, _)| is_core(tag, suffix));
            known.map(|(_, typing)| *typing).ok_or_else(|| refused(tag))
        }
    }
}

/// Whether a tag is the one of the core schema that ends in `suffix`.
pub(super) fn is_core(tag: &Tag, suffix: &str) -> bool {
    let whole = |prefix: &str| tag.suffix.strip_prefix(prefix) == Some(suffix);
    (tag.is_yaml_core_schema() && tag.suffix == suffix) || (tag.handle.is_empty() && whole("tag:yaml.org,2002:"))
}

/// The problem with a tag that is not of the core schema.
pub(super) fn refused(tag: &Tag) -> String {
    let Tag { handle, suffix } = tag;
    format!("tag {handle}{suffix} is not supported; only those of the core schema are")
}

/// The value of a scalar; the problem does not quote it.
pub(super) fn typed(text: &str, typing: Typing) -> Result<Value, String> {
    if typing == Typing::Text {
        return Ok(Value::String(text.to_owned()));
    }
    let value = plain(text).map_err(|what| format!("{what} is not supported"))?;
    match (typing, &value) {
        (Typing::Plain | Typing::Text, _)
        | (Typing::Null, Value::Null)
        | (Typing::Bool, Value::Bool(_))
        | (Typing::Float, Value::Number(_)) => Ok(value),
        (Typing::Int, Value::Number(number)) if !number.is_f64() => Ok(value),
        (Typing::Null, _) => Err("tagged as null, and is not".to_owned()),
        (Typing::Bool, _) => Err("tagged as a boolean, and is not".to_owned()),
        (Typing::Int, _) => Err("tagged as an integer, and is not".to_owned()),
        (Typing::Float, _) => Err("tagged as a number, and is not".to_owned()),
    }
}

/// The value of a plain scalar; an error for a number that JSON cannot hold.
pub(super) fn plain(text: &str) -> Result<Value, &'static str> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    if let Some(integer) = integer(text) {
        return integer.map(Value::Number).ok_or("an integer that does not fit into 64 bits");
    }
    if is_float(text) {
        let number = text.parse().ok().and_then(Number::from_f64);
        return number.map(Value::Number).ok_or("a number that is too large");
    }
    if matches!(text.trim_start_matches(['+', '-']), ".inf" | ".Inf" | ".INF")
        || matches!(text, ".nan" | ".NaN" | ".NAN")
    {
        return Err("a number that is not finite");
    }
    Ok(Value::String(text.to_owned()))
}

/// An integer by its form; the inner `None` is one that does not fit.
fn integer(text: &str) -> Option<Option<Number>> {
    for (prefix, radix) in [("0o", 8), ("0x", 16)] {
        let digits = text.strip_prefix(prefix).filter(|rest| !rest.is_empty());
        if let Some(digits) = digits.filter(|rest| rest.chars().all(|c| c.is_digit(radix))) {
            return Some(u64::from_str_radix(digits, radix).ok().map(Number::from));
        }
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !is_digits(digits) {
        return None;
    }
    let fits = text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from));
    Some(fits.ok())
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (text, None),
    };
    let mantissa = match mantissa.split_once('.') {
        Some(("", fraction)) => is_digits(fraction),
        Some((whole, fraction)) => is_digits(whole) && (fraction.is_empty() || is_digits(fraction)),
        None => is_digits(mantissa),
    };
    mantissa && exponent.is_none_or(is_digits)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_scalars_are_typed_by_the_core_schema() {
        for (text, expect) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("Null", json!(null)),
            ("nULL", json!("nULL")),
            ("TRUE", json!(true)),
            ("yes", json!("yes")),
            ("off", json!("off")),
            ("0", json!(0)),
            ("-7", json!(-7)),
            ("+7", json!(7)),
            ("007", json!(7)),
            ("0o17", json!(15)),
            ("0x1F", json!(31)),
            ("0o8", json!("0o8")),
            ("0x", json!("0x")),
            ("0b1", json!("0b1")),
            ("1_000", json!("1_000")),
            ("18446744073709551615", json!(u64::MAX)),
            ("1.5", json!(1.5)),
            ("1.", json!(1.0)),
            (".5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("-1.5E-1", json!(-0.15)),
            (".", json!(".")),
            ("1e", json!("1e")),
            ("e3", json!("e3")),
            ("1.2.3", json!("1.2.3")),
            ("12:30", json!("12:30")),
            ("infinity", json!("infinity")),
            ("NaN", json!("NaN")),
        ] {
            assert_eq!(plain(text), Ok(expect), "{text}");
        }
        for text in ["18446744073709551616", "-9223372036854775809", "0xFFFFFFFFFFFFFFFFF", "1e999", "-.inf", ".NaN"] {
            assert!(plain(text).is_err(), "{text}");
        }
    }
}
