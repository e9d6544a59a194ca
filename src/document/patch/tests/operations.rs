//! What a JSON Patch is, and what is none.

use super::*;

#[test]
fn values_are_found_by_their_pointers() {
    let case = Case { watch: Some(TOKENS), ..Case::new(&["$.a", "$.b.c"]) };
    for (patch, want) in [
        ("[]", "[]"),
        ("\u{feff} [ ]\n", "\u{feff} [ ]\n"),
        (r#"[{"op":"add","path":"/a","value":1}]"#, r##"[{"op":"add","path":"/a","value":#0}]"##),
        (
            " [ { \"value\" : [ 1 ] ,\n\"path\" : \"/a\" , \"op\" : \"replace\" } ] ",
            " [ { \"value\" : #0 ,\n\"path\" : \"/a\" , \"op\" : \"replace\" } ] ",
        ),
        (
            r#"[{"\u006fp":"\u0061dd","p\u0061th":"\/\u0061","v\u0061lue":"x"},{"op":"remove","path":"/a"}]"#,
            r##"[{"\u006fp":"\u0061dd","p\u0061th":"\/\u0061","v\u0061lue":#0},{"op":"remove","path":"/a"}]"##,
        ),
        (
            r#"[{"op":"add","path":"/b","value":{"c":{"c":1},"a":2}},{"op":"test","path":"/b/c","value":"x"}]"#,
            r##"[{"op":"add","path":"/b","value":{"c":#1,"a":2}},{"op":"test","path":"/b/c","value":#1t}]"##,
        ),
        (
            r#"[{"op":"test","path":"","value":{"a":1,"b":{"c":2,"d":3}}},{"op":"copy","from":"/d","path":"/e"}]"#,
            r##"[{"op":"test","path":"","value":{"a":#0t,"b":{"c":#1t,"d":3}}},{"op":"copy","from":"/d","path":"/e"}]"##,
        ),
        (
            r#"[{"op":"test","path":"/x/tok:1","value":{"tok:2":"tok:3"}},{"path":"/tok:","op":"move","from":"/d/tok:4"}]"#,
            r##"[{"op":"test","path":"/x/tok:1","value":{#-t:#-t}},{"path":"/tok:","op":"move","from":"/d/tok:4"}]"##,
        ),
        (
            r#"[{"op":"add","path":"/b/d","value":{"c":1,"a":2}}]"#,
            r#"[{"op":"add","path":"/b/d","value":{"c":1,"a":2}}]"#,
        ),
        // Two values, of which the later stands first by name.
        (
            r#"[{"value":1,"op":"add","path":"/b/c"},{"op":"add","value":{"c":null},"path":"/b"}]"#,
            r##"[{"value":#1,"op":"add","path":"/b/c"},{"op":"add","value":{"c":#1},"path":"/b"}]"##,
        ),
    ] {
        case.check(patch, Ok(want));
    }
}

#[test]
fn texts_and_names_that_no_rule_selects_are_shown() {
    fn any(text: &[u8]) -> bool {
        !matches!(text, b"op" | b"path" | b"value" | b"from")
    }
    let case = Case { watch: Some(Watch::new(any)), ..Case::new(&["$.a"]) };
    case.check(
        r#"[{"op":"add","path":"/a","value":"x"},{"op":"move","from":"/b~1c","path":"/\u0064"},{"op":"add","path":"/e","value":{"f":["g"]}}]"#,
        Ok(
            r##"[{"op":#-,"path":#-,"value":#0},{"op":#-,"from":#-,"path":#-},{"op":#-,"path":#-,"value":{#-:[#-]}}]"##,
        ),
    );
    let mut seen = Vec::new();
    let patch = br#"[{"op":"test","path":"/\u0064","value":7},{"op":"add","path":"/a","value":["tok:"]}]"#;
    let result = case.run(patch, &[], &mut |slot| {
        seen.push((slot.kind(), slot.text().map(<[u8]>::to_vec), slot.range(), slot.holds_watched(), slot.is_test()));
        assert_eq!(slot.escape(), crate::document::Escape::Json);
        None
    });
    assert!(result.is_ok());
    let text =
        |text: &[u8], start: u64, length: u64| (Kind::Text, Some(text.to_vec()), start..start + length, false, false);
    let want = [
        text(b"test", 7, 6),
        text(b"/d", 21, 9),
        text(b"add", 48, 5),
        text(b"/a", 61, 4),
        (Kind::Array, None, 74..82, true, false),
    ];
    assert_eq!(seen, want);
}

#[test]
fn what_is_no_json_patch_is_refused() {
    let case = Case::new(&["$.a"]);
    for (patch, want) in [
        ("", "unexpected end at offset 0"),
        ("[", "unexpected end at offset 1"),
        ("[{}", "unexpected end at offset 3"),
        ("[]]", "unexpected byte at offset 2"),
        ("{}", "a JSON Patch that is no array at offset 0"),
        (" 7", "a JSON Patch that is no array at offset 1"),
        ("\u{feff}\"[]\"", "a JSON Patch that is no array at offset 3"),
        (r#"{"op":"add","path":"/a","value":1}"#, "a JSON Patch that is no array at offset 0"),
        ("[7]", "an operation that is no object at offset 1"),
        ("[[]]", "an operation that is no object at offset 1"),
        (r#"[[{"op":"add","path":"/a","value":1}]]"#, "an operation that is no object at offset 1"),
        ("[{}]", "an operation without `op` at offset 1"),
        (r#"[{"op":"add"}]"#, "an operation without `path` at offset 1"),
        (r#"[{"op":"add","path":"/a"}]"#, "an `add`, `replace` or `test` without `value` at offset 1"),
        (r#"[{"op":"test","path":"/a"}]"#, "an `add`, `replace` or `test` without `value` at offset 1"),
        (r#"[{"op":"move","path":"/b"}]"#, "a `move` or `copy` without `from` at offset 1"),
        (r#"[{"op":"Add","path":"/a","value":1}]"#, "an operation that is unknown at offset 7"),
        (r#"[{"op":"add ","path":"/a","value":1}]"#, "an operation that is unknown at offset 7"),
        (r#"[{"op":"merge","path":"/a","value":1}]"#, "an operation that is unknown at offset 7"),
        (r#"[{"op":null,"path":"/a","value":1}]"#, "an operation that is unknown at offset 7"),
        (r#"[{"op":["add"],"path":"/a","value":1}]"#, "an operation that is unknown at offset 7"),
        (r#"[{"Op":"add","path":"/a","value":1}]"#, "a member that an operation does not have at offset 2"),
        (r#"[{"op":"add","Path":"/a","value":1}]"#, "a member that an operation does not have at offset 13"),
        (r#"[{"op":"add","path":"/b","VALUE":1}]"#, "a member that an operation does not have at offset 25"),
        (r#"[{"op":"add","path":"/b","value":1,"x":0}]"#, "a member that an operation does not have at offset 35"),
        (r#"[{"op":"add","path":"/b","value":1,"":0}]"#, "a member that an operation does not have at offset 35"),
        (
            r#"[{"op":"add","op":"add","path":"/b","value":1}]"#,
            "a member of an operation that stands twice at offset 13",
        ),
        (
            r#"[{"op":"add","path":"/b","p\u0061th":"/a","value":1}]"#,
            "a member of an operation that stands twice at offset 25",
        ),
        (
            r#"[{"op":"add","path":"/b","value":1,"value":1}]"#,
            "a member of an operation that stands twice at offset 35",
        ),
        (r#"[{"op":"add","path":"a","value":1}]"#, "a `path` or `from` that is no JSON pointer at offset 20"),
        (r##"[{"op":"add","path":"#/a","value":1}]"##, "a `path` or `from` that is no JSON pointer at offset 20"),
        (r#"[{"op":"add","path":"/a~","value":1}]"#, "a `path` or `from` that is no JSON pointer at offset 20"),
        (r#"[{"op":"add","path":"/~2a","value":1}]"#, "a `path` or `from` that is no JSON pointer at offset 20"),
        (r#"[{"op":"add","path":7,"value":1}]"#, "a `path` or `from` that is no JSON pointer at offset 20"),
        (r#"[{"op":"add","path":["a"],"value":1}]"#, "a `path` or `from` that is no JSON pointer at offset 20"),
        (r#"[{"op":"copy","path":"/b","from":"c"}]"#, "a `path` or `from` that is no JSON pointer at offset 33"),
        (r#"[{"op":"add","path":"/b","value":1,"from":"/c"}]"#, "a `from` in another operation than"),
        (r#"[{"op":"remove","path":"/b","value":1}]"#, "a `value` in another operation than"),
        (r#"[{"op":"move","path":"/b","from":"/c","value":1}]"#, "a `value` in another operation than"),
        (r#"[{"op":"add","path":"/b","value":1},]"#, "unexpected byte at offset 36"),
        ("[{'op':1}]", "unexpected byte at offset 2"),
        ("[/**/]", "unexpected byte at offset 1"),
        ("[{\"op\":\"\u{1}\"}]", "control character at offset 8"),
        (r#"[{"op":"\x"}]"#, "bad escape at offset 8"),
        (r#"[{"op":"add","path":"/b","value":1}][]"#, "unexpected byte at offset 36"),
    ] {
        case.check(patch, Err(want));
    }
    for (patch, want) in [
        (&b"[\"\xff\"]"[..], Fault::NotUtf8 { offset: 2 }),
        (b"\xff\xfe[\0]\0", Fault::WrongEncoding),
        (b"\0[\0]", Fault::WrongEncoding),
        (b"\0\0\0[\0\0\0]", Fault::WrongEncoding),
    ] {
        assert_eq!(case.run(patch, &[], &mut |_| None), Err(want), "{}", patch.escape_ascii());
    }
}

#[test]
fn limits_are_kept() {
    let limits = Limits { depth_max: 4, value_bytes_max: 10, object_bytes_max: 60, name_bytes_max: 9 };
    let case = Case { limits, ..Case::new(&["$.a"]) };
    let padded = |length: usize| format!("[{}]", " ".repeat(length - 2));
    case.check(&padded(60), Ok(&padded(60)));
    case.check(&padded(61), Err("value at offset 0 longer than 60 bytes"));
    case.check(&padded(100), Err("value at offset 0 longer than 60 bytes"));
    case.check(&"x".repeat(61), Err("value at offset 0 longer than 60 bytes"));
    case.check_one("add /a \"12345678\"", Ok("add /a #0"));
    case.check_one("add /a \"123456789\"", Err("value at offset 33 longer than 10 bytes"));
    case.check_one("add /b \"123456789\"", Ok("add /b \"123456789\""));
    case.check_one("add /b {\"12345678\":1}", Err("name at offset 34 longer than 9 bytes"));
    case.check_one("add /b [[]]", Ok("add /b [[]]"));
    case.check_one("add /b [[[]]]", Err("document deeper than 4 at offset 35"));
    case.check_one("add /b/c/d/e 1", Ok("add /b/c/d/e 1"));
    case.check_one("add /b/c/d/e/f 1", Err("document deeper than 4 at offset 20"));
}
