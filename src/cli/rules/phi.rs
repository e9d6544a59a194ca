//! What values of patients look like, and where in a text they stand.

use std::ops::Range;

/// What a value looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look {
    /// A US social security number.
    Ssn,
    /// A phone or fax number.
    Phone,
    /// An e-mail address.
    Email,
    /// A full date where a name speaks of birth.
    BirthDate,
    /// A name of a patient of the same document.
    PatientName,
}

impl Look {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ssn => "social security number",
            Self::Phone => "phone number",
            Self::Email => "e-mail address",
            Self::BirthDate => "date of birth",
            Self::PatientName => "name of a patient",
        }
    }
}

/// What a text looks like where names lead to it and texts stand beside it that tell what it is.
pub(super) fn looks(text: &str, names: &[String], beside: &[String]) -> Vec<(Look, Range<usize>)> {
    let means = |means: fn(&str) -> bool| names.iter().rev().take(2).chain(beside).any(|name| means(name));
    let whole = || 0..text.len();
    let mut looks = Vec::new();
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let ssn = find(text, ssn_at).or((means(is_ssn) && is_nine_digits(text)).then(whole));
    looks.extend(ssn.map(|range| (Look::Ssn, range)));
    let is_phone = || {
        // HL7 keeps the days on which a number is good beside it.
        means(is_phone) && (7..=15).contains(&digits) && text.bytes().all(is_of_phone) && !is_date(text.trim())
    };
    let phone = find(text, phone_at).or(is_phone().then(whole));
    looks.extend(phone.filter(|_| looks.is_empty()).map(|range| (Look::Phone, range)));
    looks.extend(email(text).map(|range| (Look::Email, range)));
    // Of what a date is may be told some levels up: `birth: {date: {value: ...}}`.
    if names.iter().chain(beside).any(|name| is_birth(name)) && is_date(text.trim()) {
        looks.push((Look::BirthDate, whole()));
    }
    looks
}

/// The first place at which something stands, given what tells how long it is there.
fn find(text: &str, at: fn(&[u8]) -> Option<usize>) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let starts = (0..bytes.len()).filter(|start| {
        let before = start.checked_sub(1).and_then(|before| bytes.get(before));
        before
            .is_none_or(|before| !before.is_ascii_alphanumeric() && !matches!(before, b'-' | b'.' | b'_' | b'/' | b'+'))
    });
    starts.into_iter().find_map(|start| Some(start..start + at(bytes.get(start..)?)?))
}

/// Whether a number may end before this.
fn ends(rest: &[u8]) -> bool {
    match rest {
        [b'-' | b'.' | b'/', next, ..] => !next.is_ascii_alphanumeric(),
        [next, ..] => !next.is_ascii_alphanumeric() && *next != b'_',
        [] => true,
    }
}

fn ssn_at(text: &[u8]) -> Option<usize> {
    let (ssn, rest) = text.split_at_checked(11)?;
    let fits = ssn.iter().enumerate().all(|(at, byte)| match at {
        3 | 6 => *byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    (fits && ends(rest)).then_some(11)
}

fn is_nine_digits(text: &str) -> bool {
    let text = text.trim();
    text.len() == 9 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// International, with an area code in parentheses, or in the groups of North America.
fn phone_at(text: &[u8]) -> Option<usize> {
    let (plus, mut at) = (text.first() == Some(&b'+'), usize::from(text.first() == Some(&b'+')));
    let (mut groups, mut enclosed): (Vec<usize>, bool) = (Vec::new(), false);
    loop {
        let open = text.get(at) == Some(&b'(');
        at += usize::from(open);
        let digits = text.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 || digits > 15 {
            return None;
        }
        at += digits;
        enclosed |= open && groups.is_empty();
        groups.push(digits);
        if open && text.get(at) != Some(&b')') {
            return None;
        }
        at += usize::from(open);
        let rest = text.get(at..)?;
        let total: usize = groups.iter().sum();
        let fits = match groups.as_slice() {
            _ if plus => (8..=15).contains(&total),
            [area, _, ..] if enclosed => (2..=5).contains(area) && (8..=12).contains(&total),
            [3, 3, 4] | [1, 3, 3, 4] => true,
            _ => false,
        };
        if fits && ends(rest) {
            return Some(at);
        }
        at += match rest {
            [b')', ..] => return None,
            [b' ' | b'-' | b'.', b'(', ..] => 1,
            [b' ' | b'-' | b'.', next, ..] if next.is_ascii_digit() => 1,
            [b'(', ..] => 0,
            [next, ..] if open && next.is_ascii_digit() => 0,
            _ => return None,
        };
    }
}

fn is_of_phone(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'(' | b')' | b' ' | b'/')
}

fn email(text: &str) -> Option<Range<usize>> {
    let of_local = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '%' | '+' | '-' | '\'');
    let of_domain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    text.match_indices('@').find_map(|(at, _)| {
        let (before, after) = (text.get(..at)?, text.get(at + 1..)?);
        let local = before.len() - before.trim_end_matches(of_local).len();
        let domain = after.split(|c| !of_domain(c)).next()?.trim_end_matches(['.', '-']);
        let (host, top) = domain.rsplit_once('.')?;
        let fits =
            local > 0 && !host.is_empty() && top.len() >= 2 && top.bytes().all(|byte| byte.is_ascii_alphabetic());
        fits.then(|| at - local..at + 1 + domain.len())
    })
}

/// Whether a text starts with a full date, after which there may be a time.
fn is_date(text: &str) -> bool {
    let compact = text.bytes().take_while(u8::is_ascii_digit).count();
    let number = |text: &str| text.parse::<u32>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let fits = |year: Option<u32>, one: Option<u32>, other: Option<u32>| {
        let day = |number: u32| (1..=31).contains(&number);
        // Which of the two is the month differs.
        let both = one.zip(other).is_some_and(|(one, other)| day(one) && day(other) && one.min(other) <= 12);
        year.is_some_and(|year| (1800..2200).contains(&year)) && both
    };
    if compact >= 8 {
        let part = |range: Range<usize>| text.get(range).and_then(number);
        return compact <= 14 && fits(part(0..4), part(4..6), part(6..8));
    }
    let date = text.split(['T', ' ']).next().unwrap_or_default();
    let parts: Vec<&str> = date.split(['-', '/', '.']).collect();
    match parts.as_slice() {
        [year, one, other] if year.len() == 4 => fits(number(year), number(one), number(other)),
        [one, other, year] if year.len() == 4 => fits(number(year), number(one), number(other)),
        _ => false,
    }
}

fn is_birth(name: &str) -> bool {
    name.to_ascii_lowercase().contains("birth")
        || words(name).iter().any(|word| word.ends_with("dob") || word == "born")
}

fn is_ssn(name: &str) -> bool {
    let words = words(name);
    let social = words.iter().any(|word| word == "social") && words.iter().any(|word| word.starts_with("sec"));
    let oid = name.strip_prefix("urn:oid:").unwrap_or(name) == "2.16.840.1.113883.4.1";
    social || oid || words.iter().any(|word| word == "ssn" || word == "socialsecuritynumber")
}

fn is_phone(name: &str) -> bool {
    const WORDS: [&str; 8] = ["phone", "telephone", "tel", "fax", "mobile", "cell", "pager", "sms"];
    words(name).iter().any(|word| WORDS.contains(&word.as_str()) || word.ends_with("phone"))
}

/// The words of a name in lower case: `patientSSN`, `patient_ssn` and `PatientSsn` have the same. `className` has no `ssn`.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut small, mut open) = (false, false);
    for c in name.chars() {
        if !c.is_alphabetic() {
            open = false;
            continue;
        }
        if !open || (small && c.is_uppercase()) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(c.to_lowercase());
        }
        (small, open) = (c.is_lowercase(), true);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str, name: &str) -> Vec<(Look, String)> {
        let looks = looks(text, &[name.to_owned()], &[]);
        looks.into_iter().map(|(look, range)| (look, text[range].to_owned())).collect()
    }

    #[test]
    fn what_looks_like_phi_is_found_in_a_text() {
        for (look, name, text, part) in [
            (Look::Ssn, "note", "his number is 999-12-3456.", "999-12-3456"),
            (Look::Ssn, "ssn", "999123456", "999123456"),
            (Look::Ssn, "patientSSN", " 999123456 ", " 999123456 "),
            (Look::Ssn, "socialSecurityNumber", "999123456", "999123456"),
            (Look::Ssn, "http://hl7.org/fhir/sid/us-ssn", "999123456", "999123456"),
            (Look::Ssn, "urn:oid:2.16.840.1.113883.4.1", "999123456", "999123456"),
            (Look::Phone, "x", "call (555) 010-9999 now", "(555) 010-9999"),
            (Look::Phone, "x", "(03) 3410 5613", "(03) 3410 5613"),
            (Look::Phone, "x", "(111)222-3333", "(111)222-3333"),
            (Look::Phone, "x", "tel:+1(555)555-2003", "+1(555)555-2003"),
            (Look::Phone, "x", "555-010-9999", "555-010-9999"),
            (Look::Phone, "x", "on 2012-11-26 555.010.9999", "555.010.9999"),
            (Look::Phone, "x", "1-555-010-9999 2012", "1-555-010-9999"),
            (Look::Phone, "x", "+49 30 1234567", "+49 30 1234567"),
            (Look::Phone, "mobilePhone", "0301234567", "0301234567"),
            (Look::Email, "x", "write to p.o'neil@clinic.example, please", "p.o'neil@clinic.example"),
            (Look::Email, "x", "mailto:a@b.co.uk", "a@b.co.uk"),
            (Look::BirthDate, "birthDate", "1974-12-25", "1974-12-25"),
            (Look::BirthDate, "DOB", "12/25/1974", "12/25/1974"),
            (Look::BirthDate, "patientDob", "25.12.1974", "25.12.1974"),
            (Look::BirthDate, "born", "1974-12-25T14:35:45-05:00", "1974-12-25T14:35:45-05:00"),
            (Look::BirthDate, "birthTime", "19741225143545-0500", "19741225143545-0500"),
        ] {
            assert_eq!(seen(text, name), [(look, part.to_owned())], "{name}: {text}");
        }
    }

    #[test]
    fn what_only_resembles_it_is_not() {
        for (name, text) in [
            ("id", "3edac2e3-d223-6fae-d515-daf96ef6bc76"),
            ("id", "urn:uuid:5cbc121b-cd71-4428-b8b7-31e53eba8184"),
            ("code", "123456789"),
            ("className", "123456789"),
            ("x", "1999-12-34567"),
            ("x", "A999-12-3456"),
            ("x", "999-12-3456-1"),
            ("root", "2.16.840.1.113883.4.19"),
            ("x", "1.2.840.555.010.9999"),
            ("x", "2012-11-26T10:30:00+02:00"),
            ("x", "20290801070624+0115"),
            ("x", "192.168.10.20"),
            ("x", "42.36877442769006"),
            ("x", "(see 12)"),
            ("npi", "1234567893"),
            ("x", "a@b"),
            ("x", "@home.example"),
            ("x", "user@1.22"),
            ("phone", "20010110"),
            ("birthDate", "1974-12"),
            ("birthDate", "1974"),
            ("birthPlace", "Boston"),
            ("adobe", "1974-12-25"),
            ("newborn", "1974-12-25"),
            ("recorded", "1974-12-25"),
            ("birthDate", "99999999"),
        ] {
            assert_eq!(seen(text, name), [], "{name}: {text}");
        }
    }
}
