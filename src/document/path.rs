//! The path of a value, from the top of the file: `server.listen[0].port`.

use std::fmt;

/// One step from a map or a list to what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// The key of a map.
    Key(String),
    /// The item of a list, from 0.
    Item(usize),
}

/// The path of a value. A name that could be mistaken for a path (`a.b`) is shown in quotes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct KeyPath(pub(super) Vec<Step>);

impl KeyPath {
    /// The path of `name` in the map at this path.
    #[must_use]
    pub fn key(&self, name: &str) -> Self {
        self.step(Step::Key(name.to_owned()))
    }

    /// The path of the item `index` of the list at this path.
    #[must_use]
    pub fn item(&self, index: usize) -> Self {
        self.step(Step::Item(index))
    }

    fn step(&self, step: Step) -> Self {
        let mut steps = Vec::with_capacity(self.0.len() + 1);
        steps.extend_from_slice(&self.0);
        steps.push(step);
        Self(steps)
    }

    /// From the top down.
    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The path of the map or list that this path is in.
    pub(super) fn parent(&self) -> Self {
        Self(self.0.split_last().map_or_else(Vec::new, |(_, above)| above.to_vec()))
    }

    /// Whether a key of this path is `wanted`.
    pub(super) fn has_key(&self, wanted: fn(&str) -> bool) -> bool {
        self.0.iter().any(|step| matches!(step, Step::Key(key) if wanted(key)))
    }

    /// How many steps lead to the first key that is `wanted`; all, if none is.
    pub(super) fn steps_to(&self, wanted: fn(&str) -> bool) -> usize {
        let is_wanted = |step: &Step| matches!(step, Step::Key(key) if wanted(key));
        self.0.iter().position(is_wanted).map_or(self.0.len(), |at| at + 1)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Item(index) => write!(f, "[{index}]")?,
                Step::Key(name) => {
                    f.write_str(if position > 0 { "." } else { "" })?;
                    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '@' | '/');
                    if !name.is_empty() && name.chars().all(is_plain) {
                        f.write_str(name)?;
                    } else {
                        write!(f, "{name:?}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_quote_what_is_no_plain_name() {
        let mut path = KeyPath::default();
        for key in ["a", "b.c", "", "d-e_f@g/h"] {
            path = path.key(key).item(0);
        }
        assert_eq!(path.to_string(), "a[0].\"b.c\"[0].\"\"[0].d-e_f@g/h[0]");
    }
}
