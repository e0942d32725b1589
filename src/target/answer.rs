//! The reading of an HTTP answer: the only place where a definitive answer is made.
//!
//! It takes a complete response with the accepted status, a body that is a JSON object, and no
//! error in its error field. Everything else is a failure.

use super::value::{self, Object};
use super::{Kind, Settings};
use crate::ask::{Answer, Failure};

/// What a response says.
///
/// # Errors
/// The failure, by the outcome table of the README.
pub fn read(settings: &Settings, status: u16, body: &[u8]) -> Result<Answer, Failure> {
    if status != settings.status_code {
        return Err(Failure::Status(status));
    }
    let body = Object::parse(body)?;
    if let Some(field) = &settings.error_field
        && let Some(error) = field.find(&body)?
    {
        let text = value::error_text(error)?;
        if !text.is_empty() && text != settings.no_error_value {
            return Err(Failure::ErrorField(text));
        }
    }
    let Some(value) = settings.value_field.find(&body)? else {
        return Ok(Answer::NotFound);
    };
    match &settings.kind {
        Kind::Map(map) => {
            let value = value::map_value(value)?;
            // The limit is on the payload, `OK ` included (dict_sockmap.c).
            let reply = "OK ".len() + value.len();
            if reply > map.max_reply {
                return Err(Failure::TooLong(reply as u64));
            }
            Ok(Answer::Value(value))
        }
        Kind::Policy(_) => Ok(value::policy_action(value)?.map_or(Answer::NotFound, Answer::Action)),
    }
}
