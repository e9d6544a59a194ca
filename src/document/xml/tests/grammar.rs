//! What is well-formed, and what is refused.

use super::*;

#[test]
fn well_formed_documents_pass() {
    for document in [
        "<a/>",
        "<a></a>",
        "\u{feff}<a/>",
        "<?xml version=\"1.0\"?><a/>",
        "<?xml version='1.0' encoding='UTF-8' standalone = \"yes\" ?>\r\n<a/>",
        "\u{feff}<?xml\tversion=\"1.0\" encoding=\"utf-8\"?><a/>",
        "<?xml-stylesheet href='x'?><!-- c --><a/> <!-- d --><?e?>\n",
        "<a b='1' c = \"2\"\n/>",
        "<a b='\"' c=\"'>\"></a >",
        "<a>x &lt;&gt;&amp;&apos;&quot;&#65;&#x41; ] ]] ]]&gt; y</a>",
        "<a>]<![CDATA[ <b> & ]] ]> ]]]]>]</a>",
        "<a><!-- - x --><?p a?b ??></a>",
        "<a xmlns='u' xmlns:p='v'><p:b p:c='1' c='2'/></a>",
        "<p:a xmlns:p='u'><p:b xmlns:p='v' p:x='1'/></p:a>",
        "<p:a p:b='1' xmlns:p='u'/>",
        "<a xmlns='u'><b xmlns=''/></a>",
        "<a xml:lang='de' xmlns:xml='http://www.w3.org/XML/1998/namespace'/>",
        "<\u{e9}l\u{e8}ve n\u{b7}='\u{1f600}'>\u{feff}\u{85}\u{7f}</\u{e9}l\u{e8}ve>",
    ] {
        for case in [Case::new(&[]), Case::new(&[]).watched(), Case::new(&["//zzz", "//zzz/@c"]).watched()] {
            assert_eq!(case.fault(document.as_bytes()), "none", "{document}");
        }
    }
}

fn refused(documents: &[(&[u8], &str)]) {
    for case in [Case::new(&[]), Case::new(&["//zzz[a/b='c']/@b"]).watched()] {
        for (document, expect) in documents {
            assert_eq!(&case.fault(document), expect, "{}", document.escape_ascii());
        }
    }
}

#[test]
fn what_does_not_match_is_refused() {
    refused(&[
        (b"", "unexpected end at offset 0"),
        (b" ", "unexpected end at offset 1"),
        (b"a", "unexpected end at offset 1"),
        (b"ab", "unexpected byte at offset 0: wanted `<`"),
        (b"<", "unexpected end at offset 1"),
        (b"<a", "unexpected end at offset 2"),
        (b"<a>", "unexpected end at offset 3"),
        (b"<a></a", "unexpected end at offset 6"),
        (b"<a/><b/>", "unexpected byte at offset 4: wanted the end of the document"),
        (b"<a/>x", "unexpected byte at offset 4: wanted the end of the document"),
        (b"<a/></a>", "unexpected byte at offset 5: wanted the end of the document"),
        (b"<a/>&#32;", "unexpected byte at offset 4: wanted the end of the document"),
        (b"<a/><![CDATA[]]>", "unexpected byte at offset 6: wanted a comment or, in an element, a CDATA section"),
        (b"</a>", "unexpected byte at offset 1: wanted the root element"),
        (b"<!-- x -->", "unexpected end at offset 10"),
        (b"<a></b>", "end tag of another element at offset 5"),
        (b"<a></aa>", "end tag of another element at offset 5"),
        (b"<a></A>", "end tag of another element at offset 5"),
        (b"<a><b></a></b>", "end tag of another element at offset 8"),
        (b"<p:a xmlns:p='u' xmlns:q='u'></q:a>", "end tag of another element at offset 31"),
        (b"<a></a b='c'>", "unexpected byte at offset 7: wanted `>`"),
        (b"< a/>", "unexpected byte at offset 1: wanted a name"),
        (b"<1a/>", "unexpected byte at offset 1: wanted a name"),
        (b"<a/ >", "unexpected byte at offset 3: wanted `>`"),
        (b"<a b/>", "unexpected byte at offset 4: wanted `=`"),
        (b"<a b=1/>", "unexpected byte at offset 5: wanted a quoted value"),
        (b"<a b='1'c='2'/>", "unexpected byte at offset 8: wanted white space, `/>` or `>`"),
        (b"<a b='1' b='2'/>", "attribute that stands twice at offset 9"),
        (
            b"<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>",
            "attribute that stands twice, by different prefixes at offset 0",
        ),
    ]);
}

#[test]
fn text_and_markup_that_are_not_well_formed_are_refused() {
    refused(&[
        (b"<a b='<'/>", "unexpected byte at offset 6: wanted no `<` in an attribute value"),
        (b"<a b='&'/>", "bad escape at offset 6"),
        (b"<a b='&x;'/>", "bad escape at offset 6"),
        (b"<a>&nbsp;</a>", "bad escape at offset 3"),
        (b"<a>&#0;</a>", "bad escape at offset 3"),
        (b"<a>& </a>", "bad escape at offset 3"),
        (b"<a>]]></a>", "`]]>` in text at offset 3"),
        (b"<a>]]]></a>", "`]]>` in text at offset 4"),
        (b"<a><!-- -- --></a>", "unexpected byte at offset 10: wanted `>` after `--`"),
        (b"<a><!-- ---></a>", "unexpected byte at offset 10: wanted `>` after `--`"),
        (b"<a><!- -></a>", "unexpected byte at offset 5: wanted a comment or, in an element, a CDATA section"),
        (b"<a><![cdata[]]></a>", "unexpected byte at offset 5: wanted a comment or, in an element, a CDATA section"),
        (b"<!DOCTYPE a><a/>", "document type declaration at offset 0"),
        (b"<!doctype a><a/>", "unexpected byte at offset 2: wanted a comment or, in an element, a CDATA section"),
        (b"<a><!DOCTYPE a></a>", "document type declaration at offset 3"),
        (b"<a><!ENTITY b 'c'></a>", "unexpected byte at offset 5: wanted a comment or, in an element, a CDATA section"),
        (b"<?xml version='1.1'?><a/>", "XML version other than 1.0 at offset 0"),
        (b"<?xml version='1.0' encoding='latin1'?><a/>", "document in another encoding: wanted UTF-8"),
        (b"<?xml version='1.0' encoding='UTF-16'?><a/>", "document in another encoding: wanted UTF-8"),
        (b"<?xml encoding='UTF-8'?><a/>", "XML declaration that is not well-formed at offset 0"),
        (
            b"<?xml version='1.0' standalone='no' encoding='UTF-8'?><a/>",
            "XML declaration that is not well-formed at offset 0",
        ),
        (b"<?xml version='1.0' version='1.0'?><a/>", "XML declaration that is not well-formed at offset 0"),
        (b"<?xml version='1.0'encoding='UTF-8'?><a/>", "XML declaration that is not well-formed at offset 0"),
        (b"<?xml version='1.0' x='1'?><a/>", "XML declaration that is not well-formed at offset 0"),
        (b"<?xml ?><a/>", "XML declaration that is not well-formed at offset 0"),
        (b" <?xml version='1.0'?><a/>", "XML declaration that is not at the start at offset 3"),
        (b"<a><?XML x?></a>", "XML declaration that is not at the start at offset 5"),
        (b"<a><? x?></a>", "unexpected byte at offset 5: wanted a name"),
        (b"<a><?x:y z?></a>", "processing instruction with a colon in its name at offset 5"),
        (b"<a><?x?y?></a>", "unexpected byte at offset 7: wanted `>`"),
        (b"<a><?x+y?></a>", "unexpected byte at offset 6: wanted white space or `?>`"),
    ]);
}

#[test]
fn names_and_characters_that_are_not_allowed_are_refused() {
    refused(&[
        (b"<p:a/>", "prefix that is not declared at offset 0"),
        (b"<a p:b='1'/>", "prefix that is not declared at offset 0"),
        (b"<a><b xmlns:p='u'/><p:c/></a>", "prefix that is not declared at offset 19"),
        (b"<xmlns:a/>", "prefix that is not declared at offset 0"),
        (b"<a xmlns:p=''/>", "prefix without a namespace at offset 12"),
        (b"<a xmlns:xmlns='u'/>", "declaration of the prefix or namespace of `xmlns` at offset 16"),
        (b"<a xmlns:xml='u'/>", "declaration of the prefix or namespace of `xml` at offset 14"),
        (
            b"<a xmlns='http://www.w3.org/XML/1998/namespace'/>",
            "declaration of the prefix or namespace of `xml` at offset 10",
        ),
        (b"<a:b:c/>", "name with a colon that ends no prefix at offset 1"),
        (b"<:a/>", "name with a colon that ends no prefix at offset 1"),
        (b"<a b:='1'/>", "name with a colon that ends no prefix at offset 3"),
        (b"<a>\x00</a>", "control character at offset 3"),
        (b"<a b='\x1b'/>", "control character at offset 6"),
        (b"<a><!--\x08--></a>", "control character at offset 7"),
        (b"<a>\xef\xbf\xbe</a>", "character that XML does not allow at offset 3"),
        (b"<a>\xff</a>", "invalid UTF-8 at offset 3"),
        (b"<a>\xc3</a>", "invalid UTF-8 at offset 3"),
        (b"<a>\xed\xa0\x80</a>", "invalid UTF-8 at offset 3"),
        (b"<a><?p \xe9?></a>", "invalid UTF-8 at offset 7"),
        (b"<a\xff/>", "invalid UTF-8 at offset 2"),
        (b"<a/>\xff", "invalid UTF-8 at offset 4"),
        (b"<a>\xc3", "unexpected end at offset 4"),
        (b"\xff\xfe<\x00a\x00/\x00>\x00", "document in another encoding: wanted UTF-8"),
        (b"\x00<\x00a\x00/\x00>", "document in another encoding: wanted UTF-8"),
        (b"<\x00a\x00/\x00>\x00", "document in another encoding: wanted UTF-8"),
        (b"\xef\xbb\xbf\xef\xbb\xbf<a/>", "unexpected byte at offset 3: wanted `<`"),
        (b"+ADw-a+AD4-", "unexpected byte at offset 0: wanted `<`"),
    ]);
}

#[test]
fn what_a_tag_may_hold_is_bounded() {
    let attributes = |count: usize| (0..count).map(|n| format!(" a{n}='x'")).collect::<String>();
    assert_eq!(Case::new(&[]).run(format!("<a{}/>", attributes(256)).as_bytes(), &[]).0.map(drop), Ok(()));
    let (output, _) = Case::new(&[]).run(format!("<a{}/>", attributes(257)).as_bytes(), &[]);
    assert!(matches!(output, Err(Fault::Unaccepted { what: "more than 256 attributes", .. })));
    let (output, _) = Case::new(&[]).run(format!("<a{}b='1'/>", " ".repeat(65537)).as_bytes(), &[1000]);
    assert!(matches!(output, Err(Fault::Unaccepted { offset: 0, .. })));
    let declared: String = (0..257).map(|n| format!("<a xmlns:p{n}='u'>")).collect();
    let (output, _) =
        Case::new(&[]).limited(Limits { depth_max: 1000, ..Limits::default() }).run(declared.as_bytes(), &[]);
    assert!(matches!(output, Err(Fault::Unaccepted { what: "more than 256 namespace declarations", .. })));
    let long = format!("<?xml version='1.0'{}?><a/>", " ".repeat(1024));
    assert_eq!(Case::new(&[]).fault(long.as_bytes()), "XML declaration longer than 1 KiB at offset 0");
}

#[test]
fn limits_hold() {
    let limits = Limits { depth_max: 2, value_bytes_max: 4, name_bytes_max: 3, ..Limits::default() };
    let case = Case::new(&["//v", "//w/@x", "//m/markup()", "//c[k/@t='u']/o"]).limited(limits);
    for (document, expect) in [
        ("<a><b/></a>", "none"),
        ("<a><b><c/></b></a>", "document deeper than 2 at offset 6"),
        ("<abc/>", "none"),
        ("<abcd/>", "name at offset 1 longer than 3 bytes"),
        ("<a abcd='1'/>", "name at offset 3 longer than 3 bytes"),
        ("<a><?abcd?></a>", "name at offset 5 longer than 3 bytes"),
        ("<ab\u{e9}/>", "name at offset 1 longer than 3 bytes"),
        ("<v>abcd</v>", "none"),
        ("<v>    abcd</v>", "none"),
        ("<v>abcde</v>", "value at offset 3 longer than 4 bytes"),
        ("<v>  <b>abcde</b></v>", "value at offset 8 longer than 4 bytes"),
        ("<v>&amp;</v>", "value at offset 3 longer than 4 bytes"),
        ("<b>abcdefghijkl</b>", "none"),
        ("<w x='abcd'/>", "none"),
        ("<w x='abcde'/>", "value at offset 6 longer than 4 bytes"),
        ("<w x='abcd' y='abcde'/>", "value at offset 15 longer than 4 bytes"),
        ("<w y='abcde' x='abcd'/>", "none"),
        ("<b x='abcdefghijkl'/>", "none"),
        ("<a xu='abcdefghijkl'/>", "none"),
        ("<m>abcd</m>", "none"),
        ("<m>abcd</m      >", "none"),
        ("<m><b/></m>", "none"),
        ("<m>abcde</m>", "value at offset 3 longer than 4 bytes"),
        ("<m>a<b/></m>", "value at offset 3 longer than 4 bytes"),
        ("<c><o/></c>", "value at offset 0 longer than 4 bytes"),
        ("<c></c>", "none"),
        ("<a><!--abcdefghijkl--><?b abcdefghijkl?></a>", "none"),
    ] {
        assert_eq!(case.fault(document.as_bytes()), expect, "{document}");
    }
    let names = Case::new(&[]).limited(Limits { value_bytes_max: 4, ..Limits::default() });
    assert_eq!(names.fault(b"<a xmlns='abcd'/>"), "none");
    assert_eq!(names.fault(b"<a xmlns='abcde'/>"), "value at offset 10 longer than 4 bytes");
    let watched = Case { watch: Some(Watch::new(|text| text.starts_with(b"t."))), ..case };
    for (document, expect) in [
        ("<b>abcdefghijkl</b>", "none"),
        ("<b>t.abcdefghijkl</b>", "value at offset 3 longer than 4 bytes"),
        ("<b>  <![CDATA[t.abcdefghijkl]]></b>", "none"),
        ("<b y='t.abcdefghijkl'/>", "value at offset 6 longer than 4 bytes"),
        ("<b y='abcdefghijkl'/>", "none"),
        ("<b><!--t.abcdefghijkl--></b>", "value at offset 7 longer than 4 bytes"),
        ("<b><!--abcdefghijkl--></b>", "none"),
        ("<b><?p t.abcdefghijkl?></b>", "value at offset 6 longer than 4 bytes"),
        ("<t.b y='abcdefghijkl'/>", "value at offset 8 longer than 4 bytes"),
    ] {
        assert_eq!(watched.fault(document.as_bytes()), expect, "{document}");
    }
}
