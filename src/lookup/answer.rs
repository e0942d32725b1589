//! The reading of an HTTP answer: the only place that makes a definitive answer of what an API says.
//!
//! It takes a complete response with the accepted status, a body that is a JSON object (or any
//! JSON document where `value_field` names that), and no error in its error field. Everything else
//! is a failure.

use super::value::{self, Field, Object, Value};
use super::{Absent, Kind, LookupSettings, MapSettings, request};
use crate::http::{Reply, compress};
use crate::model::{Answer, Failure};

/// What a response says.
///
/// # Errors
/// The failure, by the table in docs/src/api/replies.md.
pub(super) fn read(settings: &LookupSettings, reply: &Reply) -> Result<Answer, Failure> {
    if reply.status != settings.status_code {
        return match &settings.kind {
            Kind::Map(map) if map.not_found_status.contains(&reply.status) => Ok(Answer::NotFound),
            _ => Err(Failure::Status(reply.status)),
        };
    }
    let inflated = compress::inflate(reply, settings.request.compress_response)?;
    let body = inflated.as_deref().unwrap_or(&reply.body);
    let document = Value::parse(body)?;
    let (said_no_error, value) = match (document.object(), &settings.value_field) {
        (Some(body), field) => (says_no_error(settings, &body)?, field.find(&body)?),
        (None, Field::Whole) => (false, Some(document)),
        (None, _) => return Err(Failure::Body),
    };
    let Some(value) = value else {
        // An error field that says "no error" makes an absent value definitive.
        return match settings.absent_value {
            Absent::Failure if !said_no_error => Err(Failure::Body),
            Absent::Failure | Absent::NotFound => Ok(Answer::NotFound),
        };
    };
    match &settings.kind {
        Kind::Map(map) => map_answer(map, value),
        Kind::Policy(_) => Ok(value::policy_action(value)?.map_or(Answer::NotFound, Answer::Action)),
    }
}

/// A setting that may help against a failure, for `query --trace`.
pub(super) fn hint(settings: &LookupSettings, failure: &Failure) -> Option<String> {
    let Failure::Status(code @ (404 | 410)) = failure else { return None };
    Some(match &settings.kind {
        Kind::Map(_) => format!(
            "hint: a wrong path in target gives {code}, too; if the API says by it that there is no such key, add not_found_status: [{code}]"
        ),
        Kind::Policy(_) => format!(
            "hint: a wrong path in target gives {code}; an API that has no opinion answers {} without the field",
            settings.status_code
        ),
    })
}

/// Whether there is an error field that says "no error".
fn says_no_error(settings: &LookupSettings, body: &Object<'_>) -> Result<bool, Failure> {
    let Some(field) = &settings.error_field else { return Ok(false) };
    let Some(error) = field.find(body)? else { return Ok(false) };
    let text = value::error_text(error)?;
    if !text.is_empty() && text != settings.no_error_value {
        // Postfix logs it.
        let text = request::redactor(settings).redact(&text).into_owned();
        return Err(Failure::ErrorField(text));
    }
    Ok(!text.is_empty())
}

fn map_answer(map: &MapSettings, value: Value<'_>) -> Result<Answer, Failure> {
    match value::map_value(value, map.max_reply) {
        Err(Failure::EmptyValue | Failure::UnexpectedValue)
            if map.empty_is_not_found && value::is_empty(value) =>
        {
            Ok(Answer::NotFound)
        }
        Ok(_) if map.false_is_not_found && value.get() == "false" => Ok(Answer::NotFound),
        text => text.map(Answer::Value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Action;
    use crate::settings::{self, Configuration};
    use std::path::Path;
    use std::time::Instant;

    /// An entry of this kind, with these lines of YAML.
    fn entry(kind: &str, lines: &[&str]) -> Configuration {
        let usual = format!("{kind}:\n  m:\n    target: http://127.0.0.1:1/\n    payload: '{{}}'\n");
        let more: String = lines.iter().map(|line| format!("    {line}\n")).collect();
        settings::parse(Path::new("pfxhttp.yml"), &(usual + &more)).expect("a configuration").0
    }

    fn map(lines: &[&str]) -> LookupSettings {
        let field =
            if lines.iter().any(|line| line.starts_with("value_field")) { "" } else { "value_field: value" };
        entry("socket_maps", &[&[field], lines].concat()).maps.remove(0)
    }

    fn policy(lines: &[&str]) -> LookupSettings {
        entry("policy_services", &[&["value_field: action"], lines].concat()).policies.remove(0)
    }

    fn says(settings: &LookupSettings, status: u16, body: &str) -> Result<Answer, Failure> {
        let (headers, body) = (Default::default(), body.as_bytes().to_vec());
        read(settings, &Reply { at: Instant::now(), status, headers, body })
    }

    fn value(text: &str) -> Result<Answer, Failure> {
        Ok(Answer::Value(text.to_owned()))
    }

    #[test]
    fn the_status_decides_first() {
        let found = r#"{"value": "v"}"#;
        for status in [200, 201, 204, 302, 400, 404, 410, 500] {
            let due = if status == 200 { value("v") } else { Err(Failure::Status(status)) };
            assert_eq!(says(&map(&[]), status, found), due, "{status}");
            let map = map(&["status_code: 201", "not_found_status: [404, 410]"]);
            let due = match status {
                201 => value("v"),
                404 | 410 => Ok(Answer::NotFound),
                _ => Err(Failure::Status(status)),
            };
            assert_eq!(says(&map, status, found), due, "{status}");
            let due = match status {
                200 => Ok(Answer::Action(Action::parse("DUNNO").expect("an action"))),
                _ => Err(Failure::Status(status)),
            };
            assert_eq!(says(&policy(&[]), status, r#"{"action": "DUNNO"}"#), due, "{status}");
        }
    }

    #[test]
    fn only_an_object_or_a_whole_document_is_an_answer() {
        let whole = map(&["value_field: \"\""]);
        for (body, of_field, of_whole) in [
            (r#"{"value": "v"}"#, value("v"), Err(Failure::UnexpectedValue)),
            (r#""v""#, Err(Failure::Body), value("v")),
            ("7", Err(Failure::Body), value("7")),
            ("false", Err(Failure::Body), value("false")),
            ("null", Err(Failure::Body), Err(Failure::EmptyValue)),
            ("[]", Err(Failure::Body), Err(Failure::UnexpectedValue)),
            ("", Err(Failure::Body), Err(Failure::Body)),
            ("<html>", Err(Failure::Body), Err(Failure::Body)),
        ] {
            assert_eq!(says(&map(&[]), 200, body), of_field, "{body}");
            assert_eq!(says(&whole, 200, body), of_whole, "{body}");
        }
        assert_eq!(says(&policy(&[]), 200, "\"DUNNO\""), Err(Failure::Body));
    }

    #[test]
    fn what_is_absent_or_empty_is_what_the_settings_say() {
        let strict = map(&["absent_value: error"]);
        assert_eq!(says(&map(&[]), 200, "{}"), Ok(Answer::NotFound));
        assert_eq!(says(&strict, 200, "{}"), Err(Failure::Body));
        assert_eq!(says(&policy(&[]), 200, "{}"), Ok(Answer::NotFound));
        assert_eq!(says(&policy(&["absent_value: error"]), 200, "{}"), Err(Failure::Body));
        assert_eq!(says(&policy(&[]), 200, r#"{"action": " "}"#), Ok(Answer::NotFound));
        let lax = map(&["empty_value: not_found", "false_is_not_found: true"]);
        for (json, due) in
            [("\"\"", Failure::EmptyValue), ("null", Failure::EmptyValue), ("[]", Failure::UnexpectedValue)]
        {
            let body = format!(r#"{{"value": {json}}}"#);
            assert_eq!(says(&map(&[]), 200, &body), Err(due), "{json}");
            assert_eq!(says(&lax, 200, &body), Ok(Answer::NotFound), "{json}");
        }
        assert_eq!(says(&lax, 200, r#"{"value": {}}"#), Err(Failure::UnexpectedValue));
        assert_eq!(says(&map(&[]), 200, r#"{"value": false}"#), value("false"));
        assert_eq!(says(&lax, 200, r#"{"value": false}"#), Ok(Answer::NotFound));
        assert_eq!(says(&lax, 200, r#"{"value": "v"}"#), value("v"));
    }

    #[test]
    fn an_error_text_is_a_failure() {
        let settings = |more: &[&str]| map(&[&["error_field: error", "no_error_value: none"], more].concat());
        let failed = |text: &str| Err(Failure::ErrorField(text.to_owned()));
        let (lax, strict) = (settings(&[]), settings(&["absent_value: error"]));
        for (error, found, absent) in [
            ("\"none\"", value("v"), Ok(Answer::NotFound)),
            ("\"\"", value("v"), Err(Failure::Body)),
            ("\"down\"", failed("down"), failed("down")),
        ] {
            assert_eq!(says(&lax, 200, &format!(r#"{{"error": {error}, "value": "v"}}"#)), found, "{error}");
            assert_eq!(says(&strict, 200, &format!(r#"{{"error": {error}}}"#)), absent, "{error}");
        }
        assert_eq!(says(&lax, 200, r#"{"value": "v"}"#), value("v"));
        assert_eq!(says(&strict, 200, "{}"), Err(Failure::Body));
        // What is secret in the settings is in no text for Postfix.
        let secret = settings(&["custom_headers: [\"X-Key: canary-of-a-key\"]"]);
        let Err(Failure::ErrorField(text)) = says(&secret, 200, r#"{"error": "canary-of-a-key is wrong"}"#)
        else {
            panic!("no failure")
        };
        assert!(text.ends_with("is wrong") && !text.contains("canary"), "{text}");
    }

    #[test]
    fn a_missing_page_is_explained() {
        let of_map = |failure| hint(&map(&[]), &failure);
        assert!(of_map(Failure::Status(404)).is_some_and(|hint| hint.contains("not_found_status: [404]")));
        assert!(of_map(Failure::Status(410)).is_some_and(|hint| hint.contains("not_found_status: [410]")));
        let of_policy = hint(&policy(&["status_code: 202"]), &Failure::Status(404));
        assert!(of_policy.is_some_and(|hint| hint.contains("answers 202 without the field")));
        assert_eq!((of_map(Failure::Status(500)), of_map(Failure::Body)), (None, None));
    }
}
