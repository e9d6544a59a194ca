use std::{collections::BTreeMap, num::NonZeroU16};

use schemars::JsonSchema;
use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "read by the schema")]
struct Gate {
    listen: String,
    #[schemars(range(min = 1))]
    port: u16,
    tls: Option<Tls>,
    #[serde(default)]
    routes: Vec<Route>,
    #[serde(default)]
    classes: BTreeMap<String, Class>,
    #[serde(default)]
    keys: Keys,
    sink: Option<Sink>,
    store: Option<Store>,
    #[schemars(range(min = 0.0, max = 1.0))]
    sample: Option<f64>,
    strict: Option<bool>,
    even: Option<Even>,
    limits: Option<BTreeMap<Mode, NonZeroU16>>,
    level: Option<Level>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "read by the schema")]
struct Tls {
    cert: String,
    key: String,
    #[schemars(length(min = 1))]
    alpn: Option<Vec<String>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "read by the schema")]
struct Route {
    #[schemars(length(min = 1, max = 10))]
    name: String,
    #[schemars(regex(pattern = "^https?://"))]
    upstream: String,
    timeout_ms: Option<u32>,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "read by the schema")]
struct Rule {
    path: String,
    mode: Mode,
}

#[derive(Debug, Deserialize, JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Seal,
    Mask,
    Drop,
}

/// With words on the variants the schema is a `oneOf`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Level {
    /// Few.
    Low,
    /// Many.
    High,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "read by the schema")]
struct Class {
    mode: Mode,
    keep: Option<u8>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(dead_code, reason = "read by the schema")]
enum Keys {
    #[default]
    None,
    File {
        path: String,
        #[serde(default)]
        wrap: bool,
    },
    Kms(Kms),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "read by the schema")]
struct Kms {
    arn: String,
    region: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[allow(dead_code, reason = "read by the schema")]
enum Sink {
    File { path: String },
    Syslog { host: String, port: u16 },
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "read by the schema")]
enum Store {
    Path(String),
    Full { path: String, size: u32 },
}

/// Refuses what the schema lets through.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
struct Even(#[allow(dead_code, reason = "read by the schema")] String);

impl TryFrom<String> for Even {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len().is_multiple_of(2) { Ok(Self(text)) } else { Err(format!("{text:?} is odd")) }
    }
}

fn env(name: &str) -> Option<String> {
    let value = match name {
        "PORT" => "8443",
        "BIG" => "70000",
        "HOST" => "s3cret.example",
        "LINES" => "a\nport: 1",
        "EMPTY" => "",
        "ODD" => "s3c",
        _ => return None,
    };
    Some(value.to_owned())
}

#[track_caller]
fn check(kind: &str, yaml: &str, expect: &[&str]) {
    let text = match kind {
        "after" => format!("listen: x\nport: 1\n{yaml}"),
        "whole" => yaml.to_owned(),
        _ => panic!("a case is `after` or `whole`, not {kind}"),
    };
    let problems = load::<Gate>(&text, &env).err().map(|refused| refused.problems).unwrap_or_default();
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert!(!told.iter().any(|line| line.contains("s3c")), "a variable is told: {told:#?}");
    assert_eq!(told, expect, "\n{yaml}\n>>>\n{}", told.join("\n"));
}

#[test]
fn a_whole_file_loads_with_its_places() {
    let yaml = "\u{feff}# é\r\nlisten: &here ${HOST}\r\nport: ${PORT}\r\ntls:\r\n  cert: \"${PORT}\"\r\n  key: 'it''s'\r\nkeys:\r\n  \
                file: {path: *here, wrap: !!bool true}\r\nclasses:\r\n  a: &c {mode: mask}\r\n  \"x.y\": *c\r\nsample: 1\r\n";
    let Loaded { value, places } = load::<Gate>(yaml, &env).unwrap();
    let tls = value.tls.as_ref().unwrap();
    assert_eq!((value.port, tls.cert.as_str(), tls.key.as_str()), (8443, "8443", "it's"));
    assert!(matches!(&value.keys, Keys::File { path, wrap: true } if *path == "s3cret.example"));
    assert_eq!(value.classes["x.y"].mode, Mode::Mask);
    for (path, expect) in [
        ("port", "line 3, column 7"),
        ("tls", "line 5, column 3"),
        ("tls.cert", "line 5, column 9"),
        ("tls.nothing[3].here", "line 5, column 3"),
        ("classes[\"x.y\"]", "line 11, column 10"),
        ("classes.a.mode", "line 10, column 16"),
        ("nothing", "line 2, column 1"),
    ] {
        assert_eq!(places.problem(path, "m").to_string(), format!("{expect}: {path}: m"));
    }
    assert_eq!(places.problem_at_key("tls", "m").to_string(), "line 4, column 1: tls: m");
}

#[test]
fn a_place_inside_a_scalar_follows_the_text() {
    for (scalar, offset, column) in [
        ("$.card..pan", 7, 16),
        ("é$x", 2, 10),
        ("'it''s x'", 5, 16),
        (r#""a\u00e9\n\"b""#, 5, 21),
        (r#""\x41\U0001F600\L\N\_\tb""#, 13, 32),
        ("&a !!str   abc", 1, 21),
        ("'abc'", 0, 10),
        ("'abc'", 3, 13),
        ("'abc'", 99, 13),
        ("\"abc\"", 99, 13),
        ("abc", 99, 12),
        ("''''", 1, 12),
        ("'two\n  lines'", 5, 9),
        ("|\n  block", 2, 3),
        ("${HOST}", 3, 9),
        ("$$.a", 1, 9),
    ] {
        let loaded = load::<Gate>(&format!("port: 1\nlisten: {scalar}\n"), &env).unwrap();
        let problem = loaded.places.problem_in("listen", offset, "m");
        assert_eq!(problem.column, column, "{scalar} at {offset}");
    }
}

#[test]
fn problems_are_told_with_place_path_and_what_was_expected() {
    let cases = include_str!("cases.txt").split("\n=== ").skip(1);
    let mut count = 0;
    for case in cases {
        let (kind, case) = case.split_once('\n').unwrap();
        let (yaml, expect) = case.split_once(">>>").unwrap();
        let yaml = yaml.strip_suffix('\n').unwrap_or(yaml);
        let expect = expect.lines().filter(|line| !line.is_empty() && !line.starts_with("#####"));
        check(kind, yaml, &expect.collect::<Vec<_>>());
        count += 1;
    }
    assert!(count > 90, "{count}");
}

#[test]
fn lines_may_end_as_on_windows() {
    let expect = [
        "line 3, column 9: routes: expected a list, found the string \"é\"",
        "line 4, column 6: tls: expected a mapping, found the string \"é\"",
    ];
    check("after", "routes: é\r\ntls: é\r\n", &expect);
}

#[test]
fn size_depth_and_aliases_are_bounded() {
    let one = |yaml: &str| {
        let problems = load::<Gate>(yaml, &env).unwrap_err().problems;
        problems.first().map(|problem| problem.message.clone()).unwrap_or_default()
    };
    assert_eq!(one(&" ".repeat(TEXT_LIMIT + 1)), "the file has 1048577 bytes; at most 1048576 are read");
    let deep = "nested deeper than 64 levels";
    assert_eq!(one(&"[".repeat(65)), deep);
    assert_eq!(one(&"- ".repeat(100_000)), deep);
    assert!(one(&format!("{}{}", "[".repeat(64), "]".repeat(64))).contains("found a list"));
    let many = "more than 10000 values or 1048576 bytes, aliases counted as their values";
    assert_eq!(one(&format!("[{}]", "1,".repeat(10_000))), many);
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    let mut chain = "a0: &a0 [x]\n".to_owned();
    for level in 1..70 {
        let below = level - 1;
        bomb += &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{below}"); 9].join(", "));
        chain += &format!("a{level}: &a{level} [*a{below}]\n");
    }
    assert_eq!(one(&bomb), many);
    assert_eq!(one(&chain), deep);
    assert_eq!(one(&format!("a: &a {}\nb: [{}]", "x".repeat(200_000), "*a, ".repeat(6))), many);
    let huge = |_: &str| Some("x".repeat(400_000));
    let problems = load::<Gate>(&format!("port: 1\nlisten: {}", "${HUGE}".repeat(3)), &huge).unwrap_err().problems;
    assert_eq!(problems[0].message, "too much text after the variables are put in");
}

#[test]
fn mutated_files_never_panic() {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let (mut read, mut rests) = (0, 0);
    for _ in 0..4000 {
        let text = mutated(&mut state);
        match load::<Gate>(&text, &env) {
            Ok(loaded) => {
                read += 1;
                for offset in 0..9 {
                    loaded.places.problem_in("listen", offset, "");
                }
            }
            Err(Refused { problems, rest }) => {
                rests += usize::from(rest.is_some());
                assert!(!problems.is_empty());
                for problem in problems {
                    assert!(problem.line > 0 && problem.column > 0, "{text}\n{problem}");
                    assert!(!problem.message.contains("s3cret"), "{text}\n{problem}");
                }
            }
        }
    }
    assert!(read > 100 && rests > 100, "{read} {rests}");
}

/// A file with up to four parts taken out or put in.
fn mutated(state: &mut u64) -> String {
    const BITS: [&str; 28] = [
        "${",
        "}",
        "$$",
        "&a ",
        "*a",
        "!!int ",
        "!x ",
        "<<: *a",
        "\n",
        "\r\n",
        "\t",
        "- ",
        ": ",
        "? ",
        "[",
        "]",
        "{",
        "}",
        "'",
        "\"",
        "\\",
        "é",
        "\u{feff}",
        "---\n",
        "...\n",
        "%TAG ! x\n",
        "|2-\n",
        "\0",
    ];
    const SEED: &str = r#"
listen: &a "${HOST}\u00e9"
port: ${PORT:-1}
tls: {cert: 'it''s', key: *a, alpn: [h2]}
routes:
  - name: é
    upstream: http://x # c
    rules:
    - {path: $.a, mode: seal}
classes:
  ? a b
  : mode: mask
    keep: 0x1F
keys:
  file:
    path: |
      x
    wrap: !!bool true
sink: {type: syslog, host: "a
  b", port: 9}
store: ~
"#;
    let mut next = |limit: usize| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        usize::try_from(*state % u64::try_from(limit).unwrap()).unwrap()
    };
    let mut text: Vec<char> = SEED.chars().collect();
    for _ in 0..=next(4) {
        let at = next(text.len());
        let to = (at + next(12)).min(text.len());
        match next(3) {
            0 => drop(text.drain(at..to)),
            1 => drop(text.splice(at..at, BITS[next(BITS.len())].chars())),
            _ => drop(text.splice(at..to, BITS[next(BITS.len())].chars())),
        }
    }
    text.into_iter().collect()
}

#[test]
fn the_schema_of_a_type_is_json_schema_2020_12() {
    let schema: Value = serde_json::from_str(&schema::<Gate>()).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["properties"]["port"]["minimum"], 1);
}
