//! Which words are yielded, and with which escape.

use super::*;

/// Templates, and how a text is written in place of their tokens, or `None` where they stay sealed.
fn expect(cases: &[(&str, Option<Escape>)]) {
    for (template, escape) in cases {
        let (document, tokens) = filled(template);
        let found = check(document.as_bytes(), None);
        let escapes: Vec<Escape> = found.seen.iter().map(|(_, _, escape)| *escape).collect();
        match escape {
            Some(escape) => assert_eq!(escapes, vec![*escape; tokens], "{template}"),
            None => assert_eq!(escapes, [], "{template}"),
        }
        assert_eq!(found.left, (tokens - escapes.len()) as u64, "{template}");
    }
}

const TEXT: Option<Escape> = Some(Escape::HtmlText);
const FIRST: Option<Escape> = Some(Escape::HtmlFirstText);
const ATTRIBUTE: Option<Escape> = Some(Escape::HtmlAttribute);
const UNQUOTED: Option<Escape> = Some(Escape::HtmlUnquoted);
const URL: Option<Escape> = Some(Escape::HtmlUrl);
const JS: Option<Escape> = Some(Escape::JsString);

#[test]
fn text_is_yielded_between_tags_and_in_titles_and_text_areas() {
    expect(&[
        ("T", TEXT),
        ("\u{feff}T", TEXT),
        ("éT€", TEXT),
        ("<p>T</p> T, (T)", TEXT),
        ("a < b T", TEXT),
        ("<3 T", TEXT),
        ("</>T", TEXT),
        ("&amp;T&amp", TEXT),
        ("#T", TEXT),
        ("&;#T", TEXT),
        ("<p/>T", TEXT),
        ("<p a=b>T", TEXT),
        ("<p a='>'>T", TEXT),
        ("<p a=\">\">T", TEXT),
        ("<p a=>T", TEXT),
        ("<p =a>T", TEXT),
        ("<p a=b'>T", TEXT),
        ("<p a'>T", TEXT),
        ("<p a=''b>T", TEXT),
        ("<p/ a = 'x' / >T", TEXT),
        ("<title>T</title>", TEXT),
        ("<TITLE>a<b>T</title >T", TEXT),
        ("<title></titlex>T</title/>T", TEXT),
        ("<textarea>x T</textarea>", TEXT),
        ("<textarea>\nT</textarea>", TEXT),
        ("<textarea></textarea>T", TEXT),
        ("<textarea>T</textarea>", FIRST),
        ("<pre>T</pre>", FIRST),
        ("<listing class=a>T</listing>", FIRST),
        ("<pre><b>T</b></pre>", TEXT),
        ("<pre/>x T", TEXT),
        ("<script></script>T", TEXT),
        ("<style></style x>T", TEXT),
        ("<script>\"<!--<script>\"</script>\"</script>T", TEXT),
        ("<script><!--<script>--></script>T", TEXT),
        ("<script><!--</script>T", TEXT),
        ("<script><!--<script </script >--></script>T", TEXT),
        ("<script><!--><script></script>T", TEXT),
        ("<style><!--</style>T", TEXT),
        ("<!---->T<!-- --!>T<!-->T<!--->T<!--a--->T<!-- <!-- -->T", TEXT),
        ("<!doctype html>T<!DOCTYPE a \">T", TEXT),
        ("<?xml ?>T<!x>T</ x>T", TEXT),
        ("<![CDATA[ ]>T", TEXT),
        ("a b\0<p\0>T", TEXT),
    ]);
}

#[test]
fn text_stays_sealed_where_it_is_code_or_hidden_or_may_be_read_in_two_ways() {
    expect(&[
        ("&T", None),
        ("&#T", None),
        ("<title>&T</title>", None),
        ("<title><T</title>", None),
        ("<title></T</title>", None),
        ("<textarea></T>", None),
        ("<T>", None),
        ("</T>", None),
        ("<!T>", None),
        ("<!T", None),
        ("<?T>", None),
        ("</ T>", None),
        ("<!doctype T>", None),
        ("<!doctype html \"T\">", None),
        ("<![CDATA[T]]>", None),
        ("<!-- T -->", None),
        ("<!--> <!-- T", None),
        ("<!-- --! T -->", None),
        ("<!-- -- > T -->", None),
        ("<!-- --!- T -->", None),
        ("<style>T</style>", None),
        ("<style>a</stylex>T</style>", None),
        ("<STYLE>T</STYLE>", None),
        ("<style/>T", None),
        ("<xmp>T</xmp>", None),
        ("<iframe>T</iframe>", None),
        ("<noembed>T</noembed>", None),
        ("<noframes>T</noframes>", None),
        ("<noscript>T</noscript>", None),
        ("<noscript><p title='T'></noscript>", None),
        ("<plaintext>T</plaintext>T", None),
        ("<script><!--<script></script>T", None),
        ("<script><!--<script>--</script>T", None),
    ]);
}

#[test]
fn attribute_values_are_yielded_by_their_quotes() {
    expect(&[
        ("<input value=\"T\">", ATTRIBUTE),
        ("<input value='a T b'>", ATTRIBUTE),
        ("<input VALUE = 'T' title=\"x;T\">", ATTRIBUTE),
        ("<input/value='T'/>", ATTRIBUTE),
        ("<input a=b'c value='T'>", ATTRIBUTE),
        ("<input a\"b value='T'>", ATTRIBUTE),
        ("<input a='b'value='T'>", ATTRIBUTE),
        ("<p data-name='#T' alt='<b>T' title='>T'>", ATTRIBUTE),
        ("<meta name=author content='T'>", ATTRIBUTE),
        ("<meta property=og:title content='T'>", ATTRIBUTE),
        ("<svg><text aria-label='T'/>", ATTRIBUTE),
        ("<input value=T>", UNQUOTED),
        ("<input value= T disabled>", UNQUOTED),
        ("<input value=a,T/>", UNQUOTED),
        ("<input value=a\"T>", UNQUOTED),
        ("<p a==T>", UNQUOTED),
        ("<p value='&T'>", None),
        ("<p value='&#T'>", None),
        ("<p value=&T>", None),
        ("<p T>", None),
        ("<p T=a>", None),
        ("<p a/T=a>", None),
        ("<p a='b'T>", None),
        ("<p onclick='T'>", None),
        ("<p ONCLICK=\"f('T')\">", None),
        ("<p onanything=T>", None),
        ("<p style='T' srcdoc='T'>", None),
        ("<p @click='T' :title='T' _='T' =a='T'>", None),
        ("<p x-data='T' v-html='T' ng-init='T' hx-vals='T'>", None),
        ("<meta content='T'>", None),
        ("<meta http-equiv=refresh content='0;url=T'>", None),
        ("<meta http-equiv='T'>", None),
        ("<set attributename=href to='T' from='T' values='T'>", None),
        ("<script type='T' language='T'></script>", None),
        ("</p title='T'>", None),
    ]);
}

#[test]
fn urls_are_open_after_their_host_alone() {
    expect(&[
        ("<a href='/patients/T'>", URL),
        ("<a href=\"/x?name=T&amp;b=T#T\">", URL),
        ("<a href=/x/T>", URL),
        ("<a href='?q=T'>", URL),
        ("<a href='#T'>", URL),
        ("<a href=' x/T'>", URL),
        ("<a href='./T'>", URL),
        ("<a href='a_b:T'>", URL),
        ("<a href='x.php?u=javascript:T'>", URL),
        ("<a href='https://h.example/T' >", URL),
        ("<a HREF='HTTP://h:80?T'>", URL),
        ("<a href='mailto:T'>", URL),
        ("<form action='/T/x'>", None),
        ("<img src='/x/T' srcset='/x/T 1x, /y/T 2x'>", URL),
        ("<svg><use xlink:href='/x#T'/>", URL),
        ("<a href='T'>", None),
        ("<a href=T>", None),
        ("<a href= T>", None),
        ("<a href=' \n\tT'>", None),
        ("<a href='&#32;T'>", None),
        ("<a href='&Tab;T'>", None),
        ("<a href='java&#9;script:T'>", None),
        ("<a href='javascript:T'>", None),
        ("<a href='JavaScript:f(\"T\")'>", None),
        ("<a href='java\nscript:/T'>", None),
        ("<a href='data:text/html,T'>", None),
        ("<a href='vbscript:T'>", None),
        ("<a href='view-source:/T'>", None),
        ("<a href='//T'>", None),
        ("<a href='/\\T'>", None),
        ("<a href='/\t/T'>", None),
        ("<a href='\\/T'>", None),
        ("<a href='https:T'>", None),
        ("<a href='https:///T'>", None),
        ("<a href='https://a@T/'>", None),
        ("<a href='https://h:T'>", None),
        ("<a href='/x%T'>", None),
        ("<a href='/x?a&T'>", None),
        ("<img srcset='/a 1x,T 2x'>", None),
        ("<img srcset='/a&#32;T'>", None),
        ("<a ping='/a T'>", None),
    ]);
}

#[test]
fn scripts_are_open_in_sure_string_literals_alone() {
    expect(&[
        ("<script>var a = 'T', b = \"T\";</script>", JS),
        ("<Script TYPE=' Text/JavaScript '>'T'</script>", JS),
        ("<script type=''>'T'</script>", JS),
        ("<script type>'T'</script>", JS),
        ("<script type=module async>'T'</script>", JS),
        ("<script language=JavaScript>'T'</script>", JS),
        ("<script type='application/json'>{\"a\": [\"T\", \"x T\"]}</script>", JS),
        ("<script type=application/ld+json>{\"a\":\"T\"}</script>", JS),
        ("<script type=module type=text/x>'T'</script>", JS),
        ("<script>'\\'T'</script>", JS),
        ("<script>'\\\\T'</script>", JS),
        ("<script>'\"T'</script>", JS),
        ("<script>'// T'</script>", JS),
        ("<script>'/* T'</script>", JS),
        ("<script>// '\n'T'</script>", JS),
        ("<script>// \u{2028}'T'</script>", JS),
        ("<script>// \u{201c}'\n'T'</script>", JS),
        ("<script>/* ' */'T'</script>", JS),
        ("<script>/*/ ' */'T'</script>", JS),
        ("<script>`'`; 'T'</script>", JS),
        ("<script>`\\`'`; 'T'</script>", JS),
        ("<script>'<!--'; '-->' + 'T'</script>", JS),
        ("<script>T</script>", None),
        ("<script>// T</script>", None),
        ("<script>/* T */</script>", None),
        ("<script>/*/ 'T' */</script>", None),
        ("<script>`T`</script>", None),
        ("<script>`${'T'}`</script>", None),
        ("<script>`${`'T'`}`</script>", None),
        ("<script>/'/; 'T'</script>", None),
        ("<script>a / b; 'T'</script>", None),
        ("<script>'\\T'</script>", None),
        ("<script>'\\u{T}'</script>", None),
        ("<script>'<!--' + 'T'</script>", None),
        ("<script>'<!--<script>' + 'T'</script></script>", None),
        ("<script>'a\n T'</script>", None),
        ("<script>'<T'</script>", None),
        ("<script>'</T'</script>", None),
        ("<script>'<!-- <T'</script>", None),
        ("<script>'<b>T</b>'</script>", None),
        ("<script>'\\u003Cb>T'</script>", None),
        ("<script>'\\x3cb>T'</script>", None),
        ("<script><!-- 'T'</script>", None),
        ("<script>x --> 'T'</script>", None),
        ("<script>#! ' ' '\u{2028} T '</script>", None),
        ("<script type=text/template>'T'</script>", None),
        ("<script type='text/javascript; charset=utf-8'>'T'</script>", None),
        ("<script type='text&#47;javascript'>'T'</script>", None),
        ("<script type=' '>'T'</script>", None),
        ("<script type=importmap>{\"a\":\"T\"}</script>", None),
        ("<script type=text/x type=module>'T'</script>", None),
        ("<script type=application/javascript-and-many-more-bytes>'T'</script>", None),
        ("<script language=vbscript>'T'</script>", None),
        ("<script></script x='T'>", None),
    ]);
}

#[test]
fn svg_and_mathml_are_read_by_their_own_rules() {
    expect(&[
        ("<svg><text>T</text></svg>T", TEXT),
        ("<svg><title>T</title><text>T</text></svg>", TEXT),
        ("<svg><style></style>T</svg>T", TEXT),
        ("<svg><style/>T", TEXT),
        ("<svg><script/>T", TEXT),
        ("<svg><g><style></g>T</svg>", TEXT),
        ("<svg><textarea><b>T", TEXT),
        ("<svg><![CDATA[ > ]]>T", TEXT),
        ("<svg></svg><![CDATA[>T", TEXT),
        ("<svg/><![CDATA[>T", TEXT),
        ("<svg><p><![CDATA[>T", TEXT),
        ("<svg><foreignObject><div>T</div></foreignObject></svg>T", TEXT),
        ("<math><mi>T</mi></math>T", TEXT),
        ("<div><svg></div><b>T", TEXT),
        ("<svg><p><style></style>T", TEXT),
        ("<svg><style><p>T", TEXT),
        ("<svg><svg></svg><style></style>T", TEXT),
        ("<svg><![CDATA[T]]>", None),
        ("<svg><![CDATA[>T", None),
        ("<svg><![CDATA[ ] ]>T", None),
        ("<svg><style>T</style>", None),
        ("<svg><style><a>T</a></style>", None),
        ("<svg><style><style></style>T", None),
        ("<svg><script>'T'</script>", None),
        ("<svg><script><style></style></style>T", None),
        ("<svg><style></p>T", None),
        ("<svg><style><title><b>T", None),
        ("<svg><p><style>T", None),
        ("<svg><foreignObject><style>T</style>T", None),
        ("<svg><foreignObject><div><![CDATA[T", None),
        ("<svg><title><style>T</style>T", None),
        ("<div><svg></div><style></style>T", None),
        ("<svg><font><style></style>T", None),
        ("<div><svg></div><style><p title='T'>", None),
        ("<div><svg></div><p><g><style></g><p title='T'>", None),
        ("<svg></br><title><p title='T'>", None),
        ("<svg><desc><p></p><textarea><p title='T'>", None),
        ("<math><mi><p><script></script><p title='T'>", None),
        ("<div><svg></div><![CDATA[ ]]><p title='T'>", None),
        ("<select><style></style>T", None),
        ("<select><svg><style></style>T", None),
        ("<frameset><title></title>T", None),
        ("<template><col><style></style>T", None),
        ("<template><template></template><col><title></title>T", None),
        ("<select><template></select></template><style></style>T", None),
    ]);
    expect(&[
        ("<select><option>T</option></select><title>T</title>", TEXT),
        ("<select><script>'T'</script></select>", JS),
    ]);
    let deep = format!("{}<style></style>{TOKEN}", "<svg>".repeat(200));
    assert_eq!(check(deep.as_bytes(), None).left, 1);
    let deep = format!("{}{}<style></style>{TOKEN}", "<svg>".repeat(100), "</svg>".repeat(100));
    assert_eq!(check(deep.as_bytes(), None).left, 0);
}
