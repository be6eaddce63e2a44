//! JSON, parsed in one pass, with numbers that keep their original digits.

use std::borrow::Cow;

use memchr::memchr2;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use thiserror::Error;

/// How deeply arrays and objects may be nested in a field. DynamoDB itself accepts [32] levels; this limit only keeps a
/// megabyte of brackets from overflowing the stack.
///
/// [32]: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
pub const MAX_LEVELS: usize = 64;

/// A JSON value. Strings without escapes are borrowed.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'j> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as written.
    Number(&'j str),
    /// A string, unescaped.
    String(Cow<'j, str>),
    /// An array.
    Array(Vec<Self>),
    /// An object: its fields in order. If a name is duplicated, the last one wins.
    Object(Vec<(Cow<'j, str>, Self)>),
}

/// Why a JSON text can't be represented as a [`Json`]. The message is a noun phrase, like the result of [`kind`].
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum JsonError {
    /// An unpaired surrogate: JSON allows it in a string, but it is not valid Unicode.
    #[error("a string with an unpaired surrogate")]
    NotUnicode,
    /// Nested more than [`MAX_LEVELS`] levels deep.
    #[error("arrays or objects nested more than {MAX_LEVELS} levels deep")]
    TooDeep,
}

/// The fields of an object, each parsed on its own: a field that can't be represented does not affect the others.
#[derive(Debug)]
pub struct Fields<'j>(Vec<(Cow<'j, str>, Result<Json<'j>, JsonError>)>);

impl<'j> Fields<'j> {
    /// Parses an object.
    ///
    /// # Errors
    ///
    /// What was found instead, such as "a string".
    pub fn parse(json: &'j RawValue) -> Result<Self, String> {
        let mut fields = Vec::new();
        fields_of(json.get(), |reader, name| {
            let start = reader.rest;
            let value = reader.value(MAX_LEVELS);
            if value.is_err() {
                reader.rest = start;
                reader.skip();
            }
            fields.push((name, value));
        })?;
        Ok(Self(fields))
    }

    /// Parses only the fields with these names; the others are absent.
    pub fn parse_some(json: &'j RawValue, names: &[&str]) -> Result<Self, String> {
        let mut fields = Vec::new();
        fields_of(json.get(), |reader, name| {
            let value = reader.skip();
            if names.contains(&&*name) {
                fields.push((name, Reader { rest: value }.value(MAX_LEVELS)));
            }
        })?;
        Ok(Self(fields))
    }

    /// The field with this name; the last one, if it is duplicated.
    pub fn get(&self, name: &str) -> Option<&Result<Json<'j>, JsonError>> {
        self.0.iter().rfind(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// The same field, if its value could be represented, to change it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Json<'j>> {
        self.0.iter_mut().rfind(|(other, _)| other == name).and_then(|(_, value)| value.as_mut().ok())
    }

    /// Adds a field, unless there is one with this name.
    pub fn add(&mut self, name: &'j str, value: Json<'j>) {
        if self.get(name).is_none() {
            self.0.push((name.into(), Ok(value)));
        }
    }
}

impl<'j> Json<'j> {
    /// The field of an object with this name; the last one, if it is duplicated.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Self> {
        let Self::Object(fields) = self else { return None };
        fields.iter_mut().rfind(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// Renames a field of an object, unless there is one with the new name.
    pub fn rename(&mut self, from: &str, to: &'j str) {
        let Self::Object(fields) = self else { return };
        if !fields.iter().any(|(name, _)| name == to) {
            fields.iter_mut().filter(|(name, _)| name == from).for_each(|(name, _)| *name = to.into());
        }
    }

    /// The values of an array; none for anything else.
    pub fn values_mut(&mut self) -> &mut [Self] {
        if let Self::Array(values) = self { values } else { &mut [] }
    }
}

impl<'j> IntoIterator for Fields<'j> {
    type Item = (Cow<'j, str>, Result<Json<'j>, JsonError>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Names the kind of a value without revealing the value.
pub fn kind(value: &Result<Json, JsonError>) -> String {
    match value {
        Ok(Json::Null) => "null",
        Ok(Json::Bool(_)) => "a boolean",
        Ok(Json::Number(_)) => "a number",
        Ok(Json::String(_)) => "a string",
        Ok(Json::Array(_)) => "an array",
        Ok(Json::Object(_)) => "an object",
        Err(error) => return error.to_string(),
    }
    .to_owned()
}

/// The kind of value in a field that may be absent.
pub fn kind_or_nothing(value: Option<&Result<Json, JsonError>>) -> String {
    value.map_or_else(|| "nothing".to_owned(), kind)
}

/// The first 128 characters: enough for any source, detail-type or field name that AWS uses.
pub fn truncate(text: &str) -> &str {
    text.char_indices().nth(128).map_or(text, |(end, _)| &text[..end])
}

/// Calls `field` with the name of each field of an object; it parses or skips the value.
fn fields_of<'j>(json: &'j str, mut field: impl FnMut(&mut Reader<'j>, Cow<'j, str>)) -> Result<(), String> {
    let mut reader = Reader { rest: json };
    if reader.peek() != Some(b'{') {
        return Err(kind(&reader.value(MAX_LEVELS)));
    }
    reader
        .object(|reader, name| {
            field(reader, name);
            Ok(())
        })
        .map_err(|error| format!("an object with a field name that is {error}"))
}

/// A single pass over text that is known to be valid JSON: a [`RawValue`] contains nothing else.
struct Reader<'j> {
    rest: &'j str,
}

impl<'j> Reader<'j> {
    fn value(&mut self, levels: usize) -> Result<Json<'j>, JsonError> {
        match self.peek() {
            Some(b'"') => self.string().map(Json::String),
            Some(b'[') => {
                let levels = levels.checked_sub(1).ok_or(JsonError::TooDeep)?;
                let mut values = Vec::new();
                self.take(1);
                loop {
                    match self.peek() {
                        Some(b',') => _ = self.take(1),
                        Some(b']') | None => break,
                        _ => values.push(self.value(levels)?),
                    }
                }
                self.take(1);
                Ok(Json::Array(values))
            }
            Some(b'{') => {
                let levels = levels.checked_sub(1).ok_or(JsonError::TooDeep)?;
                let mut fields = Vec::new();
                self.object(|reader, name| {
                    fields.push((name, reader.value(levels)?));
                    Ok(())
                })?;
                Ok(Json::Object(fields))
            }
            _ => {
                let end = |byte: u8| b",]} \t\r\n".contains(&byte);
                Ok(match self.take(self.rest.bytes().position(end).unwrap_or(self.rest.len())) {
                    "null" => Json::Null,
                    "true" => Json::Bool(true),
                    "false" => Json::Bool(false),
                    digits => Json::Number(digits),
                })
            }
        }
    }

    /// Parses an object: `field` is called with each name, and parses the value that follows.
    fn object(
        &mut self,
        mut field: impl FnMut(&mut Self, Cow<'j, str>) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.take(1);
        loop {
            match self.peek() {
                Some(b',') => _ = self.take(1),
                Some(b'}') | None => break,
                _ => {
                    let name = self.string()?;
                    // The colon.
                    self.peek();
                    self.take(1);
                    field(self, name)?;
                }
            }
        }
        self.take(1);
        Ok(())
    }

    fn string(&mut self) -> Result<Cow<'j, str>, JsonError> {
        let unquoted = self.rest.get(1..).unwrap_or_default();
        let end = memchr2(b'"', b'\\', unquoted.as_bytes()).unwrap_or(unquoted.len());
        let (text, rest) = unquoted.split_at(end);
        match rest.strip_prefix('"') {
            Some(rest) => {
                self.rest = rest;
                Ok(Cow::Borrowed(text))
            }
            // An escape. In valid JSON, an unpaired surrogate is the only possible error.
            None => serde_json::from_str(self.skip()).map(Cow::Owned).map_err(|_| JsonError::NotUnicode),
        }
    }

    /// Skips a value of any kind, and returns its text.
    fn skip(&mut self) -> &'j str {
        let mut values = serde_json::Deserializer::from_str(self.rest).into_iter::<IgnoredAny>();
        values.next();
        self.take(values.byte_offset())
    }

    /// Skips white space, and returns the next byte without consuming it.
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.bytes().next()
    }

    fn take(&mut self, bytes: usize) -> &'j str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }
}
