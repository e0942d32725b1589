//! stub

/// Where a value stands in a JSON object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field(String);

impl Field {
    /// Reads a field's name, a dotted path or a JSON pointer.
    ///
    /// # Errors
    /// A sentence, for an empty text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() { Err("must name a field") } else { Ok(Self(text.to_owned())) }
    }
}
