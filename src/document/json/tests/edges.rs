//! Documents that are pushed along byte by byte, so that everything in them comes to stand across the edge of a block once, in one
//! that is full and in one that ends with the input.

use proptest::collection::vec;
use proptest::prelude::*;

use super::grammar::outcome;
use super::*;

/// How far documents are pushed: over one block and into the next.
const PUSHED: std::ops::Range<usize> = 0..70;

/// An object that begins with a long member and then has these.
fn pushed(by: usize, members: &[u8]) -> Vec<u8> {
    [format!("{{\"pushed\":\"{}\",", "x".repeat(by)).as_bytes(), members, b"}"].concat()
}

/// The same however it is cut and at every level.
fn read(case: &Case, document: &[u8]) -> Rewritten {
    let whole = case.run(document, &[usize::MAX]);
    for level in levels::all() {
        for sizes in [&[usize::MAX][..], &[64], &[1, 63, 2]] {
            let run = levels::at(level, || case.run(document, sizes));
            assert_eq!(run, whole, "{} in pieces of {sizes:?} at {level:?}", document.escape_ascii());
        }
    }
    whole
}

/// The texts that a rule selects, which are also those that are seen where strings are watched.
fn selected(path: &str, document: &[u8]) -> Vec<Vec<u8>> {
    let texts = |case: Case| {
        let (output, seen) = read(&case, document);
        assert_eq!(output.as_deref(), Ok(document), "{}", document.escape_ascii());
        seen.into_iter().filter(|slot| slot.rule == Some(0)).filter_map(|slot| slot.text).collect()
    };
    let texts_seen: Vec<_> = texts(Case::new(&[path]));
    assert_eq!(texts(Case::new(&[path]).watched()), texts_seen, "{}", document.escape_ascii());
    texts_seen
}

#[test]
fn a_ruled_value_is_found_behind_whatever_stands_before_it() {
    let blanks = " ".repeat(67);
    let name = "n".repeat(150);
    for (members, at_the_top, anywhere) in [
        // Where a string ends.
        (r#""a":"\\""#, 0, 0),
        (r#""a":"\\\\\\""#, 0, 0),
        (r#""a":"\"""#, 0, 0),
        (r#""a":"\\\"""#, 0, 0),
        (r#""a":"\",\"v\":\"n\"""#, 0, 0),
        (r#""a":"\\","v":"y""#, 1, 1),
        (r#""a":"\\\",\"v\":\"n""#, 0, 0),
        (r#""a\\":"","v":"y""#, 1, 1),
        (r#""a\":{\"v":"n""#, 0, 0),
        (r#""a":"\u0022,\u0022v\u0022:\u0022n""#, 0, 0),
        (r#""a":"\u005c","v":"y""#, 1, 1),
        (r#""a":"","b":"","v":"","":"""#, 1, 1),
        // What looks like more than it is.
        (r#""a":"{[:,]}","v":"y""#, 1, 1),
        (r#""a":"},{\u007d]","v":"y""#, 1, 1),
        ("\"a\":\"\u{e9}\u{3b1}\u{20ac}\u{1f600}\u{7f}\",\"v\":\"\u{e9}\"", 1, 1),
        ("\"\u{e9}\":\"\u{1f600}\\\\\",\"v\":\"\u{e9}\\\\\"", 1, 1),
        // Names in other spellings, and ones that stand twice.
        (r#""\u0076":"y""#, 1, 1),
        (r#""v":"y","v":"y","\u0076":"y""#, 3, 3),
        (r#""vv":"n","w":"n"," ":"n","a":{"b":"n"}"#, 0, 0),
        // Objects and arrays.
        (r#""a":{"v":"y"},"v":"y""#, 1, 2),
        (r#""a":[{"v":"y"},[{"b":{"v":"y"}}],{}],"v":"y""#, 1, 3),
        (r#""v":{"v":"n","a":[]},"a":[[[[{}]]]]"#, 0, 0),
        (r#""a":[1,-2.5e+7,0,true,false,null,"v",{},[]]"#, 0, 0),
        (r#""v":"y","a":[0.10,{"a":[null,{"v":"y"}]}]"#, 1, 2),
        // White space.
        (
            "\"a\" \t\r\n : \t\r\n [ \t\r\n 1 \t\r\n , \t\r\n 2 \t\r\n ] \t\r\n , \t\r\n \"v\" \t\r\n : \t\r\n \"y\" \t\r\n ",
            1,
            1,
        ),
        (&format!("\"v\"{blanks}:{blanks}\"y\"{blanks},{blanks}\"a\":[{blanks}],\"b\":{{{blanks}}}"), 1, 1),
        (&format!("\"{name}\":\"{name}\",\"v\":\"y\",\"{name}\":{{\"{name}\"{blanks}:{{\"v\":\"y\"}}}}"), 1, 2),
    ] {
        for by in PUSHED {
            let document = pushed(by, format!("{members},\"v\":\"last\"").as_bytes());
            for (path, count) in [("$.v", at_the_top), ("$..v", anywhere), ("$.pushed.v", 0)] {
                let texts = selected(path, &document);
                let expected = count + usize::from(path != "$.pushed.v");
                assert_eq!(texts.len(), expected, "{path} {}", document.escape_ascii());
                assert!(!texts.contains(&b"n".to_vec()), "{path} {}", document.escape_ascii());
            }
        }
    }
}

#[test]
fn runs_of_backslashes_end_a_string_or_do_not() {
    for by in 0..3 {
        for len in 1..140 {
            let document = pushed(by, format!("\"a\":\"{}\",\"v\":\"n\",\"b\":\"\"", "\\".repeat(len)).as_bytes());
            let (result, seen) = read(&Case::new(&["$.v"]), &document);
            match len % 2 {
                0 => assert_eq!(seen.len(), 1, "{}", document.escape_ascii()),
                // The string goes on up to the name that is no name then.
                _ => {
                    assert_eq!((outcome(&result).0, seen.len()), ("unexpected_byte", 0), "{}", document.escape_ascii())
                }
            }
        }
    }
}

#[test]
fn a_watched_string_is_seen_wherever_it_stands() {
    for (members, count) in [
        (r#""a":"tok:1""#, 1),
        (r#""a":["x","tok:1",{"tok:2":"\u0074ok:3"}]"#, 3),
        (r#""\u0074ok:\\":"tok:\"" , "tok:" : "tok:""#, 4),
        (r#""a":"xtok:","b":"\\tok:","tok":"to\\k:""#, 0),
        ("\"a\":\"tok:\u{e9}\",\"tok:\u{1f600}\":[\"\u{e9}\",\"tok:\u{20ac}\" ]", 3),
    ] {
        for by in PUSHED {
            let document = pushed(by, members.as_bytes());
            let (result, seen) = read(&Case::new(&["$.v"]).watched(), &document);
            assert_eq!((result.as_deref(), seen.len()), (Ok(&*document), count), "{}", document.escape_ascii());
        }
    }
}

proptest! {
    /// What is passed at once for want of a mark is what nobody would have seen string by string.
    #[test]
    fn strings_without_marks_are_passed_as_if_each_was_looked_at(
        parts in vec((prop::sample::select(PARTS.to_vec()), 0_usize..90), 1..40),
        sizes in prop::sample::select(vec![vec![usize::MAX], vec![150], vec![64], vec![7, 200]]),
        path in prop::sample::select(vec!["$.v", "$..v", "$.none"]),
    ) {
        let parts: Vec<String> = parts.iter().map(|(part, len)| part.replace('#', &"x".repeat(*len))).collect();
        let document = format!("{{{}}}", parts.join(","));
        let case = Case::new(&[path]).answered(|slot| (slot.raw.len() % 2 == 0).then(|| b"\"tok:replaced\"".to_vec()));
        let by_each = Case { watch: Some(Watch::new(tokens)), ..Case::new(&[path]) }.answered(case.answer);
        prop_assert_eq!(case.watched().run(document.as_bytes(), &sizes), by_each.run(document.as_bytes(), &[usize::MAX]));
    }
}

/// Members, with `#` for some letters.
const PARTS: &[&str] = &[
    r##""a":"#""##,
    r##""b#":{"c":"#","d":["#"]}"##,
    r##""e":"tok:#""##,
    r##""tok:#":"#""##,
    r##""f":["tok:#" , "#", {"tok:#" : {"g":"#tok:"}}]"##,
    r##""v":"#""##,
    r##""h":{"v":["tok:#","#"]}"##,
    r##""i#":"\u0074ok:#""##,
    r##""j":"#\u0074ok:""##,
    r##""\u0074ok:#":"#\\""##,
    r##""k":[1,true,"#",{}]"##,
];

/// Members that are none, with the fault and how far in it is.
const FLAWED: &[(&[u8], &str, usize)] = &[
    // Control characters.
    (b"\"a\":\"\x01\"", "control_character", 5),
    (b"\"a\":\"\t\"", "control_character", 5),
    (b"\"a\":\"b\nc\"", "control_character", 6),
    (b"\"a\r\":1", "control_character", 2),
    (b"\"\0\":1", "control_character", 1),
    (b"\"a\":\"\\\\\x1f\"", "control_character", 7),
    (b"\"a\x0b\":1", "control_character", 2),
    (b"\"a\"\x0b:1", "unexpected_byte", 3),
    (b"\"a\":1\0", "unexpected_byte", 5),
    (b"\x0c\"a\":1", "unexpected_byte", 0),
    // Escapes.
    (b"\"a\":\"\\x\"", "bad_escape", 5),
    (b"\"a\":\"\\\\\\q\"", "bad_escape", 7),
    (b"\"a\":\"\\u00g0\"", "bad_escape", 5),
    (b"\"a\":\"\\u123\"", "bad_escape", 5),
    (b"\"a\\\":1\\", "bad_escape", 6),
    (b"\"\\U0041\":1", "bad_escape", 1),
    (b"\\\"a\":1", "unexpected_byte", 0),
    (b"\"a\":\\\"\"", "unexpected_byte", 4),
    (b"\"a\":1\\", "unexpected_byte", 5),
    (b"\"a\"\\n:1", "unexpected_byte", 3),
    // Characters.
    (b"\"a\":\"\x80\"", "not_utf8", 5),
    (b"\"a\":\"\xff\"", "not_utf8", 5),
    (b"\"a\":\"\xc3\"", "not_utf8", 5),
    (b"\"a\":\"\xc3\xa9\xa9\"", "not_utf8", 7),
    (b"\"a\":\"\xc3\xc3\xa9\"", "not_utf8", 5),
    (b"\"a\":\"\xc3\\n\"", "not_utf8", 5),
    (b"\"a\":\"\xc0\xaf\"", "not_utf8", 5),
    (b"\"a\":\"\xe2\x82\"", "not_utf8", 5),
    (b"\"a\":\"\xe2\xc3\xa9\"", "not_utf8", 5),
    (b"\"a\":\"\xc3\xa9\xe2\x82\xac\xed\xa0\x80\"", "not_utf8", 10),
    (b"\"a\":\"\xf0\x9f\x98\"", "not_utf8", 5),
    (b"\"a\":\"\xf4\x90\x80\x80\"", "not_utf8", 5),
    (b"\"\xc3\xa9\xc3\":1", "not_utf8", 3),
    (b"\"a\":\xc2\xa01", "unexpected_byte", 4),
    (b"\xef\xbb\xbf\"a\":1", "unexpected_byte", 0),
    (b"\"a\":1\x80", "not_utf8", 5),
    // Numbers and words.
    (b"\"a\":01", "unexpected_byte", 5),
    (b"\"a\":1.,\"b\":1", "unexpected_byte", 6),
    (b"\"a\":-", "unexpected_byte", 5),
    (b"\"a\":+1", "unexpected_byte", 4),
    (b"\"a\":.5", "unexpected_byte", 4),
    (b"\"a\":1e", "unexpected_byte", 6),
    (b"\"a\":[1e+]", "unexpected_byte", 8),
    (b"\"a\":0x1", "unexpected_byte", 5),
    (b"\"a\":1 2", "unexpected_byte", 6),
    (b"\"a\":1-2", "unexpected_byte", 5),
    (b"\"a\":tru", "unexpected_byte", 7),
    (b"\"a\":[truee]", "unexpected_byte", 9),
    (b"\"a\":True", "unexpected_byte", 4),
    (b"\"a\":nullnull", "unexpected_byte", 8),
    (b"\"a\":NaN", "unexpected_byte", 4),
    (b"\"a\":false\"b\"", "unexpected_byte", 9),
    (b"\"a\":'b'", "unexpected_byte", 4),
    (b"\"a\":1/**/", "unexpected_byte", 5),
    // Commas and colons.
    (b",", "unexpected_byte", 0),
    (b"\"a\":1,", "unexpected_byte", 6),
    (b"\"a\":1,,\"b\":1", "unexpected_byte", 6),
    (b"\"a\":1;\"b\":1", "unexpected_byte", 5),
    (b"\"a\"", "unexpected_byte", 3),
    (b"\"a\":", "unexpected_byte", 4),
    (b"\"a\" 1", "unexpected_byte", 4),
    (b"\"a\"::1", "unexpected_byte", 4),
    (b"\"a\":\"b\":1", "unexpected_byte", 7),
    (b"\"a\",1", "unexpected_byte", 3),
    (b":1", "unexpected_byte", 0),
    (b"a:1", "unexpected_byte", 0),
    (b"1:1", "unexpected_byte", 0),
    (b"[]:1", "unexpected_byte", 0),
    (b"{}:1", "unexpected_byte", 0),
    (b"\"a\":[,1]", "unexpected_byte", 5),
    (b"\"a\":[1,]", "unexpected_byte", 7),
    (b"\"a\":[1 1]", "unexpected_byte", 7),
    (b"\"a\":[\"b\":1]", "unexpected_byte", 8),
    (b"\"a\":{\"b\":1,}", "unexpected_byte", 11),
    (b"\"a\":{,}", "unexpected_byte", 5),
    (b"\"a\":{\"b\"}", "unexpected_byte", 8),
    (b"\"a\":{1}", "unexpected_byte", 5),
    // Brackets and what stands beside.
    (b"\"a\":[1}", "unexpected_byte", 6),
    (b"\"a\":{\"b\":1]", "unexpected_byte", 10),
    (b"\"a\":{\"b\":]", "unexpected_byte", 9),
    (b"\"a\":[}", "unexpected_byte", 5),
    (b"\"a\":{]", "unexpected_byte", 5),
    (b"\"a\":[]]", "unexpected_byte", 6),
    (b"\"a\":[][]", "unexpected_byte", 6),
    (b"\"a\":{}{}", "unexpected_byte", 6),
    (b"\"a\":[1]1", "unexpected_byte", 7),
    (b"\"a\":[1]\"b\":1", "unexpected_byte", 7),
    (b"\"a\":\"b\"\"c\"", "unexpected_byte", 7),
    (b"\"a\":\"b\"c", "unexpected_byte", 7),
    (b"\"a\":1\"b\"", "unexpected_byte", 5),
    (b"\"a\":1[]", "unexpected_byte", 5),
    (b"\"a\":1}", "unexpected_byte", 6),
];

#[test]
fn what_is_no_json_is_refused_at_the_same_place() {
    for &(members, code, at) in FLAWED {
        for by in PUSHED {
            let document = pushed(by, members);
            let at = (document.len() - members.len() - 1 + at) as u64;
            for case in [Case::new(&["$.v"]), Case::new(&["$..v"]), Case::new(&["$.v", "$.b[*]"]).watched()] {
                let (result, _) = read(&case, &document);
                assert_eq!(outcome(&result), (code, at), "{}", document.escape_ascii());
            }
        }
    }
}

#[test]
fn limits_hold_to_the_byte_wherever_a_block_ends() {
    let blanks = " ".repeat(130);
    for max in [20, 64, 127, 128, 129, 200] {
        let name = |len: usize| format!("\"{}\"", "n".repeat(len - 2));
        let case = |path| Case::new(&[path]).limited(Limits { name_bytes_max: max, depth_max: 3, ..Limits::default() });
        for by in PUSHED {
            for gap in ["", " ", &blanks] {
                for (members, code) in [
                    (format!("{}{gap}:1", name(max)), ""),
                    (format!("{}{gap}:1", name(max + 1)), "name_too_long"),
                    (format!("\"a\":{{{}{gap}:1}}", name(max)), ""),
                    (format!("\"a\":{{\"b\":1,{}{gap}:1}}", name(max + 1)), "name_too_long"),
                    (format!("\"a\":[{{{}{gap}:1}}]", name(max + 1)), "name_too_long"),
                    (format!("\"a\":[{gap}[]{gap}]"), ""),
                    (format!("\"a\":{{\"b\":[{gap}1,{{}}]}}"), "too_deep"),
                    (format!("\"a\":[[{gap}[]]]"), "too_deep"),
                ] {
                    let document = pushed(by, members.as_bytes());
                    for path in ["$.v", "$..v"] {
                        let (result, _) = case(path).run(&document, &[usize::MAX]);
                        assert_eq!(outcome(&result).0, code, "{max} {path} {}", document.escape_ascii());
                    }
                }
            }
        }
    }
}
