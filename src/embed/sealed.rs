//! A struct field that holds a token instead of a value.

use super::fields::write;
use super::{Error, Keyring, Keys};
use crate::seal::{Context, Kind, Manner, Suite, Token};
use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use zeroize::Zeroizing;

/// A value of type `T`, sealed: what is stored, logged and sent is its token. The value itself is not in it, and comes
/// out by [`open`](Self::open) alone.
///
/// What is sealed is the value's JSON: a string as text, so that a gate opens it as the same string, everything else as
/// its literal. `Serialize` writes the token, `Deserialize` takes one and refuses everything else, without telling what
/// it was.
///
/// ```
/// use sealgate::embed::{Keys, Sealed};
/// use sealgate::seal::{Class, Context, Scope, crypto::default_provider, local::LocalKek};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Serialize, Deserialize)]
/// struct Patient {
///     id: String,
///     ssn: Sealed<String>,
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = Keys::new(LocalKek::read(default_provider(), "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=")?);
/// let here = Context { class: Class::parse("ssn")?, scope: Scope::parse("clinic")?, bind: &[("id", b"42")] };
/// let ssn = Sealed::seal(&keys, &here, &"999-12-3456".to_owned())?;
/// let patient = Patient { id: "42".into(), ssn };
///
/// let row = serde_json::to_string(&patient)?;
/// assert!(row.contains("sgv1.") && !row.contains("999"), "what the database gets");
/// assert!(!format!("{patient:?}").contains("999"), "what a log gets");
///
/// let patient: Patient = serde_json::from_str(&row)?;
/// assert_eq!(patient.ssn.open(&keys, &here)?, "999-12-3456");
/// # Ok(())
/// # }
/// ```
pub struct Sealed<T> {
    token: Token,
    value: PhantomData<fn() -> T>,
}

impl<T> Sealed<T> {
    /// Takes the token of a value.
    #[must_use]
    pub const fn of(token: Token) -> Self {
        Self { token, value: PhantomData }
    }

    /// The token.
    #[must_use]
    pub const fn token(&self) -> &Token {
        &self.token
    }
}

impl<T: Serialize> Sealed<T> {
    /// Seals a value with the random suite, not padded.
    ///
    /// # Errors
    /// [`Error`], with [`Error::WrongType`] for a value that has no JSON form; nothing is sealed then.
    pub fn seal<K: Keyring>(keys: &Keys<K>, context: &Context<'_>, value: &T) -> Result<Self, Error<K::Error>> {
        Self::seal_by(keys, context, (Suite::Random, 0), value)
    }

    /// Seals a value by another suite, padded to a multiple of so many bytes (0: not at all).
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub fn seal_by<K: Keyring>(
        keys: &Keys<K>,
        context: &Context<'_>,
        (suite, pad_bytes): (Suite, usize),
        value: &T,
    ) -> Result<Self, Error<K::Error>> {
        // An error of serde_json may tell the value: it is dropped.
        let json = Zeroizing::new(serde_json::to_vec(value).map_err(|_| Error::WrongType)?);
        let manner = |kind| Manner { suite, kind, pad_bytes };
        let token = if json.starts_with(b"\"") {
            let text: String = serde_json::from_slice(&json).map_err(|_| Error::WrongType)?;
            keys.seal(context, manner(Kind::Text), Zeroizing::new(text).as_bytes())?
        } else {
            keys.seal(context, manner(Kind::Literal), &json)?
        };
        Ok(Self::of(token))
    }
}

impl<T: DeserializeOwned> Sealed<T> {
    /// Opens the value, which was sealed in `context`.
    ///
    /// # Errors
    /// [`Error`], with [`Error::WrongType`] if what the token holds is no `T`.
    pub fn open<K: Keyring>(&self, keys: &Keys<K>, context: &Context<'_>) -> Result<T, Error<K::Error>> {
        let value = keys.open(self.token.as_str(), context)?;
        let mut json = Zeroizing::new(Vec::with_capacity(value.expose().len() + 2));
        write(&value, &mut json);
        serde_json::from_slice(&json).map_err(|_| Error::WrongType)
    }
}

impl<T> Clone for Sealed<T> {
    fn clone(&self) -> Self {
        Self::of(self.token.clone())
    }
}

impl<T> fmt::Debug for Sealed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sealed").field(&self.token.as_str()).finish()
    }
}

impl<T> Serialize for Sealed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.token.as_str())
    }
}

impl<'de, T> Deserialize<'de> for Sealed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Asked for a string, serde_json would tell in its error what it found instead.
        let token = if deserializer.is_human_readable() {
            deserializer.deserialize_any(TokenVisitor)
        } else {
            deserializer.deserialize_str(TokenVisitor)
        };
        token.map(Self::of)
    }
}

/// Takes tokens. Every other value is refused by words of our own: those of serde tell the value.
struct TokenVisitor;

const WANTED: &str = "wanted a token";

macro_rules! refuse {
    ($($method:ident($of:ty);)*) => {
        $(fn $method<E: serde::de::Error>(self, _: $of) -> Result<Token, E> {
            Err(E::custom(WANTED))
        })*
    };
}

impl<'de> Visitor<'de> for TokenVisitor {
    type Value = Token;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Token, E> {
        Token::parse(text).map_err(|_| E::custom(WANTED))
    }

    refuse! {
        visit_bool(bool);
        visit_i64(i64);
        visit_i128(i128);
        visit_u64(u64);
        visit_u128(u128);
        visit_f64(f64);
        visit_bytes(&[u8]);
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Token, E> {
        Err(E::custom(WANTED))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Token, E> {
        Err(E::custom(WANTED))
    }

    fn visit_some<D: Deserializer<'de>>(self, _: D) -> Result<Token, D::Error> {
        Err(D::Error::custom(WANTED))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, _: D) -> Result<Token, D::Error> {
        Err(D::Error::custom(WANTED))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, _: A) -> Result<Token, A::Error> {
        Err(A::Error::custom(WANTED))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, _: A) -> Result<Token, A::Error> {
        Err(A::Error::custom(WANTED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::path::FieldPath;
    use crate::embed::testing::{Counting, context};
    use crate::embed::{Field, Fields};
    use serde_json::json;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Visit {
        day: String,
        codes: Vec<u32>,
    }

    #[test]
    fn values_of_any_type_come_back() {
        let keys = Counting::keys(1);
        let here = context("visit", "clinic", &[]);
        let visit = Visit { day: "2026-01-31".into(), codes: vec![7] };
        assert_eq!(Sealed::seal(&keys, &here, &visit).unwrap().open(&keys, &here).unwrap(), visit);
        assert_eq!(
            Sealed::seal(&keys, &here, &1.5_f64).unwrap().open(&keys, &here).unwrap().to_bits(),
            1.5_f64.to_bits()
        );
        assert_eq!(Sealed::seal(&keys, &here, &None::<u32>).unwrap().open(&keys, &here).unwrap(), None);
        let text = "\"Chälmers\"\n".to_owned();
        assert_eq!(Sealed::seal(&keys, &here, &text).unwrap().open(&keys, &here).unwrap(), text);
        let padded = Sealed::seal_by(&keys, &here, (Suite::Random, 64), &text).unwrap();
        assert_eq!(padded.clone().open(&keys, &here).unwrap(), text);
    }

    #[test]
    fn a_value_of_another_type_is_an_error_that_does_not_tell_it() {
        let keys = Counting::keys(1);
        let here = context("ssn", "clinic", &[]);
        let sealed = Sealed::seal(&keys, &here, &"999-12-3456".to_owned()).unwrap();
        let refused = Sealed::<u32>::of(sealed.token().clone()).open(&keys, &here).unwrap_err();
        assert!(matches!(refused, Error::WrongType));
        assert!(!format!("{refused} {refused:?}").contains("999"));
        // A map whose names are no strings has no JSON form.
        let nameless = std::collections::BTreeMap::from([(vec![999], 1)]);
        assert!(matches!(Sealed::seal(&keys, &here, &nameless), Err(Error::WrongType)));
    }

    #[test]
    fn only_a_token_is_taken_and_what_else_there_was_is_not_told() {
        for other in [
            json!("999-12"),
            json!(999),
            json!(-999),
            json!(999.5),
            json!(true),
            json!(null),
            json!([999]),
            json!({"999": 1}),
        ] {
            let text = other.to_string();
            for error in [
                serde_json::from_str::<Sealed<String>>(&text).unwrap_err(),
                serde_json::from_value::<Sealed<String>>(other).unwrap_err(),
            ] {
                let error = error.to_string();
                assert!(error.starts_with("wanted a token") && !error.contains("999"), "{text}: {error}");
            }
        }
    }

    #[test]
    fn a_field_of_a_document_and_a_field_of_a_struct_hold_the_same_token() {
        let keys = Counting::keys(1);
        let here = context("ssn", "clinic", &[]);
        let fields = Fields::compile([Field::random(FieldPath::parse("$.ssn").unwrap(), here.class)]).unwrap();
        for document in [json!({"ssn": "999-12-3456"}), json!({"ssn": 7}), json!({"ssn": {"a": [1]}})] {
            let mut sealed = document.clone();
            fields.seal_value(&keys, here.scope, &[], &mut sealed).unwrap();
            let token: Sealed<serde_json::Value> = serde_json::from_value(sealed["ssn"].clone()).unwrap();
            assert_eq!(token.open(&keys, &here).unwrap(), document["ssn"]);
            let mut back = json!({ "ssn": Sealed::seal(&keys, &here, &document["ssn"]).unwrap() });
            fields.open_value(&keys, here.scope, &[], &mut back).unwrap();
            assert_eq!(back, document);
        }
    }
}
