//! What is selected, and what is shown of it.

use super::*;

fn selects(paths: &[&str], document: &str, expect: &[&str]) {
    assert_eq!(Case::new(paths).listed(document), expect, "{paths:?} in {document}");
}

fn refuses(paths: &[&str], document: &str, expect: &str) {
    let fault = Case::new(paths).fault(document.as_bytes());
    assert!(fault.contains(expect), "{paths:?} in {document}: {fault}");
}

#[test]
fn paths_select_what_they_name() {
    let document = "<p><n use='o'><f>Doe</f><g>J</g><g>K</g></n><n><f/></n><ssn></ssn></p>";
    selects(&["/p/n/f"], document, &["0:Doe"]);
    selects(&["//g"], document, &["0:J", "0:K"]);
    selects(&["/p/n/@use"], document, &["0:o"]);
    selects(&["//@use"], document, &["0:o"]);
    selects(&["/p//@use"], document, &["0:o"]);
    selects(&["/p/n//@use"], document, &["0:o"]);
    selects(&["/p/ssn"], document, &["0:"]);
    selects(&["/p/*/f/text()"], document, &["0:Doe"]);
    selects(&["/*/*/*"], document, &["0:Doe", "0:J", "0:K"]);
    selects(&["/p/n"], document, &["0:Doe", "0:J", "0:K"]);
    selects(&["/p//f", "/p/n"], document, &["0:Doe", "1:J", "1:K"]);
    selects(&["/p/n", "/p//f"], document, &["0:Doe", "0:J", "0:K"]);
    selects(&["/n", "/p/f", "/p/g/n", "//P", "//n/@Use", "/p/ssn/@use"], document, &[]);
    selects(&["//a//a/@v"], "<a v='1'><b><a v='2'><a v='3'/></a></b></a>", &["0:2", "0:3"]);
}

#[test]
fn names_match_by_namespace_when_the_path_has_one() {
    let document = "<r xmlns='u' xmlns:p='u' xmlns:q='v'><a x='1' p:x='2' q:x='3'>4</a><p:a>5</p:a><q:a>6</q:a></r>";
    selects(&["//a"], document, &["0:4", "0:5", "0:6"]);
    selects(&["//{u}a"], document, &["0:4", "0:5"]);
    selects(&["/{u}r/{v}a"], document, &["0:6"]);
    selects(&["//a/@x"], document, &["0:1", "0:2", "0:3"]);
    selects(&["//a/@{}x"], document, &["0:1"]);
    selects(&["//a/@{u}x"], document, &["0:2"]);
    selects(&["//{}a", "//{w}a", "//{U}a"], document, &[]);
    // What a prefix means may be said behind it, and again inside.
    selects(&["//{u}a/@{u}x"], "<p:a p:x='1' xmlns:p='u'><p:a p:x='2' xmlns:p='v'/></p:a>", &["0:1"]);
}

#[test]
fn an_element_in_no_namespace_does_not_hide_a_value() {
    let refused = "selected element in no namespace";
    refuses(&["//{u}a/{u}b/@v"], "<a><b v='1'/></a>", refused);
    refuses(&["//{u}a/{u}b/@v"], "<a xmlns='u'><b xmlns='' v='1'/></a>", refused);
    refuses(&["//{u}a/{u}b/@v"], "<a><b xmlns='u' v='1'/></a>", refused);
    refuses(&["//{u}a/{u}b[{u}c/@d='e']"], "<a><b>1</b></a>", refused);
    refuses(&["/{u}a//@v"], "<a><b v='1'/></a>", refused);
    refuses(&["//{u}a/markup()"], "<a/>", refused);
    selects(&["//{u}a/{u}b/@v"], "<a><c><b v='1'/></c><b/></a>", &[]);
    selects(&["//{u}a/{u}b/@v"], "<a xmlns='w'><b v='1'/></a>", &[]);
    selects(&["//{u}a/{u}b/@v", "//b/@v"], "<a><b v='1'/></a>", &["1:1"]);
    selects(&["//{u}a[{u}c='d']/@v"], "<a xmlns='u' v='1'><c>e</c></a>", &[]);
}

#[test]
fn text_is_decoded_and_trimmed() {
    for (document, raw, text) in [
        ("<a>x</a>", "x", "x"),
        ("<a>\n  x y \t</a>", "x y", "x y"),
        ("<a>&lt;&#x41;&#66;&amp;amp;</a>", "&lt;&#x41;&#66;&amp;amp;", "<AB&amp;"),
        ("<a> <![CDATA[ <x>&amp; ]]> </a>", "<![CDATA[ <x>&amp; ]]>", " <x>&amp; "),
        ("<a>x<![CDATA[y]]>&#122;<![CDATA[]]></a>", "x<![CDATA[y]]>&#122;<![CDATA[]]>", "xyz"),
        ("<a><![CDATA[]]]]><![CDATA[>]]></a>", "<![CDATA[]]]]><![CDATA[>]]>", "]]>"),
        ("<a>1\r\n2\r3\n4&#13;</a>", "1\r\n2\r3\n4&#13;", "1\n2\n3\n4\r"),
        ("<a><![CDATA[\r\n]]>x</a>", "<![CDATA[\r\n]]>x", "\nx"),
        ("<a>&#32;</a>", "&#32;", " "),
        ("<a>&#32;x&#32;</a>", "&#32;x&#32;", " x "),
        ("<a></a>", "", ""),
        ("<a> \n </a>", "", ""),
        ("<a><![CDATA[]]></a>", "<![CDATA[]]>", ""),
        ("<a>\u{a0}\u{e9}\u{a0}</a>", "\u{a0}\u{e9}\u{a0}", "\u{a0}\u{e9}\u{a0}"),
    ] {
        let (_, seen) = Case::new(&["/a"]).check(document.as_bytes());
        assert_eq!(seen.len(), 1, "{document}");
        assert_eq!((seen[0].raw.as_str(), seen[0].text.as_str()), (raw, text), "{document}");
        assert_eq!(seen[0].escape, Escape::XmlText);
    }
    selects(&["/a"], "<a/>", &[]);
    selects(&["/a"], "<a><b/> <c> </c><d>&#32;</d></a>", &[]);
}

#[test]
fn attribute_values_are_normalised() {
    for (document, raw, text, quote) in [
        ("<a v='x'/>", "x", "x", b'\''),
        ("<a v=\"\"/>", "", "", b'"'),
        ("<a v=' x\ty\r\nz\n '/>", " x\ty\r\nz\n ", " x y z  ", b'\''),
        ("<a v=\"&#9;&#10;&#13;'&quot;>\"/>", "&#9;&#10;&#13;'&quot;>", "\t\n\r'\">", b'"'),
        ("<a v='&lt;![CDATA[x]]>'></a>", "&lt;![CDATA[x]]>", "<![CDATA[x]]>", b'\''),
    ] {
        let (_, seen) = Case::new(&["/a/@v"]).check(document.as_bytes());
        assert_eq!(seen.len(), 1, "{document}");
        assert_eq!((seen[0].raw.as_str(), seen[0].text.as_str()), (raw, text), "{document}");
        assert_eq!(seen[0].escape, Escape::XmlAttribute { quote });
    }
}

#[test]
fn every_run_of_text_in_a_selected_element_is_a_slot() {
    selects(&["/a"], "<a> x <b y='no'>z</b>\n<c/> &#10; <d><e>v</e>w</d></a>", &["0:x", "0:z", "0:v", "0:w"]);
    selects(&["/a"], "<a><!-- c --><b>x</b><?p?></a>", &["0:x"]);
    selects(&["/a"], "<a><!-- c --></a>", &[]);
    let refused = "comment or processing instruction in a selected text";
    for document in [
        "<a>x<!-- c -->y</a>",
        "<a>x<!-- c --></a>",
        "<a><!-- c -->x</a>",
        "<a> <?p?> x</a>",
        "<a><b/>x<?p?><b/></a>",
        "<a><b>1<!---->2</b></a>",
        "<a><![CDATA[x]]><!-- c --></a>",
        "<a>&#32;<!-- c --></a>",
    ] {
        refuses(&["/a"], document, refused);
    }
    selects(&["/a/b"], "<a>x<!-- c -->y<b>z</b></a>", &["0:z"]);
}

#[test]
fn markup_is_one_slot() {
    let document = "<t><div>a<b x='1'>c</b><!-- d --> &amp; </div><div/><div></div><div> </div></t>";
    selects(&["//div/markup()"], document, &["0:a<b x='1'>c</b><!-- d --> &amp; ", "0: "]);
    let case = Case::new(&["//b/@x", "//b", "//div/markup()", "//div/@id", "/t"]);
    let (_, seen) = case.check(b"<t>1<div id='2'><b x='3'>4</b><div>5</div></div>6</t>");
    let shown: Vec<_> = seen.iter().map(|slot| (slot.rule, slot.text.as_str(), slot.inner.clone())).collect();
    assert_eq!(
        shown,
        [
            (Some(4), "1", vec![]),
            (Some(3), "2", vec![]),
            (Some(2), "<b x='3'>4</b><div>5</div>", vec![0, 1, 2, 4]),
            (Some(4), "6", vec![]),
        ]
    );
    assert_eq!(seen[2].escape, Escape::XmlMarkup);
    for (inside, holds) in
        [("tok.1", true), ("<b x='tok.1'/>", true), ("<!-- tok.1 -->", true), ("<tok.b/>", true), ("x", false)]
    {
        let (_, seen) = Case::new(&["//m/markup()"]).watched().check(format!("<m>{inside}</m>").as_bytes());
        assert_eq!((seen.len(), seen[0].watched), (1, holds), "{inside}");
    }
}

#[test]
fn predicates_select_by_what_stands_before_or_after() {
    let path = &["//i[s/@v='x']/e/@v"];
    selects(path, "<r><i><s v='x'/><e v='1'/></i><i><s v='y'/><e v='2'/></i><i><e v='3'/></i></r>", &["0:1"]);
    selects(path, "<r><i><e v='1'/><s v='x'/></i><i><e v='2'/><s v='y'/></i></r>", &["0:1"]);
    selects(path, "<r><i><e v='1'/><q><s v='x'/></q></i><s v='x'/></r>", &[]);
    selects(path, "<r><i><e v='1'/><s v='x'/><s v='x'/><s/></i></r>", &["0:1"]);
    selects(path, "<i><e v='1'/><i><e v='2'/><s v='y'/></i><s v='&#120;'/></i>", &["0:1"]);
    selects(&["//i[s='x']/e"], "<i><e>1</e><s><![CDATA[x]]></s></i>", &["0:1"]);
    selects(&["//i[s='x']/e"], "<i><e>1</e><s>xx</s></i>", &[]);
    selects(&["//i[s='']/e"], "<i><e>1</e><s/></i>", &["0:1"]);
    selects(&["//i[@t='x']/@v"], "<r><i v='1' t='x'/><i t='y' v='2'/><i v='3'/></r>", &["0:1"]);
    selects(&["//i[a/b/@c='x'][@d='y']/e"], "<i d='y'><e>1</e><a/><a><b/></a><a><b c='x'/></a></i>", &["0:1"]);
    selects(&["//i[a/b/@c='x'][@d='y']/e"], "<i d='z'><e>1</e><a><b c='x'/></a></i>", &[]);
    selects(&["//i[a='1']/j[b='2']/e"], "<i><j><e>3</e><b>2</b></j><a>1</a></i>", &["0:3"]);
    selects(&["//i[a='1']/j[b='2']/e"], "<i><j><e>3</e><b>2</b></j><a>2</a></i>", &[]);
    selects(&["//i[a='1']/m/markup()", "//k"], "<i><m><k>3</k></m><a>1</a></i>", &["0:<k>3</k>"]);
    selects(&["//i[a='1']/m/markup()", "//k"], "<i><m><k>3</k></m><a>0</a></i>", &["1:3"]);
    selects(&["//i[{u}s/@v='x']/@e"], "<i e='1' xmlns='w' xmlns:p='u'><s v='y'/><p:s v='x'/></i>", &["0:1"]);
    selects(&["//i[s='x']", "//i"], "<r><i>1<s>x</s></i><i>2<s>y</s></i></r>", &["0:1", "0:x", "1:2", "1:y"]);
}

#[test]
fn predicates_that_readers_could_decide_differently_are_refused() {
    let path = &["//i[s/@v='x']/e"];
    refuses(path, "<i><s v='x'/><e>1</e><s v='y'/></i>", "ambiguous");
    refuses(path, "<i><s v='y'/><e>1</e><s v='x'/></i>", "ambiguous");
    refuses(path, "<i><s v='y'/><s v='z'/></i>", "ambiguous");
    refuses(path, "<i><s v=' x'/></i>", "white space around");
    refuses(path, "<i xmlns:p='u'><s v='y' p:v='x'/></i>", "ambiguous");
    refuses(&["//i[@t='x']"], "<i t='x '/>", "white space around");
    refuses(&["//i[@t='x']"], "<i xmlns:p='u' t='y' p:t='x'/>", "ambiguous");
    let path = &["//i[s='x']/e"];
    refuses(path, "<i><s>y</s><s>x</s></i>", "ambiguous");
    refuses(path, "<i><s/><s>x</s></i>", "ambiguous");
    refuses(path, "<i><s> x</s></i>", "white space around");
    refuses(path, "<i><s>&#10;x</s></i>", "white space around");
    refuses(path, "<i><s>x<b/></s></i>", "element inside a text");
    refuses(path, "<i><s><b>x</b></s></i>", "element inside a text");
    refuses(path, "<i><s>x<!-- c --></s></i>", "comment or processing instruction");
    refuses(path, "<i><e>1</e><s>x</s>", "unexpected end");
    let path = &["//i[{u}s/@v='x']/e"];
    refuses(path, "<i><s v='x'/><e>1</e></i>", "element in no namespace where a predicate looks");
}

#[test]
fn what_is_decided_holds_nothing_back() {
    let case = Case::new(&["//i[s/@v='x']/e"]).limited(Limits { value_bytes_max: 40, ..Limits::default() });
    let long = "y".repeat(100);
    for (document, expect) in [
        (format!("<i><s v='x'/><e>1</e><q>{long}</q></i>"), "none"),
        (format!("<i><s v='w'/><e>{long}</e></i>"), "none"),
        (format!("<i><s v='w'/><e><i><s v='x'/>{long}</i></e></i>"), "none"),
        (format!("<i><q>{long}</q><s v='x'/></i>"), "value at offset 0 longer than 40 bytes"),
        (format!("<i><q/>{}<s v='x'/></i>", "<q/>".repeat(20)), "value at offset 0 longer than 40 bytes"),
        (format!("<i><s v='x'/><e>{long}</e></i>"), "value at offset 16 longer than 40 bytes"),
        (format!("<i><s v='{long}'/></i>"), "value at offset 0 longer than 40 bytes"),
    ] {
        assert_eq!(case.fault(document.as_bytes()), expect, "{document}");
    }
}

#[test]
fn strays_are_shown_wherever_they_stand() {
    let case = Case::new(&["//s"]).watched();
    let document = "<!-- tok.0 --><a x='tok.1' tok.n='1' y='&#116;ok.2'>\n tok.3 <s>tok.4</s>x tok.<!--tok.5-->tok.6\
        <?tok.p d?><?p tok.7 ?><tok.e/><b xmlns:tok.x='tok.8'></b></a><?q tok.9?>";
    let expect = [
        "-:tok.0", "-:tok.1", "-:tok.n", "-:tok.2", "-:tok.3", "0:tok.4", "-:tok.5", "-:tok.6", "-:tok.p", "-:tok.7",
        "-:tok.e", "-:tok.x", "-:tok.8", "-:tok.9",
    ];
    assert_eq!(case.listed(document), expect);
    let (_, seen) = case.check(document.as_bytes());
    let fixed: Vec<usize> = (0..seen.len()).filter(|&at| seen[at].escape == Escape::XmlFixed).collect();
    assert_eq!(fixed, [0, 2, 6, 8, 9, 10, 11, 13]);
    assert_eq!(seen.iter().filter(|slot| slot.place == Place::Name).count(), 4);
    // The end tag has the name again.
    assert_eq!(case.listed("<p:tok.a xmlns:p='u'>x</p:tok.a>"), ["-:tok.a", "-:tok.a"]);
    assert_eq!(
        Case::new(&["//i[s='1']/e"]).watched().listed("<i><e>tok.1</e>tok.2<s>0</s></i>"),
        ["-:tok.1", "-:tok.2"]
    );
}

#[test]
fn replacements_stand_where_the_slots_stood() {
    let case = Case::new(&["//v/@x", "//v", "//m/markup()"]);
    let document = "<r><v x = 'a'>  b <![CDATA[c]]>\n</v><v></v><v/><m>d<e/></m></r>";
    for sizes in [&[][..], &[1], &[5]] {
        let (output, _) = case.answered(document.as_bytes(), sizes, &mut |slot| {
            let mut out = Vec::new();
            slot.escape.text(if slot.escape == Escape::XmlMarkup { b"<T/>" } else { b"<'T" }, &mut out).unwrap();
            Some(out)
        });
        let expect = "<r><v x = '&lt;&apos;T'>  &lt;'T\n</v><v>&lt;'T</v><v/><m><T/></m></r>";
        assert_eq!(String::from_utf8(output.unwrap()).unwrap(), expect);
    }
}

#[test]
fn values_are_written_by_the_escape_of_their_place() {
    let write = |escape: Escape, text: &[u8]| {
        let mut out = Vec::new();
        escape.text(text, &mut out).ok().map(|()| String::from_utf8(out).unwrap())
    };
    let single = Escape::XmlAttribute { quote: b'\'' };
    for (escape, text, expect) in [
        (Escape::XmlText, &b"a<b>&\r'\""[..], Some("a&lt;b&gt;&amp;&#13;'\"")),
        (Escape::XmlText, b" a\nb\t", Some("&#32;a\nb&#9;")),
        (Escape::XmlText, b" \r\n", Some("&#32;&#13;&#10;")),
        (Escape::XmlText, b"", Some("")),
        (Escape::XmlText, b"a\x00", None),
        (Escape::XmlText, b"a\x0b", None),
        (Escape::XmlText, b"\xef\xbf\xbf", None),
        (Escape::XmlText, b"\xed\xa0\x80", None),
        (single, b"a'b\"\t\r\n<", Some("a&apos;b\"&#9;&#13;&#10;&lt;")),
        (Escape::XmlAttribute { quote: b'"' }, b"'\"", Some("'&quot;")),
        (single, b"\x1f", None),
        (
            Escape::XmlMarkup,
            b"x<p:b a='1'>y</p:b>&amp;<!-- c --><![CDATA[d]]>",
            Some("x<p:b a='1'>y</p:b>&amp;<!-- c --><![CDATA[d]]>"),
        ),
        (Escape::XmlMarkup, b"", Some("")),
        (Escape::XmlMarkup, b"<b>", None),
        (Escape::XmlMarkup, b"</x><x>", None),
        (Escape::XmlMarkup, b"</x>", None),
        (Escape::XmlMarkup, b"</x><!--", None),
        (Escape::XmlMarkup, b"a & b", None),
        (Escape::XmlMarkup, b"<!-- ", None),
        (Escape::XmlMarkup, b"<![CDATA[", None),
        (Escape::XmlMarkup, b"<b a='", None),
        (Escape::XmlMarkup, b"<b a=1/>", None),
        (Escape::XmlMarkup, b"&nbsp;", None),
        (Escape::XmlMarkup, b"<?xml version='1.0'?>", None),
        (Escape::XmlMarkup, b"\xff", None),
        (Escape::XmlFixed, b"x", None),
    ] {
        assert_eq!(write(escape, text).as_deref(), expect, "{escape:?} {}", text.escape_ascii());
    }
    let mut out = Vec::new();
    Escape::XmlText.literal(b"true", &mut out).unwrap();
    assert_eq!(out, b"true");
}

#[test]
fn memory_holds_the_value_at_hand_alone() {
    let case = Case::new(&["//v", "//v/@x", "//i[s='1']/e"]).watched();
    let case = case.limited(Limits { value_bytes_max: 100, ..Limits::default() });
    let mut rewriter = Rewriter::new(case.rules, case.limits, case.watch);
    rewriter.feed(b"<a>");
    let parts = [
        "<b y='",
        "z",
        "'/>",
        "t",
        "<!--",
        "c",
        "--><?p ",
        "d",
        "?><![CDATA[",
        "e",
        "]]><c>",
        "<i><s>0</s>",
        "</i></c>",
    ];
    for part in parts {
        for _ in 0..if part.len() == 1 { 5000 } else { 1 } {
            rewriter.feed(part.as_bytes());
            assert_eq!(rewriter.step(), Ok(Step::NeedInput));
            drop(rewriter.take_output());
            assert!(rewriter.input.len() < 500, "{part}");
        }
    }
    rewriter.feed(b"</a>");
    rewriter.finish();
    assert_eq!(rewriter.step(), Ok(Step::Done));
}
