//! Random documents, paths, cuts and mutations.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn pick(from: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(from).prop_map(String::from)
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![6 => pick(&["a", "b", "c"]), 1 => pick(&["p:a", "q:b", "\u{e9}", "tok.n"])]
}

fn value() -> impl Strategy<Value = String> {
    pick(&[
        "",
        "x",
        "y",
        "tok.1",
        " x",
        "a\tb\r\nc",
        "&lt;&#x41;",
        "\u{e9}\u{1f600}",
        "a long value, longer than others",
    ])
}

fn attribute() -> impl Strategy<Value = String> {
    (
        pick(&["v", "w", "p:v", "tok.a", "xmlns", "xmlns:r"]),
        value(),
        prop::sample::select(vec!['\'', '"']),
        pick(&[" ", "\n  "]),
    )
        .prop_map(|(name, value, quote, space)| {
            let value = if name == "xmlns:r" { "r".to_owned() } else { value };
            format!("{space}{name}={quote}{value}{quote}")
        })
}

fn text() -> impl Strategy<Value = String> {
    pick(&[
        "",
        "",
        " ",
        "\n",
        "x",
        " y ",
        "tok.2",
        "&amp;",
        "&#10;",
        "<![CDATA[x]]>",
        "<![CDATA[ <a> ]]]]>",
        "]",
        "\r\n",
        "<!-- c -->",
        "<!--tok.3-->",
        "<?p d?>",
        "\u{e9}\u{a0}",
        "text that is longer than the others are",
    ])
}

fn element() -> impl Strategy<Value = String> {
    let leaf =
        (name(), vec(attribute(), 0..3), text()).prop_map(|(name, attributes, text)| tagged(&name, &attributes, &text));
    leaf.prop_recursive(5, 30, 5, |inner| {
        let content =
            vec((text(), inner, text()).prop_map(|(before, inner, after)| format!("{before}{inner}{after}")), 0..5);
        (name(), vec(attribute(), 0..3), content)
            .prop_map(|(name, attributes, content)| tagged(&name, &attributes, &content.concat()))
    })
}

fn tagged(name: &str, attributes: &[String], content: &str) -> String {
    let attributes = attributes.concat();
    if content.is_empty() {
        format!("<{name}{attributes}/>")
    } else {
        format!("<{name}{attributes}>{content}</{name}>")
    }
}

fn document() -> impl Strategy<Value = String> {
    (pick(&["", "\u{feff}", "<?xml version='1.0'?>", "<!-- x -->\n"]), element(), pick(&["", "\n", "<?p?>"]))
        .prop_map(|(before, root, after)| format!("{before}<r xmlns:p='u' xmlns:q='v'>{root}</r>{after}"))
}

fn path() -> impl Strategy<Value = String> {
    let name = || pick(&["a", "b", "c", "*", "{u}a", "{v}b", "r"]);
    let predicate = pick(&["", "", "", "[@v='x']", "[a='x']", "[b/@v='x']", "[a/c='y']", "[@w='x'][{u}a='x']"]);
    let step =
        (pick(&["/", "//", "//"]), name(), predicate).prop_map(|(slash, name, predicate)| slash + &name + &predicate);
    (vec(step, 1..4), pick(&["", "/@v", "//@w", "/@{u}v", "/markup()", "/text()"]))
        .prop_map(|(steps, last)| steps.concat() + &last)
}

fn case(paths: &[String], watched: bool) -> Case {
    let case = Case::new(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    if watched { case.watched() } else { case }
}

#[derive(Clone, Debug)]
enum Change {
    Put(u8),
    Insert(u8),
    Delete,
    Truncate,
    Double(u8),
}

fn change() -> impl Strategy<Value = Change> {
    let byte =
        || prop_oneof![prop::sample::select(b"<>/&;'\"=!-[]? x:a#\x00\x80\xc3\xef\xbf\xbe\xff".to_vec()), any::<u8>()];
    prop_oneof![
        byte().prop_map(Change::Put),
        byte().prop_map(Change::Insert),
        Just(Change::Delete),
        Just(Change::Truncate),
        (1_u8..12).prop_map(Change::Double),
    ]
}

fn changed(document: &str, changes: &[(prop::sample::Index, Change)]) -> Vec<u8> {
    let mut bytes = document.as_bytes().to_vec();
    for (at, change) in changes {
        if bytes.is_empty() {
            break;
        }
        let at = at.index(bytes.len());
        match change {
            Change::Put(byte) => bytes[at] = *byte,
            Change::Insert(byte) => bytes.insert(at, *byte),
            Change::Delete => drop(bytes.remove(at)),
            Change::Truncate => bytes.truncate(at),
            Change::Double(len) => {
                let end = (at + usize::from(*len)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
        }
    }
    bytes
}

proptest! {
    #[test]
    fn cuts_make_no_difference(
        document in document(), paths in vec(path(), 0..4), watched: bool, sizes in vec(1_usize..40, 1..12),
        changes in vec((any::<prop::sample::Index>(), change()), 0..3),
    ) {
        let (bytes, case) = (changed(&document, &changes), case(&paths, watched));
        let mut answer = |slot: &Seen| (slot.start.is_multiple_of(2)).then(|| b"instead".to_vec());
        let whole = case.answered(&bytes, &[], &mut answer);
        prop_assert_eq!(&case.answered(&bytes, &sizes, &mut answer), &whole);
        prop_assert_eq!(&case.answered(&bytes, &[1], &mut answer), &whole);
        let (output, seen) = whole;
        if let Ok(output) = output {
            let (mut expect, mut at) = (Vec::new(), 0);
            for slot in seen.iter().filter(|slot| slot.start.is_multiple_of(2)) {
                let start = usize::try_from(slot.start).unwrap();
                expect.extend_from_slice(&bytes[at..start]);
                expect.extend_from_slice(b"instead");
                at = start + slot.raw.len();
            }
            expect.extend_from_slice(&bytes[at..]);
            prop_assert_eq!(output, expect);
        }
    }

    #[test]
    fn what_is_kept_is_unchanged(
        document in document(), paths in vec(path(), 0..4), watched: bool, size in 1_usize..9,
        changes in vec((any::<prop::sample::Index>(), change()), 0..3),
    ) {
        let bytes = changed(&document, &changes);
        if let (Ok(output), _) = case(&paths, watched).run(&bytes, &[size]) {
            prop_assert_eq!(output, bytes);
        }
    }

    #[test]
    fn any_bytes_are_taken_or_refused_without_panic(bytes in any::<Vec<u8>>(), size in 1_usize..9) {
        let limits = Limits { depth_max: 4, value_bytes_max: 9, name_bytes_max: 5, ..Limits::default() };
        let case = case(&["//a".to_owned(), "/*/@b".to_owned()], true).limited(limits);
        prop_assert_eq!(case.run(&bytes, &[size]), case.run(&bytes, &[]));
    }

    #[test]
    fn limits_are_the_same_however_the_input_is_cut(
        document in document(), paths in vec(path(), 0..3), watched: bool, size in 1_usize..9,
        depth_max in 1_usize..6, value_bytes_max in 0_usize..60, name_bytes_max in 1_usize..9,
        changes in vec((any::<prop::sample::Index>(), change()), 0..2),
    ) {
        let case = case(&paths, watched).limited(Limits { depth_max, value_bytes_max, name_bytes_max, ..Limits::default() });
        let bytes = changed(&document, &changes);
        let whole = case.run(&bytes, &[]);
        prop_assert_eq!(&case.run(&bytes, &[size]), &whole, "{}", bytes.escape_ascii());
        for slot in whole.1 {
            prop_assert!(slot.raw.len() <= value_bytes_max.max(name_bytes_max));
        }
    }

    #[test]
    fn what_is_written_is_read_again(document in document(), path in path(),
        text in "[ -~\t\r\n\u{e9}\u{1f600}]{0,9}|  |") {
        let case = case(&[path], false);
        let mut written = Vec::new();
        let (output, seen) = case.answered(document.as_bytes(), &[], &mut |slot| {
            let text = if slot.escape == Escape::XmlMarkup { "<z>!</z>" } else { text.as_str() };
            let mut out = Vec::new();
            slot.escape.text(text.as_bytes(), &mut out).unwrap();
            written.push(text.to_owned());
            Some(out)
        });
        let predicates = case.rules.predicates.is_empty();
        // Text that is blank is a value in a leaf alone; what a predicate looks at may have been replaced.
        if let Ok(output) = output && !seen.is_empty() && predicates && !text.trim_ascii().is_empty() {
            let (output, seen) = case.run(&output, &[]);
            prop_assert!(output.is_ok());
            prop_assert_eq!(seen.iter().map(|slot| slot.text.clone()).collect::<Vec<_>>(), written);
        }
    }

    #[test]
    fn a_leaf_or_attribute_gives_any_text_back(text in any::<String>(),
        quote in prop::sample::select(vec![b'"', b'\''])) {
        let quote_char = char::from(quote);
        let mut out = Vec::new();
        if (Escape::XmlAttribute { quote }).text(text.as_bytes(), &mut out).is_ok() {
            let document = format!("<a v={quote_char}{}{quote_char}/>", String::from_utf8(out).unwrap());
            let (_, seen) = Case::new(&["/a/@v"]).check(document.as_bytes());
            prop_assert_eq!(&seen[0].text, &text);
            let mut out = Vec::new();
            Escape::XmlText.text(text.as_bytes(), &mut out).unwrap();
            let document = format!("<a> {}\n</a>", String::from_utf8(out).unwrap());
            let (_, seen) = Case::new(&["/a"]).check(document.as_bytes());
            prop_assert_eq!(&seen[0].text, &text);
        }
    }

    #[test]
    fn a_predicate_says_the_same_wherever_it_is_decided(
        before in vec(element(), 0..3), after in vec(element(), 0..3), hit: bool, sizes in vec(1_usize..30, 1..5),
    ) {
        let (before, after) = (before.concat(), after.concat());
        let key = if hit { "<key v='x'/>" } else { "<key v='y'/>" };
        let document = format!("<r xmlns:p='u' xmlns:q='v'><i>{before}{key}{after}</i></r>");
        let far = Case::new(&["/r/i[key/@v='x']//@v"]).run(document.as_bytes(), &sizes);
        let near = Case::new(&["/r/i//@v"]).run(document.as_bytes(), &[]);
        prop_assert_eq!(&far.0, &near.0);
        if far.0.is_ok() {
            let expect = if hit { near.1 } else { Vec::new() };
            prop_assert_eq!(far.1, expect);
        }
    }
}
