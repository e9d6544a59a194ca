//! Random documents, cuts and mutations.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn head() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "name=f",
        "name=\"n[1]\"",
        "name=x",
        "name=x\r\nContent-Type: text/plain",
        "name=\"tok:1\"; filename=\"tok:2\"",
        "name=p; filename=\"a\"\r\nContent-Type: image/png",
        "name=p",
        "name=F",
        "name=_charset_",
    ])
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    let bit = prop::sample::select(vec![
        &b"\r"[..],
        b"\n",
        b"\r\n",
        b"-",
        b"--",
        b"--b",
        b"----boundary",
        b"0123456789",
        b"\r\n------boundary0123456789",
        b"x",
        b"tok:",
        "é".as_bytes(),
        b"\xff",
        b"utf-8",
    ]);
    prop_oneof![3 => vec(bit.clone(), 0..3), 1 => vec(bit, 0..12)].prop_map(|bits| bits.concat())
}

fn document() -> impl Strategy<Value = Vec<u8>> {
    vec((head(), content()), 0..5)
        .prop_map(|parts| body(&parts.iter().map(|(head, content)| (*head, content.as_slice())).collect::<Vec<_>>()))
}

fn changed() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![prop::sample::select(b"\r\n-:;=\"\\ \0b*%'".to_vec()), any::<u8>()];
    (document(), vec((any::<prop::sample::Index>(), byte, 0_u8..4), 0..3)).prop_map(|(mut bytes, changes)| {
        for (at, byte, kind) in changes {
            let at = at.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            match kind {
                _ if bytes.is_empty() => {}
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at),
            }
        }
        bytes
    })
}

proptest! {
    #[test]
    fn cuts_make_no_difference_and_what_is_kept_is_unchanged(
        document in prop_oneof![2 => document(), 4 => changed(), 1 => any::<Vec<u8>>()], lengths in vec(1_usize..40, 1..5),
        small: bool, watched: bool, ruled: bool, refuses_other_files: bool,
    ) {
        let case = if ruled { Case::usual() } else { Case::new(&[], &[]) };
        let limits = if small { Limits { value_bytes_max: 7, name_bytes_max: 8, ..Limits::default() } } else { case.limits };
        let case = Case { limits, refuses_other_files, watch: watched.then_some(Watch::new(tokens)), ..case };
        let whole = case.run(&document, &[], &|_| None);
        prop_assert_eq!(&case.run(&document, &lengths, &|_| None), &whole, "{}", document.escape_ascii());
        prop_assert_eq!(&case.run(&document, &[1], &|_| None), &whole, "{}", document.escape_ascii());
        if let Ok(output) = whole.0 {
            prop_assert_eq!(output, document);
        }
    }

    #[test]
    fn a_written_text_is_read_again(text: String, name in r"[ !#-\[\]-~é]{0,12}") {
        let (text, name) = (format!("tok:{text}"), format!("tok:{name}"));
        let mut plain = Vec::new();
        prop_assume!(Escape::MultipartName.text(name.as_bytes(), &mut plain).is_ok());
        let first = body(&[("name=f", b"1"), ("name=x", b"tok:"), ("name=\"tok:x\"", b"2"), ("filename=\"tok:y\"; name=z", b"3")]);
        let (written, _) = Case::usual().run(&first, &[7], &|slot| {
            let mut out = Vec::new();
            slot.escape().text(if slot.place() == Place::Name { &name } else { &text }.as_bytes(), &mut out).unwrap();
            Some(out)
        });
        let (output, seen) = Case::usual().run(written.as_ref().unwrap(), &[], &|_| None);
        prop_assert_eq!(&output, &written);
        let texts: Vec<_> = seen.into_iter().map(|slot| String::from_utf8(slot.text.unwrap()).unwrap()).collect();
        prop_assert_eq!(texts, [&text, &text, &name, &name].map(Clone::clone));
    }

    #[test]
    fn written_bytes_of_a_file_are_read_again(bytes: Vec<u8>, size in 1_usize..50) {
        let (written, _) = Case::usual().run(&body(&[("name=p; filename=a", b"1")]), &[size], &|_| Some(bytes.clone()));
        prop_assert_eq!(written, Ok(body(&[("name=p; filename=a", &bytes)])));
    }
}
