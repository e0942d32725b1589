//! The names of values: the way from the top of the file, as `server.listen[0].port`.
//!
//! A path is made while the tree is walked, finds its place in the index (`places`), and is shown
//! in problems. A name that would be mistaken for a path of its own (`a.b`) is shown in quotes.

use std::fmt;

/// One step from a mapping or a list to what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// The key of a map.
    Key(String),
    /// The item of a list, from 0.
    Item(usize),
}

/// The way from the top of the file to a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct KeyPath(Vec<Step>);

impl KeyPath {
    /// The path of `name` in the mapping at this path.
    pub fn key(&self, name: &str) -> Self {
        self.step(Step::Key(name.to_owned()))
    }

    /// The path of the item `index` of the list at this path.
    pub fn item(&self, index: usize) -> Self {
        self.step(Step::Item(index))
    }

    /// From the top down.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The path of what stands at `step` below this path.
    pub fn step(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl From<&[Step]> for KeyPath {
    fn from(steps: &[Step]) -> Self {
        Self(steps.to_vec())
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Item(index) => write!(f, "[{index}]")?,
                Step::Key(name) => {
                    if position > 0 {
                        f.write_str(".")?;
                    }
                    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '@' | '/');
                    if !name.is_empty() && name.chars().all(plain) {
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
