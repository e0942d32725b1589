//! Values of keys: texts, numbers, durations, words of a list.
//!
//! Each getter says which kind of value its key has, and its range or choices. It reports a value that
//! is none of them, and returns nothing then; the caller goes on with a default, which is never used, as
//! a document with an error yields no configuration. No message repeats a value.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_yaml::Value as Yaml;

use super::dump::{HIDDEN, Origin};
use super::key::Key;
use super::node::{Node, Value};
use super::record::Kind;
use super::refusal::{Refusal, text, truth, unexpected, word};
use super::{duration, nearest};

type Show<'d, T> = Box<dyn Fn(&T) -> Yaml + 'd>;

/// What a key says.
pub struct Found<'d, T> {
    /// The key.
    pub key: Key<'d>,
    value: Option<T>,
    /// Whether the value is wrong, which was reported.
    is_wrong: bool,
    /// How a default is shown in the effective configuration; nothing: it is not.
    show: Option<Show<'d, T>>,
}

impl<'d, T> Found<'d, T> {
    /// The value, if one is set.
    #[must_use]
    pub fn get(self) -> Option<T> {
        self.value
    }

    /// The value without taking it.
    #[must_use]
    pub fn as_ref(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// Whether a value is set, right or wrong.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.value.is_some() || self.is_wrong
    }

    /// The value, or what holds if none is set.
    pub fn or(self, default: T) -> T {
        self.or_of(default, Origin::Default)
    }

    /// The value, or `default`, which the key `from` says.
    pub fn or_inherit(self, default: T, from: &'static str) -> T {
        self.or_of(default, Origin::Inherited(from))
    }

    fn or_of(self, default: T, origin: Origin) -> T {
        if let (false, Some(show)) = (self.is_set(), &self.show) {
            self.key.note(Some((show(&default), origin)));
        }
        self.value.unwrap_or(default)
    }

    /// The value; reports that it is missing if there is none.
    pub fn required(self) -> Option<T> {
        self.required_as(None)
    }

    /// The same with a hint.
    pub fn required_as(self, hint: impl Into<Option<&'static str>>) -> Option<T> {
        if !self.is_set() {
            self.key.missing().hint_if(hint.into().map(str::to_owned));
        }
        self.value
    }

    /// The same value, shown otherwise in the effective configuration.
    #[must_use]
    pub fn shown(self, show: impl Fn(&T) -> String + 'd) -> Self {
        if let Some(value) = &self.value {
            self.key.note_set(Yaml::from(show(value)));
        }
        Self { show: Some(Box::new(move |value| Yaml::from(show(value)))), ..self }
    }

    /// The value as `read` takes it, which says what is wrong if it does not.
    pub fn read_as<U, R: Into<Refusal>>(self, read: impl FnOnce(T) -> Result<U, R>) -> Found<'d, U> {
        let read = self.value.map(|value| self.key.accept(read(value)));
        let is_wrong = self.is_wrong || matches!(read, Some(None));
        Found { key: self.key, value: read.flatten(), is_wrong, show: None }
    }

    /// The same value, unless `check` says what is wrong with it.
    #[must_use]
    pub fn check<R: Into<Refusal>>(mut self, check: impl FnOnce(&T) -> Result<(), R>) -> Self {
        if self.value.as_ref().is_some_and(|value| self.key.accept(check(value)).is_none()) {
            self.is_wrong = true;
            self.value = None;
        }
        self
    }
}

impl<'d> Key<'d> {
    /// Reads the value by `read`, which says what it should be if it is not.
    fn found<T>(
        &self,
        kind: Kind,
        read: impl FnOnce(&Node) -> Result<T, Refusal>,
        show: impl Fn(&T) -> Yaml + 'd,
    ) -> Found<'d, T> {
        self.record(kind);
        let read = self.node().map(|node| self.accept(read(node)));
        let is_wrong = matches!(read, Some(None));
        let value = read.flatten();
        match &value {
            Some(value) => self.note_set(show(value)),
            None => self.note(None),
        }
        Found { key: self.clone(), value, is_wrong, show: Some(Box::new(show)) }
    }

    /// The value that was read; reports why it is refused.
    pub(super) fn accept<T, R: Into<Refusal>>(&self, read: Result<T, R>) -> Option<T> {
        let refused = |refusal: R| {
            let Refusal { message, hint, is_wrong_kind } = refusal.into();
            if is_wrong_kind || !self.block.has_no_effect {
                self.fault(message).hint_if(hint);
            }
        };
        read.map_err(refused).ok()
    }

    /// A text. A value that YAML takes for a number or a boolean is refused.
    pub fn text(&self) -> Found<'d, String> {
        self.found(Kind::Text, text, |text| Yaml::from(text.as_str()))
    }

    /// A text that is not shown.
    pub fn hidden_text(&self) -> Found<'d, String> {
        self.found(Kind::Text, text, |_| Yaml::from(HIDDEN))
    }

    /// A text that may be written as a number or a boolean, as a user id.
    pub fn word(&self) -> Found<'d, String> {
        self.found(Kind::Word, word, |text| Yaml::from(text.as_str()))
    }

    /// The same, not shown.
    pub fn hidden_word(&self) -> Found<'d, String> {
        self.found(Kind::Word, word, |_| Yaml::from(HIDDEN))
    }

    /// A boolean, also in quotes, in the spellings of the Go program (strconv.ParseBool).
    pub fn flag(&self) -> Found<'d, bool> {
        self.found(Kind::Flag, truth, |truth| Yaml::from(*truth))
    }

    /// A whole number within `range`, also in quotes.
    pub fn count(&self, range: RangeInclusive<u64>) -> Found<'d, u64> {
        self.whole(range)
    }

    /// A status code of HTTP.
    pub fn status(&self) -> Found<'d, u16> {
        self.whole(100..=599)
    }

    fn whole<T>(&self, range: RangeInclusive<T>) -> Found<'d, T>
    where
        T: TryFrom<u64> + Into<u64> + Into<Yaml> + Copy + PartialOrd + 'd,
    {
        let read = |node: &Node| {
            let number: Option<u64> = match &node.value {
                Value::Integer(number) => u64::try_from(*number).ok(),
                Value::Text { text, .. } => text.parse().ok(),
                _ => None,
            };
            let number = number.ok_or_else(|| unexpected("a whole number", node))?;
            let number = T::try_from(number).ok().filter(|number| range.contains(number));
            let [least, most]: [u64; 2] = [*range.start(), *range.end()].map(Into::into);
            number.ok_or_else(|| match most {
                u64::MAX => format!("must be at least {least}").into(),
                _ => format!("must be from {least} to {most}").into(),
            })
        };
        self.found(Kind::Count, read, |number| (*number).into())
    }

    /// A number from 0 to 1.
    pub fn ratio(&self) -> Found<'d, f64> {
        let read = |node: &Node| {
            let number = match &node.value {
                #[expect(clippy::cast_precision_loss, reason = "what is out of range stays so")]
                Value::Integer(number) => *number as f64,
                Value::Float(number) => *number,
                Value::Text { text, .. } => text.parse().map_err(|_| "expected a number")?,
                _ => return Err(unexpected("a number", node)),
            };
            if (0.0..=1.0).contains(&number) { Ok(number) } else { Err("must be from 0 to 1".into()) }
        };
        self.found(Kind::Number, read, |number| Yaml::from(*number))
    }

    /// A duration as the Go program writes it (`500ms`, `1.5s`, `1h30m`), within `range`.
    pub fn duration(&self, range: RangeInclusive<Duration>) -> Found<'d, Duration> {
        let read = |node: &Node| duration::within(&range, &word(node)?);
        self.found(Kind::Duration, read, |duration| Yaml::from(duration::write(*duration)))
    }

    /// The one of `choices` whose name the value is.
    pub fn choice<T: Clone + PartialEq>(&self, choices: &'static [(&'static str, T)]) -> Found<'d, T> {
        self.chosen(Kind::Choice, text, choices)
    }

    /// The same, if the value may be written as a number.
    pub fn word_choice<T: Clone + PartialEq>(&self, choices: &'static [(&'static str, T)]) -> Found<'d, T> {
        self.chosen(Kind::WordChoice, word, choices)
    }

    fn chosen<T: Clone + PartialEq>(
        &self,
        kind: fn(Vec<&'static str>) -> Kind,
        text: fn(&Node) -> Result<String, Refusal>,
        choices: &'static [(&'static str, T)],
    ) -> Found<'d, T> {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let read = |node: &Node| {
            let text = text(node)?;
            if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
                return Ok(value.clone());
            }
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let refused = Refusal::from(format!("must be one of: {}", names.join(", ")));
            let mut with_word = names.iter().filter(|name| name.split('_').any(|word| word == text));
            let with_word = with_word.next().filter(|_| with_word.next().is_none());
            Err(match nearest(&text, names.iter().copied()).or(with_word.copied()) {
                Some(near) => refused.hint(format!("did you mean `{near}`?")),
                None => refused,
            })
        };
        let show = |value: &T| {
            let name = choices.iter().find(|(_, choice)| choice == value).map(|(name, _)| *name);
            name.map_or(Yaml::Null, Yaml::from)
        };
        self.found(kind(names.clone()), read, show)
    }

    /// The mode of a file: octal, in quotes.
    pub fn mode(&self) -> Found<'d, u32> {
        let octal = |digits: &str| {
            let is_octal = !digits.is_empty() && digits.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
            is_octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten().filter(|mode| *mode <= 0o777)
        };
        let read = |node: &Node| {
            let text = word(node)?;
            let mode = text.strip_prefix('0').and_then(octal);
            // YAML readers do not agree on what 0660 without quotes is, and 0o660 is 432 by now.
            if matches!(&node.value, Value::Text { is_plain: true, .. } | Value::Integer(_)) {
                let meant = mode.unwrap_or(0o660);
                return Err(Refusal::from("a mode must stand in quotes").hint(format!("as \"{meant:04o}\"")));
            }
            let wrong = Refusal::from("a mode is octal and begins with 0");
            mode.ok_or_else(|| wrong.hint("as \"0660\": the owner and the group may connect"))
        };
        self.found(Kind::Word, read, |mode| Yaml::from(format!("{mode:04o}")))
    }
}
