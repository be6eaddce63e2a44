//! JSON whose numbers keep the digits they were written with: every reader that makes a tree of them makes floats.

use std::borrow::Cow;

use memchr::memchr2;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// A JSON value, read in one pass. Texts without escapes are borrowed.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'j> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as it was written.
    Number(&'j str),
    /// A text, without its escapes.
    Text(Cow<'j, str>),
    /// A list.
    List(Vec<Self>),
    /// An object: its fields in their order. A name can stand twice.
    Object(Vec<(Cow<'j, str>, Self)>),
    /// A text with half of a surrogate pair: JSON allows it, and it is not Unicode.
    NotUnicode,
    /// An object with a name of that sort.
    NameNotUnicode,
    /// A list or an object in more levels of others than were asked for.
    TooDeep,
}

impl<'j> Json<'j> {
    /// Reads a value, and in it at most `levels` levels of lists and objects.
    #[must_use]
    pub fn read(json: &'j RawValue, levels: usize) -> Self {
        Reader { rest: json.get() }.value(levels)
    }

    /// What sort of value it is, which can be told without telling the value.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
            Self::NotUnicode => "text that is not Unicode",
            Self::NameNotUnicode => "an object with a name that is not Unicode",
            Self::TooDeep => "nested too deep",
        }
    }
}

/// Goes once through text that is JSON: a [`RawValue`] holds nothing else.
struct Reader<'j> {
    rest: &'j str,
}

impl<'j> Reader<'j> {
    fn value(&mut self, levels: usize) -> Json<'j> {
        match self.next() {
            Some(b'"') => self.text().map_or(Json::NotUnicode, Json::Text),
            Some(b'[' | b'{') if levels == 0 => {
                self.skip();
                Json::TooDeep
            }
            Some(b'[') => self.list(levels - 1),
            Some(b'{') => self.object(levels - 1),
            _ => {
                let end = |byte: u8| b",]} \t\r\n".contains(&byte);
                match self.take(self.rest.bytes().position(end).unwrap_or(self.rest.len())) {
                    "null" => Json::Null,
                    "true" => Json::Bool(true),
                    "false" => Json::Bool(false),
                    digits => Json::Number(digits),
                }
            }
        }
    }

    fn list(&mut self, levels: usize) -> Json<'j> {
        let mut values = Vec::new();
        self.take(1);
        loop {
            match self.next() {
                Some(b',') => _ = self.take(1),
                Some(b']') | None => break,
                _ => values.push(self.value(levels)),
            }
        }
        self.take(1);
        Json::List(values)
    }

    fn object(&mut self, levels: usize) -> Json<'j> {
        let mut fields = Vec::new();
        let mut unicode = true;
        self.take(1);
        loop {
            match self.next() {
                Some(b',') => _ = self.take(1),
                Some(b'}') | None => break,
                _ => {
                    let name = self.text();
                    self.next();
                    self.take(1);
                    let value = self.value(levels);
                    match name {
                        Some(name) => fields.push((name, value)),
                        None => unicode = false,
                    }
                }
            }
        }
        self.take(1);
        if unicode { Json::Object(fields) } else { Json::NameNotUnicode }
    }

    /// A text, unless it isn't Unicode.
    fn text(&mut self) -> Option<Cow<'j, str>> {
        let opened = self.rest.get(1..)?;
        let end = memchr2(b'"', b'\\', opened.as_bytes())?;
        let (text, rest) = opened.split_at_checked(end)?;
        match rest.strip_prefix('"') {
            Some(rest) => {
                self.rest = rest;
                Some(Cow::Borrowed(text))
            }
            // An escape.
            None => serde_json::from_str(self.skip()).ok().map(Cow::Owned),
        }
    }

    /// Goes past a value, whatever is in it.
    fn skip(&mut self) -> &'j str {
        let mut values = serde_json::Deserializer::from_str(self.rest).into_iter::<IgnoredAny>();
        values.next();
        self.take(values.byte_offset())
    }

    /// Goes to the next byte that isn't white space, and tells it.
    fn next(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.bytes().next()
    }

    fn take(&mut self, bytes: usize) -> &'j str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }
}
