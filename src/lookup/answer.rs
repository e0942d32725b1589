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
