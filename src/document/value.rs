//! Values of keys: texts, numbers, durations, words of a list.
//!
//! Each getter says which kind of value its key has, and its range or choices. It reports a value that
//! is none of them, and returns nothing then; the caller goes on with a default, which is never used, as
//! a document with an error yields no configuration. No message repeats a value.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_yaml::Value as Yaml;

use super::dump::{HIDDEN, Origin};
use super::duration;
use super::key::{Key, Spot};
use super::nearest;
use super::node::{Node, Value};
use super::reading::Reported;
use super::record::Kind;
use super::refusal::{Refusal, refusal, text, truth, unexpected, word};

type Show<'d, T> = Box<dyn Fn(&T) -> Yaml + 'd>;

/// What a key says.
pub struct Found<'d, T> {
    /// The key.
    pub key: Key<'d>,
    value: Option<T>,
    /// A value that is wrong, as it was reported.
    wrong: Option<Reported<'d>>,
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
        self.value.is_some() || self.wrong.is_some()
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
            self.key.note(show(&default), origin);
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
            let told = self.key.missing();
            if let Some(hint) = hint.into() {
                told.hint(hint);
            }
        }
        self.value
    }

    /// The same value, shown otherwise in the effective configuration.
    #[must_use]
    pub fn shown(self, show: impl Fn(&T) -> String + 'd) -> Self {
        if let (Some(value), Some(spot)) = (&self.value, self.key.spot()) {
            self.key.note_spot(Yaml::from(show(value)), &spot);
        }
        Self { show: Some(Box::new(move |value| Yaml::from(show(value)))), ..self }
    }

    /// The value as `read` takes it, which says what is wrong if it does not.
    pub fn read_as<U, R: Into<Refusal>>(self, read: impl FnOnce(T) -> Result<U, R>) -> Found<'d, U> {
        let Self { key, value, wrong, .. } = self;
        match value.map(read) {
            Some(Err(refusal)) => Found { wrong: key.refuse(refusal.into()), key, value: None, show: None },
            read => Found { key, value: read.and_then(Result::ok), wrong, show: None },
        }
    }

    /// The same value, unless `check` says what is wrong with it.
    #[must_use]
    pub fn check<R: Into<Refusal>>(mut self, check: impl FnOnce(&T) -> Result<(), R>) -> Self {
        if let Some(Err(refusal)) = self.value.as_ref().map(check) {
            self.wrong = self.key.refuse(refusal.into());
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
        read: impl FnOnce(&Spot<'d>) -> Result<T, Refusal>,
        show: impl Fn(&T) -> Yaml + 'd,
    ) -> Found<'d, T> {
        self.record(kind);
        let spot = self.spot();
        let (value, wrong) = match spot.as_ref().map(read) {
            Some(Err(refusal)) => (None, self.refuse(refusal)),
            read => (read.and_then(Result::ok), None),
        };
        match (&value, &spot) {
            (Some(value), Some(spot)) => self.note_spot(show(value), spot),
            _ => self.reserve(),
        }
        Found { key: self.clone(), value, wrong, show: Some(Box::new(show)) }
    }

    /// Reports what is wrong with the value.
    fn refuse(&self, refusal: Refusal) -> Option<Reported<'d>> {
        if self.block.has_no_effect && !refusal.is_wrong_kind {
            return Some(Reported::nothing());
        }
        let told = self.fault(&self.spot()?, refusal.message);
        Some(match refusal.hint {
            Some(hint) => told.hint(hint),
            None => told,
        })
    }

    /// A text. A value that YAML takes for a number or a boolean is refused.
    pub fn text(&self) -> Found<'d, String> {
        self.found(Kind::Text, |spot| text(spot.node), |text| Yaml::from(text.as_str()))
    }

    /// A text that is not shown.
    pub fn hidden_text(&self) -> Found<'d, String> {
        self.found(Kind::Text, |spot| text(spot.node), |_| Yaml::from(HIDDEN))
    }

    /// A text that may be written as a number or a boolean, as a user id.
    pub fn word(&self) -> Found<'d, String> {
        self.found(Kind::Word, |spot| word(spot.node), |text| Yaml::from(text.as_str()))
    }

    /// The same, not shown.
    pub fn hidden_word(&self) -> Found<'d, String> {
        self.found(Kind::Word, |spot| word(spot.node), |_| Yaml::from(HIDDEN))
    }

    /// A boolean, also in quotes, in the spellings of the Go program (strconv.ParseBool).
    pub fn flag(&self) -> Found<'d, bool> {
        let read = |spot: &Spot<'d>| match &spot.node.value {
            Value::Boolean(truth) => Ok(*truth),
            Value::Text { text, .. } if let Some(truth) = truth(text) => Ok(truth),
            _ if spot.variable.is_some() => Err(refusal("expected true or false")),
            _ => Err(unexpected("true or false", spot.node)),
        };
        self.found(Kind::Flag, read, |truth| Yaml::from(*truth))
    }

    /// A whole number within `range`, also in quotes.
    pub fn count(&self, range: RangeInclusive<u64>) -> Found<'d, u64> {
        let read = |spot: &Spot<'d>| {
            let number = match &spot.node.value {
                Value::Integer(number) => u64::try_from(*number).ok(),
                Value::Text { text, .. } => text.parse().ok(),
                _ => None,
            };
            let number = number.ok_or_else(|| unexpected("a whole number", spot.node))?;
            if range.contains(&number) {
                return Ok(number);
            }
            Err(match (*range.start(), *range.end()) {
                (least, u64::MAX) => refusal(format!("must be at least {least}")),
                (least, most) => refusal(format!("must be from {least} to {most}")),
            })
        };
        self.found(Kind::Count, read, |number| Yaml::from(*number))
    }

    /// A status code of HTTP.
    pub fn status(&self) -> Found<'d, u16> {
        let Found { key, value, wrong, .. } = self.count(100..=599);
        let value = value.and_then(|code| u16::try_from(code).ok());
        Found { key, value, wrong, show: Some(Box::new(|code| Yaml::from(*code))) }
    }

    /// A number from 0 to 1.
    pub fn ratio(&self) -> Found<'d, f64> {
        let read = |spot: &Spot<'d>| {
            let number = match &spot.node.value {
                #[expect(clippy::cast_precision_loss, reason = "what is out of range stays so")]
                Value::Integer(number) => *number as f64,
                Value::Float(number) => *number,
                Value::Text { text, .. } => text.parse().map_err(|_| refusal("expected a number"))?,
                _ => return Err(unexpected("a number", spot.node)),
            };
            if (0.0..=1.0).contains(&number) { Ok(number) } else { Err(refusal("must be from 0 to 1")) }
        };
        self.found(Kind::Number, read, |number| Yaml::from(*number))
    }

    /// A duration as the Go program writes it (`500ms`, `1.5s`, `1h30m`), within `range`.
    pub fn duration(&self, range: RangeInclusive<Duration>) -> Found<'d, Duration> {
        let read = |spot: &Spot<'d>| {
            let text = word(spot.node)?;
            if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
                let hint = if text.len() <= 9 { format!("write {text}s") } else { "write 30s".to_owned() };
                return Err(refusal("a duration needs a unit").hint(hint));
            }
            let Some(duration) = duration::parse(&text) else {
                return Err(
                    refusal("not a duration").hint("numbers with units, as 500ms, 1.5s, 30s, 5m, 1h30m")
                );
            };
            if range.contains(&duration) {
                return Ok(duration);
            }
            let [least, most] = [*range.start(), *range.end()].map(humantime::format_duration);
            Err(refusal(format!("must be from {least} to {most}")))
        };
        self.found(Kind::Duration, read, |duration| Yaml::from(duration::write(*duration)))
    }

    /// The one of `choices` whose name the value is.
    pub fn choice<T: Clone + PartialEq>(&self, choices: &'static [(&'static str, T)]) -> Found<'d, T> {
        let names = choices.iter().map(|(name, _)| *name).collect();
        self.chosen(Kind::Choice(names), text, choices)
    }

    /// The same, if the value may be written as a number.
    pub fn word_choice<T: Clone + PartialEq>(&self, choices: &'static [(&'static str, T)]) -> Found<'d, T> {
        let names = choices.iter().map(|(name, _)| *name).collect();
        self.chosen(Kind::WordChoice(names), word, choices)
    }

    fn chosen<T: Clone + PartialEq>(
        &self,
        kind: Kind,
        text: fn(&Node) -> Result<String, Refusal>,
        choices: &'static [(&'static str, T)],
    ) -> Found<'d, T> {
        let read = |spot: &Spot<'d>| {
            let text = text(spot.node)?;
            if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
                return Ok(value.clone());
            }
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let refused = refusal(format!("must be one of: {}", names.join(", ")));
            Err(match nearest(&text, names.iter().copied()) {
                Some(near) => refused.hint(format!("did you mean `{near}`?")),
                None => refused,
            })
        };
        let show = |value: &T| {
            let name = choices.iter().find(|(_, choice)| choice == value).map(|(name, _)| *name);
            name.map_or(Yaml::Null, Yaml::from)
        };
        self.found(kind, read, show)
    }

    /// The mode of a file: octal, in quotes.
    pub fn mode(&self) -> Found<'d, u32> {
        let octal = |digits: &str| {
            let is_octal = !digits.is_empty() && digits.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
            is_octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten().filter(|mode| *mode <= 0o777)
        };
        let read = |spot: &Spot<'d>| {
            let text = word(spot.node)?;
            let mode = text.strip_prefix('0').and_then(octal);
            // YAML readers do not agree on what 0660 without quotes is, and 0o660 is 432 by now.
            let is_plain = matches!(&spot.node.value, Value::Text { is_plain: true, .. } | Value::Integer(_));
            if is_plain && spot.variable.is_none() {
                let meant = mode.unwrap_or(0o660);
                return Err(refusal("a mode must stand in quotes").hint(format!("as \"{meant:04o}\"")));
            }
            let wrong = refusal("a mode is octal and begins with 0");
            mode.ok_or_else(|| wrong.hint("as \"0660\": the owner and the group may connect"))
        };
        self.found(Kind::Word, read, |mode| Yaml::from(format!("{mode:04o}")))
    }
}
