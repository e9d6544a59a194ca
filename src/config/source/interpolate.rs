//! `${VAR}`, `${VAR:-default}`, `${VAR:?message}` and `$$` in one string. Not recursive: what a variable holds is not
//! looked at again, and a default is taken as it is written.

/// How many faults of one string are told.
const FAULT_LIMIT: usize = 20;

/// A string with its variables put in. Not `Debug`: it holds what they held.
#[derive(Default)]
pub(super) struct Filled {
    pub(super) text: String,
    /// What came from the environment, for keeping it out of messages.
    pub(super) values: Vec<String>,
}

/// What is wrong in a string.
#[derive(Debug)]
pub(super) struct Fault {
    /// Bytes into the string.
    pub(super) at: usize,
    pub(super) message: String,
}

/// The string with its variables put in; `None` when there is nothing to put in. At most `room` bytes come of it.
pub(super) fn fill(
    text: &str,
    room: usize,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Filled>, Vec<Fault>> {
    if !text.contains("${") && !text.contains("$$") {
        return Ok(None);
    }
    let (mut filled, mut faults, mut at) = (Filled::default(), Vec::new(), 0);
    while let Some((before, rest)) = text.get(at..).and_then(|rest| rest.split_once('$')) {
        filled.text.push_str(before);
        at += before.len();
        if rest.starts_with('$') {
            filled.text.push('$');
            at += 2;
        } else if let Some(inner) = rest.strip_prefix('{') {
            match inner.split_once('}') {
                Some((inner, _)) => {
                    if let Err(message) = put(inner, &mut filled, env) {
                        faults.push(Fault { at, message });
                    }
                    at += inner.len() + 3;
                }
                None => {
                    faults.push(Fault {
                        at,
                        message: "${ without its }; write $${ for the characters themselves".into(),
                    });
                    return Err(faults);
                }
            }
        } else {
            filled.text.push('$');
            at += 1;
        }
        if faults.len() == FAULT_LIMIT {
            return Err(faults);
        }
        if filled.text.len() > room {
            faults.push(Fault { at, message: "too much text after the variables are put in".into() });
            return Err(faults);
        }
    }
    filled.text.push_str(text.get(at..).unwrap_or_default());
    if faults.is_empty() { Ok(Some(filled)) } else { Err(faults) }
}

/// Puts in what `inner`, the text between `${` and `}`, stands for.
fn put(inner: &str, filled: &mut Filled, env: &dyn Fn(&str) -> Option<String>) -> Result<(), String> {
    let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
    let (name, rest) = inner.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("${ without the name of a variable; write $${ for the characters themselves".into());
    }
    let operation = match (rest.is_empty(), rest.strip_prefix(":-"), rest.strip_prefix(":?")) {
        (true, ..) => Operation::Need,
        (_, Some(default), _) => Operation::Default(default),
        (.., Some(message)) => Operation::Require(message),
        _ => return Err(format!("${{{name} is followed by neither }}, :- nor :?")),
    };
    if rest.contains("${") {
        return Err(format!("${{{name}}} holds another ${{; variables do not nest"));
    }
    let value = env(name);
    let value = match (&operation, value) {
        (Operation::Need, value) => value,
        (_, value) => value.filter(|value| !value.is_empty()),
    };
    match (value, operation) {
        (Some(value), _) if value.contains(char::is_control) => {
            Err(format!("environment variable {name} has a line break or a control character"))
        }
        (Some(value), _) => {
            filled.text.push_str(&value);
            filled.values.push(value);
            Ok(())
        }
        (None, Operation::Default(default)) => {
            filled.text.push_str(default);
            Ok(())
        }
        (None, Operation::Need | Operation::Require("")) => Err(format!("environment variable {name} is not set")),
        (None, Operation::Require(message)) => Err(format!("environment variable {name} is not set: {message}")),
    }
}

enum Operation<'a> {
    Need,
    Default(&'a str),
    Require(&'a str),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        let value = match name {
            "A" => "one",
            "B_2" => "${A}",
            "EMPTY" => "",
            "LINES" => "a\nb: c",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn variables_are_put_in_once() {
        for (text, expect) in [
            ("${A}", "one"),
            ("<${A}${A}>", "<oneone>"),
            ("${B_2}", "${A}"),
            ("$${A}", "${A}"),
            ("$$${A}", "$one"),
            ("$$.name", "$.name"),
            ("é${A}$x$", "éone$x$"),
            ("<${EMPTY}>", "<>"),
            ("${EMPTY:-d}", "d"),
            ("${NONE:-}", ""),
            ("${NONE:-a b:-$c}", "a b:-$c"),
            ("${A:?needed}", "one"),
        ] {
            let filled = fill(text, 1000, &env).unwrap().unwrap();
            assert_eq!(filled.text, expect, "{text}");
        }
        assert!(fill("$.name and $", 1000, &env).unwrap().is_none());
    }

    #[test]
    fn all_faults_of_a_string_are_told_and_none_tells_a_value() {
        for (text, expect) in [
            ("${NONE} ${NONE:?give one}", "0 not set, 8 not set: give one"),
            ("${EMPTY:?}", "0 not set"),
            ("ab${", "2 without its }"),
            ("${}", "0 without the name"),
            ("${1A}", "0 without the name"),
            ("${A-b}", "0 followed by neither"),
            ("${A:b}", "0 followed by neither"),
            ("${NONE:-${A}}", "0 do not nest"),
            ("é${LINES}", "2 control character"),
        ] {
            let faults = fill(text, 1000, &env).err().unwrap();
            let expect: Vec<_> = expect.split(", ").map(|e| e.split_once(' ').unwrap()).collect();
            assert_eq!(faults.len(), expect.len(), "{text}: {faults:?}");
            for (fault, (at, part)) in faults.iter().zip(expect) {
                assert_eq!(fault.at.to_string(), at, "{text}");
                assert!(fault.message.contains(part), "{text}: {}", fault.message);
                assert!(!fault.message.contains("b: c"), "{text}");
            }
        }
        assert!(fill("${A}${A}", 5, &env).is_err());
        assert_eq!(fill(&"${}".repeat(1000), 5, &env).err().unwrap().len(), FAULT_LIMIT);
    }
}
