//! Where `serde` refused: the value read once more, noting the path. For errors that the schema does not know of.

use std::{cell::RefCell, iter::Enumerate, marker::PhantomData, slice};

use serde::{
    Deserializer,
    de::{
        DeserializeOwned, DeserializeSeed, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess,
        VariantAccess, Visitor,
    },
    forward_to_deserialize_any,
};
use serde_json::{Error, Number, Value, map};

use super::{expected, path, problem::Problem, resolve::Resolved};

/// The problem for `error`, which reading `value`, all or most of what was resolved, as a `T` gave.
pub(super) fn problem<T: DeserializeOwned>(value: &Value, resolved: &Resolved, error: &Error) -> Problem {
    let refused = RefCell::new(None);
    let root = Tracked { value, path: String::new(), refused: &refused };
    let _: Result<T, Error> = root.read(PhantomData);
    let (path, value) = refused.take().unwrap_or((String::new(), value));
    let mut message = error.to_string();
    let is_scalar = !value.is_array() && !value.is_object();
    let is_secret = (is_scalar && resolved.origins.is_filled(&path)) || resolved.origins.is_told_by(&message);
    let is_long = value.as_str().is_some_and(|text| expected::quotes_at_length(&message, text));
    if is_secret || is_long {
        message = format!("{} is not accepted here", expected::found(value, is_secret));
    }
    resolved.places.problem(&path, message)
}

/// The path and the value that were refused first, which is the innermost.
type Refused<'de> = RefCell<Option<(String, &'de Value)>>;

struct Tracked<'r, 'de> {
    value: &'de Value,
    path: String,
    refused: &'r Refused<'de>,
}

impl<'r, 'de> Tracked<'r, 'de> {
    fn read<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        let Self { value, ref path, refused } = self;
        let path = path.clone();
        seed.deserialize(self).inspect_err(|_| {
            refused.borrow_mut().get_or_insert((path, value));
        })
    }

    fn entry(&self, key: &str, value: &'de Value) -> Self {
        Tracked { value, path: path::key(&self.path, key), refused: self.refused }
    }

    fn number<V: Visitor<'de>>(number: &Number, visitor: V) -> Result<V::Value, Error> {
        match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(number), ..) => visitor.visit_u64(number),
            (None, Some(number), _) => visitor.visit_i64(number),
            (None, None, Some(number)) => visitor.visit_f64(number),
            (None, None, None) => Err(Error::custom("a number that is not supported")),
        }
    }
}

impl<'de> Deserializer<'de> for Tracked<'_, 'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => Self::number(number, visitor),
            Value::String(text) => visitor.visit_str(text),
            Value::Array(items) => visitor.visit_seq(Items { list: self, items: items.iter().enumerate() }),
            Value::Object(entries) => visitor.visit_map(Entries { map: self, entries: entries.iter(), value: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.value {
            Value::String(variant) => visitor.visit_enum(variant.as_str().into_deserializer()),
            Value::Object(entries) => match entries.iter().next() {
                Some((key, value)) => visitor.visit_enum(Variant { key, content: self.entry(key, value) }),
                None => Err(Error::custom("a mapping without a key")),
            },
            _ => Err(Error::custom("neither a string nor a mapping")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Items<'r, 'de> {
    list: Tracked<'r, 'de>,
    items: Enumerate<slice::Iter<'de, Value>>,
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some((index, value)) = self.items.next() else {
            return Ok(None);
        };
        Tracked { value, path: path::item(&self.list.path, index), refused: self.list.refused }.read(seed).map(Some)
    }
}

struct Entries<'r, 'de> {
    map: Tracked<'r, 'de>,
    entries: map::Iter<'de>,
    value: Option<Tracked<'r, 'de>>,
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some(self.map.entry(key, value));
        seed.deserialize(key.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let value = self.value.take().ok_or_else(|| Error::custom("a value without its key"))?;
        value.read(seed)
    }
}

struct Variant<'r, 'de> {
    key: &'de str,
    content: Tracked<'r, 'de>,
}

impl<'r, 'de> EnumAccess<'de> for Variant<'r, 'de> {
    type Error = Error;
    type Variant = Tracked<'r, 'de>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), Error> {
        Ok((seed.deserialize(self.key.into_deserializer())?, self.content))
    }
}

impl<'de> VariantAccess<'de> for Tracked<'_, 'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        self.read(PhantomData)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        self.read(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.deserialize_any(visitor)
    }
}
