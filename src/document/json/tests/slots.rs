//! What is selected, what is shown of it, and what the limits say.

use super::*;

/// The slots of a document as `rule:raw`, strays as `-:raw`, names as `name:raw`.
fn listed(case: &Case, document: &str) -> Vec<String> {
    let (output, seen) = case.check(document.as_bytes());
    assert_eq!(output, Ok(document.as_bytes().to_vec()), "kept slots change nothing");
    seen.iter()
        .map(|slot| match (slot.place, slot.rule) {
            (Place::Value, Some(rule)) => format!("{rule}:{}", slot.raw),
            (Place::Value, None) => format!("-:{}", slot.raw),
            (Place::Name, rule) => {
                assert_eq!((rule, slot.kind), (None, Kind::Text));
                format!("name:{}", slot.raw)
            }
        })
        .collect()
}

fn selects(paths: &[&str], document: &str, expect: &[&str]) {
    assert_eq!(listed(&Case::new(paths), document), expect, "{paths:?} in {document}");
}

#[test]
fn paths_select_what_they_name() {
    let patient = r#"{"name":[{"family":"Doe","given":["J","K"]},{"family":null}],"ssn":"","n":{"family":1.10}}"#;
    selects(&["$.ssn"], patient, &[r#"0:"""#]);
    selects(&["$.name[*].family"], patient, &[r#"0:"Doe""#, "0:null"]);
    selects(&["$.name[1].family"], patient, &["0:null"]);
    selects(&["$.name[0].given[1]"], patient, &[r#"0:"K""#]);
    selects(&["$..family"], patient, &[r#"0:"Doe""#, "0:null", "0:1.10"]);
    selects(&["$.*.family"], patient, &["0:1.10"]);
    selects(&["$..given[*]"], patient, &[r#"0:"J""#, r#"0:"K""#]);
    selects(&["$..[1]"], patient, &[r#"0:"K""#, r#"0:{"family":null}"#]);
    selects(&["$.name[*]['given']"], patient, &[r#"0:["J","K"]"#]);
    selects(&["$.family", "$.name.family", "$[0]", "$.name[2]"], patient, &[]);
    selects(&["$..*"], r#"[1,{"a":2}]"#, &["0:1", r#"0:{"a":2}"#]);
    selects(&["$..a..a"], r#"{"a":{"b":{"a":[{"a":1}]}}}"#, &[r#"0:[{"a":1}]"#]);
    selects(&["$[*][1]"], "[[1,2,3],[4,5],[6],{\"1\":7}]", &["0:2", "0:5"]);
    selects(&[], patient, &[]);
}

#[test]
fn elements_are_told_by_their_index_however_many_come_before() {
    let digits: Vec<String> = (0..100).map(|digit| (digit % 10).to_string()).collect();
    let digits = format!("[{}]", digits.join(","));
    for index in [0, 62, 63, 64, 65, 70, 99] {
        selects(&[&format!("$[{index}]")], &digits, &[&format!("0:{}", index % 10)]);
    }
    selects(&["$[100]"], &digits, &[]);
    let lists = format!("[{}]", ["[1,[2],3]"; 40].join(", "));
    selects(&["$[*][2]"], &lists, &["0:3"; 40]);
    selects(&["$[37][1][0]", "$[38]"], &lists, &["0:2", "1:[1,[2],3]"]);
}

#[test]
fn an_element_follows_on_each_comma_where_elements_differ() {
    for (document, at) in
        [("[1,]", 3), ("[[1],]", 5), ("[{},]", 4), ("[1,,2]", 3), ("[1 2]", 3), ("[1,:]", 3), ("[1}", 2)]
    {
        for path in ["$[0]", "$[1]", "$[2]", "$[1][0]", "$[1].a"] {
            let (output, _) = Case::new(&[path]).check(document.as_bytes());
            assert!(
                matches!(output, Err(Fault::UnexpectedByte { offset, .. }) if offset == at),
                "{output:?}: {path} in {document}"
            );
        }
    }
}

#[test]
fn every_kind_is_yielded_as_written() {
    let case = Case::new(&["$.*"]);
    let document = r#"{"a": "x\u0041" ,"b":-0.0e+1,"c":true,"d":false,"e":null,"f":{ },"g":[ 1 , 2 ]}"#;
    let (_, seen) = case.check(document.as_bytes());
    let kinds: Vec<Kind> = seen.iter().map(|slot| slot.kind).collect();
    use Kind::*;
    assert_eq!(kinds, [Text, Number, Boolean, Boolean, Null, Object, Array]);
    let raws: Vec<&str> = seen.iter().map(|slot| slot.raw.as_str()).collect();
    assert_eq!(raws, [r#""x\u0041""#, "-0.0e+1", "true", "false", "null", "{ }", "[ 1 , 2 ]"]);
    assert_eq!(seen[0].text.as_deref(), Some(&b"xA"[..]));
    assert!(seen[1..].iter().all(|slot| slot.text.is_none()));
    assert_eq!(seen[0].range, 6..15);
    for slot in &seen {
        let start = usize::try_from(slot.range.start).unwrap();
        assert!(document[start..].starts_with(&slot.raw));
    }
}

#[test]
fn names_match_after_unescaping_and_duplicates_all_count() {
    selects(
        &["$.ssn"],
        r#"{"s\u0073n":"1","ssn":"2","\u0073\u0073\u006E":"3","ssn5":"5","ss\u006":6}"#
            .replace("\\u006\"", "\"")
            .as_str(),
        &[r#"0:"1""#, r#"0:"2""#, r#"0:"3""#],
    );
    selects(&["$.p.x"], r#"{"p":{"x":1},"p":{"x":2,"x":3}}"#, &["0:1", "0:2", "0:3"]);
    selects(
        &[r"$['\u00e9\'\ud83d\ude00']"],
        "{\"é'😀\":1,\"\\u00e9'\\uD83D\\uDE00\":2,\"e\u{301}'😀\":3}",
        &["0:1", "0:2"],
    );
    selects(&["$['']"], r#"{"":1,"a":{"":2}}"#, &["0:1"]);
    // Lone surrogates are names like any other, and no path can name them.
    selects(&["$.a"], r#"{"\ud800":1,"a\udc00":2}"#, &[]);
}

#[test]
fn the_first_rule_and_the_outer_value_win() {
    selects(&["$..b", "$.a.b", "$.a"], r#"{"b":1,"a":{"b":2}}"#, &["0:1", r#"2:{"b":2}"#]);
    selects(&["$.a.*", "$.a.b"], r#"{"a":{"b":1,"c":2}}"#, &["0:1", "0:2"]);
    selects(&["$.a.b", "$.a.*"], r#"{"a":{"b":1,"c":2}}"#, &["0:1", "1:2"]);
    selects(&["$.a", "$.a"], r#"{"a":1}"#, &["0:1"]);
    selects(&["$.a[1]", "$.a[*]"], r#"{"a":[1,2,3]}"#, &["1:1", "0:2", "1:3"]);
}

#[test]
fn strays_are_shown_wherever_they_stand() {
    let case = Case::new(&["$.ssn", "$.box"]).watched();
    let document = r#"{"tok:n":"tok:1","ssn":"tok:2","o":["\u0074ok:3","x tok:"],"t\u006fk:m":{"a":"tok"}}"#;
    let shown = listed(&case, document);
    assert_eq!(shown, [r#"name:"tok:n""#, r#"-:"tok:1""#, r#"0:"tok:2""#, r#"-:"\u0074ok:3""#, r#"name:"t\u006fk:m""#]);
    let (_, seen) = case.check(document.as_bytes());
    assert_eq!(seen[3].text.as_deref(), Some(&b"tok:3"[..]));
    assert_eq!(seen[4].text.as_deref(), Some(&b"tok:m"[..]));
    assert_eq!(listed(&case, r#""tok:top""#), [r#"-:"tok:top""#]);
    for (document, holds) in [
        (r#"{"box":{"a":["tok:1"]}}"#, true),
        (r#"{"box":[{"t\u006fk:":1}]}"#, true),
        (r#"{"box":{"a":["x",{}],"b":"y"}}"#, false),
        (r#"{"box":"tok:1"}"#, false),
    ] {
        let (_, seen) = case.check(document.as_bytes());
        assert_eq!(seen.len(), 1, "{document}");
        assert_eq!(seen[0].holds_watched, holds, "{document}");
    }
    // What one value holds says nothing of the next.
    let (_, seen) = case.check(br#"{"box":["tok:"],"box":[]}"#);
    assert_eq!(seen.iter().map(|slot| slot.holds_watched).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_slot_tells_which_elements_it_stands_in() {
    let case = Case::new(&["$..x"]).watched();
    let document = r#"{"x":0,"a":[{"x":1},[[],{"x":[2]}],"tok:",{"o":{"p":[0,0,{"x":null}]},"tok:n":3}],"x":"4"}"#;
    let (_, seen) = case.check(document.as_bytes());
    let indices: Vec<&[u64]> = seen.iter().map(|slot| slot.indices.as_slice()).collect();
    assert_eq!(indices, [&[][..], &[0], &[1, 1], &[2], &[3, 2], &[3], &[]]);
    // The last of an element is its own, not that of a value inside.
    let (_, seen) = Case::new(&["$[*]"]).check(b"[[[]],{\"a\":[1,2]},3]");
    assert_eq!(seen.iter().map(|slot| slot.indices.clone()).collect::<Vec<_>>(), [[0], [1], [2]]);
    assert!(Case::new(&["$[0]"]).watched().check(b"\"tok:\"").1[0].indices.is_empty());
}

#[test]
fn a_slot_tells_where_the_objects_and_arrays_around_it_start() {
    let document = r#" {"a":[{"x":1},{"x":[{}]}],"a":[{"x":2}]}"#;
    let (_, seen) = Case::new(&["$.a[*].x"]).check(document.as_bytes());
    // The space before the document counts.
    let starts = |open: [usize; 3]| open.map(|at| at as u64).to_vec();
    let (first, second) = (document.find('[').unwrap(), document.rfind('[').unwrap());
    let expect = [
        starts([1, first, first + 1]),
        starts([1, first, document.find(",{").unwrap() + 1]),
        starts([1, second, second + 1]),
    ];
    assert_eq!(seen.iter().map(|slot| slot.containers.clone()).collect::<Vec<_>>(), expect);
}

#[test]
fn replacements_take_the_place_and_nothing_else_moves() {
    let case = Case::new(&["$..ssn", "$.list[1]"]).watched().answered(|slot| match slot.place {
        Place::Name => Some(br#""name""#.to_vec()),
        Place::Value if slot.kind == Kind::Null => None,
        Place::Value => Some(format!("<{}>", slot.range.start).into_bytes()),
    });
    for (document, expect) in [
        ("{ \"ssn\" : \"1\" ,\r\n\t\"x\": 1.10}\n", "{ \"ssn\" : <10> ,\r\n\t\"x\": 1.10}\n"),
        (r#"{"ssn":{"ssn":[1]},"ssn":null,"ssn":false}"#, r#"{"ssn":<7>,"ssn":null,"ssn":<36>}"#),
        (r#"{"list":[1,-2.5e3,[ ]],"tok:":"tok:"}"#, r#"{"list":[1,<11>,[ ]],"name":<30>}"#),
        ("\u{feff}{\"ssn\":0}", "\u{feff}{\"ssn\":<10>}"),
        (r#"{"list":[[],[[]],"\/\u002f"]}"#, r#"{"list":[[],<12>,"\/\u002f"]}"#),
        (r#"{"tok:ssn":1,"tok:a":{"ssn":2}}"#, r#"{"name":1,"name":{"ssn":<28>}}"#),
    ] {
        let (output, _) = case.check(document.as_bytes());
        assert_eq!(output.unwrap().escape_ascii().to_string(), expect.as_bytes().escape_ascii().to_string());
    }
}

#[test]
fn output_before_a_slot_can_leave_while_it_waits() {
    let mut rewriter = Rewriter::new(rules(&["$.a"]), Limits::default(), None);
    rewriter.keep();
    rewriter.replace(b"nothing waits");
    rewriter.feed(br#"{"b":1,"a":"secret","#);
    assert_eq!(rewriter.step(), Ok(Step::Slot));
    assert_eq!(rewriter.take_output(), br#"{"b":1,"a":"#);
    // More input may come while it waits.
    rewriter.feed(br#""c":2}"#);
    assert_eq!(rewriter.slot().unwrap().raw(), br#""secret""#);
    assert!(!format!("{:?}", rewriter.slot().unwrap()).contains("secret"));
    rewriter.replace(b"null");
    assert_eq!(rewriter.step(), Ok(Step::NeedInput));
    rewriter.finish();
    assert_eq!(rewriter.step(), Ok(Step::Done));
    assert_eq!(rewriter.step(), Ok(Step::Done));
    assert_eq!(rewriter.take_output(), br#"null,"c":2}"#);
}

/// Where `limits` stop a document, by fault code, or "" when they let it pass.
fn stopped(case: &Case, document: &str) -> &'static str {
    match case.check(document.as_bytes()).0 {
        Ok(output) => {
            assert_eq!(output, document.as_bytes());
            ""
        }
        Err(fault) => {
            let (Fault::TooDeep { offset, .. }
            | Fault::NameTooLong { offset, .. }
            | Fault::ValueTooLong { offset, .. }) = fault
            else {
                panic!("{document}: {fault}")
            };
            assert!(offset < document.len() as u64);
            fault.code()
        }
    }
}

#[test]
fn every_limit_has_its_fault_and_holds_to_the_byte() {
    let tight = || Limits { depth_max: 3, value_bytes_max: 8, name_bytes_max: 6, ..Limits::default() };
    let case = Case::new(&["$.v"]).limited(tight());
    for (document, expect) in [
        ("[[[]]]", ""),
        ("[[[1]],{\"a\":{}}]", ""),
        ("[[[[]]]]", "too_deep"),
        ("{\"a\":[{\"a\":{}}]}", "too_deep"),
        ("{\"v\":[[]]}", ""),
        ("{\"v\":[[[]]]}", "too_deep"),
        ("{\"1234\":1}", ""),
        ("{\"12345\":1}", "name_too_long"),
        ("{\"\\u0041\":1}", "name_too_long"),
        ("{\"123456", "name_too_long"),
        ("{\"1234567890", "name_too_long"),
        ("{\"v\":\"123456\"}", ""),
        ("{\"v\":\"1234567\"}", "value_too_long"),
        ("{\"v\":\"12345678901234\"}", "value_too_long"),
        ("{\"v\":\"12345\\n\"}", "value_too_long"),
        ("{\"v\":\"1234é\"}", ""),
        ("{\"v\":\"12345é\"}", "value_too_long"),
        ("{\"v\":12345678}", ""),
        ("{\"v\":-1.5e678}", ""),
        ("{\"v\":123456789}", "value_too_long"),
        ("{\"v\":12345678901}", "value_too_long"),
        ("{\"v\":[1,2,34]}", ""),
        ("{\"v\":[1,2,345]}", "value_too_long"),
        ("{\"v\":{\"a\": 1}}", ""),
        ("{\"v\":{\"a\": 12}}", "value_too_long"),
        ("{\"v\":{\"a\": 123456}}", "value_too_long"),
        ("{\"v\":[       ]}", "value_too_long"),
        ("{\"v\":[\"123456\"]}", "value_too_long"),
        // Nobody asks for these.
        ("{\"w\":\"12345678901234567890\",\"x\":12345678901234567890}", ""),
        ("[12345678901234567890,\"1234567890\\u00411234567890\"]", ""),
    ] {
        assert_eq!(stopped(&case, document), expect, "{document}");
    }
    let watched = Case::new(&["$.v"]).limited(Limits { name_bytes_max: 99, ..tight() }).watched();
    for (document, expect) in [
        ("{\"w\":\"12345678901234567890\"}", ""),
        ("{\"w\":\"12345é\\u00e9é12345678901234567890\"}", ""),
        ("{\"w\":\"tok:56\"}", ""),
        ("{\"w\":\"tok:567\"}", "value_too_long"),
        ("{\"w\":\"tok:5678901234567890\"}", "value_too_long"),
        ("{\"w\":\"x tok:5678901234567890\"}", ""),
        ("{\"tok:5678901234567890\":1}", ""),
        ("{\"v\":[\"1234567890\"]}", "value_too_long"),
    ] {
        assert_eq!(stopped(&watched, document), expect, "{document}");
    }
    let open = Case::new(&["$.v", "$[0]"]).limited(Limits {
        depth_max: usize::MAX,
        value_bytes_max: usize::MAX,
        object_bytes_max: usize::MAX,
        name_bytes_max: usize::MAX,
    });
    assert_eq!(stopped(&open, &format!("{}{}", "[".repeat(5000), "]".repeat(5000))), "");
}

#[test]
fn memory_does_not_grow_with_the_body() {
    let mut rewriter = Rewriter::new(rules(&["$..ssn"]), Limits::default(), Some(TOKENS));
    let mut long = b"[\"".to_vec();
    long.resize(8 << 20, b'x');
    long.extend_from_slice(b"\",");
    long.resize(long.len() + (4 << 20), b'7');
    long.extend_from_slice(b",");
    long.extend_from_slice("{\"ssn\":\"0\",\"a\":[true,false]},".repeat(100_000).as_bytes());
    long.extend_from_slice(b"0]");
    let (mut slots, mut out) = (0, 0);
    for chunk in long.chunks(16 << 10) {
        rewriter.feed(chunk);
        while rewriter.step() == Ok(Step::Slot) {
            slots += 1;
            rewriter.replace(b"1");
        }
        out += rewriter.take_output().len();
        assert!(rewriter.input.capacity() <= 4 << 20, "{}", rewriter.input.capacity());
    }
    rewriter.finish();
    assert_eq!(rewriter.step(), Ok(Step::Done));
    out += rewriter.take_output().len();
    assert_eq!((slots, out), (100_000, long.len() - 200_000));
}

#[test]
fn rules_have_a_limit_of_their_own() {
    let path = |n: usize| FieldPath::parse(&format!("$.a[*].f{n}")).unwrap();
    let many: Vec<FieldPath> = (0..4094).map(path).collect();
    let compiled = Arc::new(Rules::compile(&many).unwrap());
    let case = Case { rules: compiled, ..Case::new(&[]) };
    let (_, seen) = case.check(br#"{"a":[{"f0":1,"f4093":2,"f4094":3,"f64":4}]}"#);
    let rules: Vec<_> = seen.iter().map(|slot| slot.rule.unwrap()).collect();
    assert_eq!(rules, [0, 4093, 64]);
    let more: Vec<FieldPath> = (0..4095).map(path).collect();
    assert_eq!(Rules::compile(&more).err().unwrap().to_string(), "paths with more than 4096 different steps");
}

#[test]
fn a_selected_container_tells_which_rules_select_within() {
    let paths = ["$.a", "$..b", "$.a.c[*].d", "$.e"].map(|path| FieldPath::parse(path).unwrap());
    let rules = Arc::new(Rules::compile(&paths).unwrap());
    for (document, want) in [
        (r#"{"a":{"b":1}}"#, &[1][..]),
        (r#"{"a":{"x":{"b":{"b":2}},"c":[{"d":"s"},{"d":null}]}}"#, &[1, 2]),
        (r#"{"a":[1,2]}"#, &[]),
        (r#"{"a":"b"}"#, &[]),
    ] {
        let mut rewriter = Rewriter::new(Arc::clone(&rules), Limits::default(), None);
        rewriter.feed(document.as_bytes());
        rewriter.finish();
        assert_eq!(rewriter.step(), Ok(Step::Slot), "{document}");
        let slot = rewriter.slot().unwrap();
        assert_eq!((slot.rule(), slot.inner_rules()), (Some(0), want), "{document}");
        rewriter.keep();
        assert_eq!(rewriter.step(), Ok(Step::Done), "what is within is not yielded by itself");
    }
}
