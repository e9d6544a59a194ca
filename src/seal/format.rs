//! Values that keep their format: FF1 (SP 800-38G r1) over digits, letters and digits, or calendar days.
//!
//! What comes out looks like what went in: the same length, the same separators, no prefix. So it is **not authenticated**
//! and **not recognisable**: a wrong key gives another plausible value, and only a rule says that a value is one of these.
//! One key serves a class and scope for life, for nothing says which key sealed a value.
//!
//! A value is at most 256 bytes: characters of the alphabet and, kept where they are, spaces and any of `-./()+:_,#`.
//!
//! | alphabet | numerals, from 0 | radix |
//! |---|---|---|
//! | `digits` | `0-9` | 10 |
//! | `uppercase` | `0-9A-Z` | 36 |
//! | `alphanumeric` | `0-9A-Za-z` | 62 |
//! | `date`, `date_month_first`, `date_day_first` | the bits of a day's number | 2 |
//!
//! - format key = HKDF-SHA-256(IKM = data key, salt = none, info = lp(`sealgate/v1`) ‖ lp(`format`) ‖ lp(alphabet) ‖
//!   lp(class)), 32 bytes.
//! - tweak = lp(`sealgate/v1/format`) ‖ lp(alphabet) ‖ lp(class) ‖ lp(scope).
//! - FF1 is that of SP 800-38G, algorithms 7 and 8, with AES-256 and this tweak, over all numerals of the value at once.
//! - a date is four digits of the year and two each of month and day, with the same one of `-/.` twice between them or with
//!   none. It is the number of days since 1900-01-01 as 20 binary numerals, the highest first, sealed again and again until
//!   it falls before 2100-01-01 (cycle walking), and written in the layout that it had.
//! - in the published vectors a value that is not of the format is `mismatch`, one of too few numerals `domain_too_small`.
//!
//! FF1 wants a domain of at least 10^6: 6 digits, 4 of 36 or 62 letters and digits. There are 73 049 days, which is fewer:
//! whoever knows the key's owner a little can tell days apart by counting, so that dates take a word of consent in the
//! config.

use super::context::{Class, Scope};
use super::crypto::rustcrypto::Ff1;
use super::crypto::{CryptoFailed, fips};
use super::length_prefix;
use std::fmt;
use zeroize::Zeroizing;

/// What the values of a class are made of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Alphabet {
    /// `0-9`.
    Digits,
    /// `0-9A-Z`.
    Uppercase,
    /// `0-9A-Za-z`.
    Alphanumeric,
    /// A calendar day, year first: `1970-01-31`, `1970/01/31`, `1970.01.31`, `19700131`.
    Date,
    /// Month, day, year: `01/31/1970`, `01-31-1970`, `01.31.1970`, `01311970`.
    DateMonthFirst,
    /// Day, month, year: `31.01.1970`, `31/01/1970`, `31-01-1970`, `31011970`.
    DateDayFirst,
}

/// What may stand between digits and letters and is kept as it is.
const SEPARATORS: &[u8] = b" -./()+:_,#";
/// The longest value.
const CHARACTERS_MAX: usize = 256;
/// 1900-01-01 to 2099-12-31.
const DAYS: u32 = 73_049;
const FIRST_YEAR: u32 = 1900;
/// So many binary numerals give FF1 its domain of 10^6.
const BITS: usize = 20;

impl Alphabet {
    /// All of them.
    pub const ALL: &[Self] =
        &[Self::Digits, Self::Uppercase, Self::Alphanumeric, Self::Date, Self::DateMonthFirst, Self::DateDayFirst];

    /// Its name in the config and in derivations.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::Uppercase => "uppercase",
            Self::Alphanumeric => "alphanumeric",
            Self::Date => "date",
            Self::DateMonthFirst => "date_month_first",
            Self::DateDayFirst => "date_day_first",
        }
    }

    /// The alphabet of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|alphabet| alphabet.as_str() == text)
    }

    /// Whether there are fewer than 10^6 values whatever their length.
    #[must_use]
    pub const fn is_small(self) -> bool {
        matches!(self, Self::Date | Self::DateMonthFirst | Self::DateDayFirst)
    }

    /// Whether a text can be a value of the format, sealed or not: what is none is in the clear.
    #[must_use]
    pub fn admits(self, text: &[u8]) -> bool {
        if self.is_small() {
            return read_day(self, text).is_ok();
        }
        let of_alphabet = |byte: &&u8| self.characters().contains(byte);
        let fits = text.len() <= CHARACTERS_MAX && text.iter().all(|b| of_alphabet(&b) || SEPARATORS.contains(b));
        fits && text.iter().filter(of_alphabet).count() >= self.characters_min()
    }

    const fn characters(self) -> &'static [u8] {
        match self {
            Self::Digits => b"0123456789",
            Self::Uppercase => b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
            Self::Alphanumeric => b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            Self::Date | Self::DateMonthFirst | Self::DateDayFirst => b"01",
        }
    }

    /// The fewest of its characters that make a domain of 10^6.
    const fn characters_min(self) -> usize {
        match self {
            Self::Digits => 6,
            Self::Uppercase | Self::Alphanumeric => 4,
            Self::Date | Self::DateMonthFirst | Self::DateDayFirst => BITS,
        }
    }
}

/// Why a value does not fit its format. The value is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// A character that is neither of the alphabet nor a separator, or too many characters.
    #[error("value: not of the format")]
    Mismatch,
    /// Too short: fewer than 10^6 values of that length.
    #[error("value: too short for its format")]
    DomainTooSmall,
    /// A build for FIPS 140 does not seal so.
    #[error(transparent)]
    NotApproved(#[from] fips::NotApproved),
    /// The provider failed.
    #[error(transparent)]
    Crypto(#[from] CryptoFailed),
}

/// The key of one class and scope.
pub struct FormatKey {
    ff1: Ff1,
    tweak: Vec<u8>,
    scope: Scope,
    alphabet: Alphabet,
}

impl fmt::Debug for FormatKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FormatKey")
    }
}

/// A calendar day, and where its parts stand in the text.
struct Day {
    number: u32,
    layout: Layout,
}

/// Where the parts stand in the text of a date: the first byte of year, month and day.
#[derive(Clone, Copy)]
struct Layout {
    year: usize,
    month: usize,
    day: usize,
}

impl FormatKey {
    pub(super) fn new(key: &[u8; 32], class: Class, scope: Scope, alphabet: Alphabet) -> Result<Self, CryptoFailed> {
        let mut tweak = Vec::with_capacity(96);
        for part in ["sealgate/v1/format", alphabet.as_str(), class.as_str(), scope.as_str()] {
            length_prefix(part.as_bytes(), &mut tweak);
        }
        let radix = u32::try_from(alphabet.characters().len()).map_err(|_| CryptoFailed)?;
        Ok(Self { ff1: Ff1::new(key, radix)?, tweak, scope, alphabet })
    }

    pub(super) const fn scope(&self) -> Scope {
        self.scope
    }

    /// Seals a text; what comes out is a text of the same format.
    ///
    /// # Errors
    /// [`FormatError`]; nothing is sealed then.
    pub fn seal(&self, text: &[u8]) -> Result<String, FormatError> {
        fips::Method::Ff1.permit()?;
        self.walk(text, Ff1::seal).map(|text| String::from_utf8_lossy(&text).into_owned())
    }

    /// Opens a text. Whatever has the format opens, to the value or, with a wrong key, to another one.
    ///
    /// # Errors
    /// [`FormatError`] if it has not.
    pub fn open(&self, text: &[u8]) -> Result<Zeroizing<Vec<u8>>, FormatError> {
        self.walk(text, Ff1::open)
    }

    fn walk(&self, text: &[u8], step: Step) -> Result<Zeroizing<Vec<u8>>, FormatError> {
        if text.len() > CHARACTERS_MAX {
            return Err(FormatError::Mismatch);
        }
        if !self.alphabet.is_small() {
            return self.characters(text, step);
        }
        let Day { mut number, layout } = read_day(self.alphabet, text)?;
        // A permutation of 2^20 numbers that starts among the days comes back among them, at the latest at its start.
        loop {
            number = from_bits(&step(&self.ff1, &self.tweak, to_bits(number))?);
            if number < DAYS {
                return Ok(write_day(text, layout, number));
            }
        }
    }

    fn characters(&self, text: &[u8], step: Step) -> Result<Zeroizing<Vec<u8>>, FormatError> {
        let characters = self.alphabet.characters();
        let numeral =
            |byte: &u8| characters.iter().position(|known| known == byte).and_then(|at| u16::try_from(at).ok());
        if !text.iter().all(|byte| numeral(byte).is_some() || SEPARATORS.contains(byte)) {
            return Err(FormatError::Mismatch);
        }
        let numerals: Vec<u16> = text.iter().filter_map(numeral).collect();
        if numerals.len() < self.alphabet.characters_min() {
            return Err(FormatError::DomainTooSmall);
        }
        let mut numerals = step(&self.ff1, &self.tweak, numerals)?.into_iter();
        let mut out = Zeroizing::new(text.to_vec());
        for byte in out.iter_mut().filter(|byte| !SEPARATORS.contains(byte)) {
            let numeral = numerals.next().ok_or(CryptoFailed)?;
            *byte = *characters.get(usize::from(numeral)).ok_or(CryptoFailed)?;
        }
        Ok(out)
    }
}

type Step = fn(&Ff1, &[u8], Vec<u16>) -> Result<Vec<u16>, CryptoFailed>;

fn to_bits(number: u32) -> Vec<u16> {
    (0..BITS).rev().map(|bit| u16::from(number >> bit & 1 == 1)).collect()
}

fn from_bits(bits: &[u16]) -> u32 {
    bits.iter().fold(0, |number, bit| number << 1 | u32::from(*bit))
}

fn read_day(alphabet: Alphabet, text: &[u8]) -> Result<Day, FormatError> {
    let gap = match text.len() {
        8 => 0,
        10 => 1,
        _ => return Err(FormatError::Mismatch),
    };
    let (layout, separators) = match alphabet {
        Alphabet::DateMonthFirst => (Layout { month: 0, day: 2 + gap, year: 4 + 2 * gap }, [2, 5]),
        Alphabet::DateDayFirst => (Layout { day: 0, month: 2 + gap, year: 4 + 2 * gap }, [2, 5]),
        _ => (Layout { year: 0, month: 4 + gap, day: 6 + 2 * gap }, [4, 7]),
    };
    if gap == 1 {
        let [first, second] = separators.map(|at| text.get(at));
        if first != second || !first.is_some_and(|byte| b"-/.".contains(byte)) {
            return Err(FormatError::Mismatch);
        }
    }
    let number = |at: usize, count: usize| {
        let digits = text.get(at..at + count).ok_or(FormatError::Mismatch)?;
        digits.iter().try_fold(0_u32, |number, digit| match digit {
            b'0'..=b'9' => Ok(number * 10 + u32::from(digit - b'0')),
            _ => Err(FormatError::Mismatch),
        })
    };
    let (year, month, day) = (number(layout.year, 4)?, number(layout.month, 2)?, number(layout.day, 2)?);
    let number = day_number(year, month, day).ok_or(FormatError::Mismatch)?;
    Ok(Day { number, layout })
}

/// Days since 1900-01-01 of a date that exists, up to 2099-12-31. In between, every fourth year but 1900 is a leap year.
fn day_number(year: u32, month: u32, day: u32) -> Option<u32> {
    let years = year.checked_sub(FIRST_YEAR).filter(|years| *years < 200)?;
    let months = month.checked_sub(1).filter(|months| *months < 12)?;
    if day == 0 || day > month_days(year, months) {
        return None;
    }
    let before: u32 = (0..months).map(|month| month_days(year, month)).sum();
    Some(years * 365 + years.saturating_sub(1) / 4 + before + day - 1)
}

/// `month` counts from 0.
const fn month_days(year: u32, month: u32) -> u32 {
    match month {
        1 if year.is_multiple_of(4) && year != 1900 => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

fn write_day(like: &[u8], layout: Layout, number: u32) -> Zeroizing<Vec<u8>> {
    // At most a day too early: no year is longer than 366 days.
    let mut year = FIRST_YEAR + number / 366;
    while day_number(year + 1, 1, 1).is_some_and(|first| first <= number) {
        year += 1;
    }
    let mut rest = number - day_number(year, 1, 1).unwrap_or_default();
    let mut month = 0;
    while rest >= month_days(year, month) {
        rest -= month_days(year, month);
        month += 1;
    }
    let mut out = Zeroizing::new(like.to_vec());
    let mut put = |at: usize, digits: String| {
        out.iter_mut().skip(at).zip(digits.bytes()).for_each(|(to, from)| *to = from);
    };
    put(layout.year, format!("{year:04}"));
    put(layout.month, format!("{:02}", month + 1));
    put(layout.day, format!("{:02}", rest + 1));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::crypto::providers;
    use crate::seal::{DataKey, UnwrappedKey};
    use proptest::prelude::*;

    fn key(seed: u8, class: &str, scope: &str, alphabet: Alphabet) -> std::sync::Arc<FormatKey> {
        let key = UnwrappedKey::new(providers()[0], DataKey::take(vec![seed; 32]).unwrap()).unwrap();
        key.format_key(Class::parse(class).unwrap(), Scope::parse(scope).unwrap(), alphabet).unwrap()
    }

    #[test]
    fn format_and_separators_stay_and_the_value_comes_back() {
        for (alphabet, text) in [
            (Alphabet::Digits, "999-12-3456"),
            (Alphabet::Digits, "+1 (555) 010-0123"),
            (Alphabet::Uppercase, "MRN-00A7"),
            (Alphabet::Alphanumeric, "aB3_x9"),
            (Alphabet::Date, "1970-01-31"),
            (Alphabet::Date, "20000229"),
            (Alphabet::DateMonthFirst, "07/04/1976"),
            (Alphabet::DateDayFirst, "31.12.2099"),
            (Alphabet::DateDayFirst, "01011900"),
        ] {
            let key = key(1, "ssn", "clinic", alphabet);
            let sealed = key.seal(text.as_bytes()).unwrap();
            assert_ne!(sealed, text);
            assert!(alphabet.admits(text.as_bytes()) && alphabet.admits(sealed.as_bytes()));
            assert_eq!(sealed.len(), text.len());
            for (is, was) in sealed.bytes().zip(text.bytes()) {
                assert_eq!(SEPARATORS.contains(&is).then_some(is), SEPARATORS.contains(&was).then_some(was), "{text}");
            }
            assert_eq!(key.open(sealed.as_bytes()).unwrap().as_slice(), text.as_bytes());
            assert_eq!(key.seal(text.as_bytes()).unwrap(), sealed, "always the same");
        }
    }

    #[test]
    fn key_class_scope_and_alphabet_each_change_the_result() {
        let text = b"123456789012";
        let one = key(1, "ssn", "clinic", Alphabet::Digits).seal(text).unwrap();
        for other in [
            key(2, "ssn", "clinic", Alphabet::Digits),
            key(1, "mrn", "clinic", Alphabet::Digits),
            key(1, "ssn", "other", Alphabet::Digits),
            key(1, "ssn", "clinic", Alphabet::Uppercase),
        ] {
            assert_ne!(other.seal(text).unwrap(), one);
        }
        let shared = UnwrappedKey::new(providers()[0], DataKey::take(vec![1; 32]).unwrap()).unwrap();
        let class = Class::parse("ssn").unwrap();
        for scope in ["clinic", "other", "clinic"] {
            let scope = Scope::parse(scope).unwrap();
            let sealed = shared.format_key(class, scope, Alphabet::Digits).unwrap().seal(text).unwrap();
            assert_eq!(sealed == one, scope.as_str() == "clinic", "a key that is kept is of one scope");
        }
    }

    #[test]
    fn what_is_not_of_the_format_is_refused() {
        use FormatError::{DomainTooSmall, Mismatch};
        for (alphabet, text, error) in [
            (Alphabet::Digits, "12345", DomainTooSmall),
            (Alphabet::Digits, "1-2-3-4-5", DomainTooSmall),
            (Alphabet::Digits, "", DomainTooSmall),
            (Alphabet::Digits, "Smith 123456", Mismatch),
            (Alphabet::Digits, "１２３４５６", Mismatch),
            (Alphabet::Uppercase, "ab1234", Mismatch),
            (Alphabet::Alphanumeric, "abc", DomainTooSmall),
            (Alphabet::Alphanumeric, "Müller", Mismatch),
            (Alphabet::Date, "1970-02-29", Mismatch),
            (Alphabet::Date, "1900-02-29", Mismatch),
            (Alphabet::Date, "1899-12-31", Mismatch),
            (Alphabet::Date, "2100-01-01", Mismatch),
            (Alphabet::Date, "1970-1-31", Mismatch),
            (Alphabet::Date, "1970-01/31", Mismatch),
            (Alphabet::Date, "1970", Mismatch),
            (Alphabet::DateMonthFirst, "31/01/1970", Mismatch),
        ] {
            assert_eq!(key(1, "c", "s", alphabet).seal(text.as_bytes()).err(), Some(error), "{text}");
            assert!(!alphabet.admits(text.as_bytes()), "{text}");
        }
        let long = "1".repeat(CHARACTERS_MAX + 1);
        assert_eq!(key(1, "c", "s", Alphabet::Digits).seal(long.as_bytes()).err(), Some(Mismatch));
    }

    #[test]
    fn every_day_from_1900_to_2099_is_counted_once() {
        let layout = Layout { year: 0, month: 5, day: 8 };
        for (year, month, day, number) in
            [(1900, 1, 1, 0), (1900, 12, 31, 364), (2000, 2, 29, 36_583), (2099, 12, 31, DAYS - 1)]
        {
            assert_eq!(day_number(year, month, day), Some(number), "{year}-{month}-{day}");
        }
        for number in 0..DAYS {
            let text = write_day(b"0000-00-00", layout, number);
            assert_eq!(read_day(Alphabet::Date, &text).unwrap().number, number);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_value_of_a_format_comes_back(digits in "[0-9]{6,40}", mixed in "[0-9A-Za-z]{4,40}", day in 0..DAYS) {
            let date = String::from_utf8(write_day(b"0000-00-00", Layout { year: 0, month: 5, day: 8 }, day).to_vec()).unwrap();
            for (alphabet, text) in [(Alphabet::Digits, digits), (Alphabet::Alphanumeric, mixed), (Alphabet::Date, date)] {
                let key = key(9, "any", "clinic", alphabet);
                let sealed = key.seal(text.as_bytes()).unwrap();
                let opened = key.open(sealed.as_bytes()).unwrap();
                prop_assert_eq!(opened.as_slice(), text.as_bytes());
            }
        }
    }
}
