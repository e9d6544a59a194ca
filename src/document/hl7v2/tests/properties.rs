//! What holds for every value and every message.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// What a value says to a reader: characters, and what is none, by itself.
fn meaning(raw: &[u8], delimiters: Delimiters, level: Level) -> Vec<(bool, Vec<u8>)> {
    let mut said: Vec<(bool, Vec<u8>)> = Vec::new();
    let parts: Vec<&[u8]> = match level {
        Level::Component => raw.split(|&byte| byte == delimiters.subcomponent).collect(),
        Level::Field | Level::Subcomponent => vec![raw],
    };
    for (index, part) in parts.into_iter().enumerate() {
        if index > 0 {
            said.push((true, b"subcomponent".to_vec()));
        }
        let mut pieces = part.split(|&byte| byte == b'\\').peekable();
        let mut plain = true;
        while let Some(piece) = pieces.next() {
            let single = !plain && pieces.peek().is_none();
            match piece {
                _ if single => said.extend(b"\\".iter().chain(piece).map(|&byte| (false, vec![byte]))),
                _ if plain => said.extend(piece.iter().map(|&byte| (false, vec![byte]))),
                [letter] if b"FSTRE".contains(letter) => {
                    let at = b"FSTRE".iter().position(|known| known == letter).unwrap();
                    said.push((false, vec![b"|^&~\\"[at]]));
                }
                b"P" if delimiters.truncation.is_some() => said.push((false, b"#".to_vec())),
                b"X0D" => said.push((false, b"\r".to_vec())),
                b"X5C" => said.push((false, b"\\".to_vec())),
                b"X2222" => said.extend([(false, b"\"".to_vec()), (false, b"\"".to_vec())]),
                other => said.push((true, other.to_vec())),
            }
            plain = !plain || single;
        }
    }
    if delimiters.truncation.is_some() && raw.ends_with(b"#") {
        said.push((true, b"cut".to_vec()));
    }
    said
}

fn level() -> impl Strategy<Value = Level> {
    prop::sample::select(vec![Level::Field, Level::Component, Level::Subcomponent])
}

fn value() -> impl Strategy<Value = String> {
    "(\\\\[EFSTRHP]\\\\|\\\\X0D\\\\|\\\\X5C\\\\|\\\\X2222\\\\|\\\\\\.br\\\\|[\\\\a#&EHT]){0,9}"
}

fn document() -> impl Strategy<Value = String> {
    let field = prop_oneof![value(), "([a-zé^&~#\\\\]|tok:){0,9}", Just("\"\"".to_owned())];
    let id = prop::sample::select(vec!["PID", "PID", "PV1", "ZZ1"]);
    let segment = (id, vec(field, 0..6)).prop_map(|(id, fields)| format!("{id}|{}", fields.join("|")));
    let header = prop::sample::select(vec!["MSH|^~\\&|A", "MSH|^~\\&#|tok:1", "\u{feff}MSH|^~\\&|||"]);
    let end = prop::sample::select(vec!["\r", "\n", "\r\n"]);
    (header, vec(segment, 0..4), end, any::<bool>()).prop_map(|(header, segments, end, last)| {
        let mut lines = vec![header.to_owned()];
        lines.extend(segments);
        lines.join(end) + if last { end } else { "" }
    })
}

const PATHS: [&str; 6] = ["PID-1", "PID-2.1", "PID-2.2.2", "PID-3.1.1", "ZZ1-1.2", "PV1-5"];

proptest! {
    #[test]
    fn a_text_read_and_written_means_the_same(
        raw in value(), level in level(), truncating: bool,
    ) {
        let delimiters = if truncating { TRUNCATING } else { PLAIN };
        let raw = if level == Level::Subcomponent { raw.replace('&', "") } else { raw };
        let text = text_of(raw.as_bytes(), delimiters, level).unwrap();
        let again = written(&text, delimiters, level).unwrap();
        prop_assert_eq!(
            meaning(&again, delimiters, level), meaning(raw.as_bytes(), delimiters, level),
            "{} by {} became {}", raw, text.escape_ascii(), again.escape_ascii()
        );
        prop_assert!(!again.iter().any(|byte| *byte < 0x20));
    }

    #[test]
    fn a_text_written_and_read_is_the_same(
        text in prop_oneof![value(), "[|^~\\\\&#\r\"EHFX0D.a\u{85}]{0,9}", any::<String>()], level in level(), truncating: bool,
    ) {
        let delimiters = if truncating { TRUNCATING } else { PLAIN };
        if let Some(raw) = written(text.as_bytes(), delimiters, level) {
            prop_assert_eq!(text_of(&raw, delimiters, level).unwrap(), text.as_bytes(), "{}", raw.escape_ascii());
        } else {
            prop_assert!(level == Level::Field || text == "\"\"");
        }
    }

    #[test]
    fn cuts_make_no_difference_and_kept_slots_change_nothing(
        document in document(), sizes in vec(1_usize..12, 1..6), watched: bool,
        changes in trial::changes(b"|^~\\&#\r\nMSHBT\t\x0b\xc3"), value_bytes_max in 0_usize..12,
    ) {
        let mut case = Case::new(&PATHS).limited(tight(value_bytes_max, 0));
        case.watch = watched.then_some(Watch::new(tokens));
        trial::uphold(&|| case.start(), document.as_bytes(), &sizes);
        trial::uphold(&|| case.start(), &trial::changed(document.as_bytes(), &changes), &sizes);
    }

    #[test]
    fn any_bytes_are_taken_or_refused(bytes in vec(any::<u8>(), 0..40), size in 1_usize..5) {
        let case = Case::new(&PATHS).watched();
        trial::uphold(&|| case.start(), &bytes, &[size]);
        trial::uphold(&|| case.start(), &[MSH.as_bytes(), &bytes].concat(), &[size]);
    }

    #[test]
    fn what_is_written_is_read_again(
        document in document(), text in prop_oneof!["[|^~\\\\&#\r\"EHF.a]{0,6}", any::<String>()],
    ) {
        let case = Case::new(&PATHS);
        if let Some((_, again)) = trial::rewritten(&|| case.start(), document.as_bytes(), text.as_bytes()) {
            prop_assert_eq!(again.text, text.as_bytes());
        }
    }
}
