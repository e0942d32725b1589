//! The reading of a password login's response by its JSON body: `accept_field`, `account_field` and
//! `reason_field`, for an API that knows nothing of Nauthilus' headers.
//!
//! `true` accepts and `false` denies; whatever else stands there, or nothing, is a failure. Headers
//! may say the same, and one that says otherwise is a failure, too.

use super::answer::{self, DENIED};
use super::settings::Fields;
use super::{Decision, LoginSettings};
use crate::http::{Reply, compress};
use crate::lookup::value::{Field, Object, Value};
use crate::model::Failure;
use crate::observe::explain;

/// What a response says of the login of `user`.
///
/// # Errors
/// The failure, by the table in docs/src/api/logins-json.md.
pub(super) fn read(
    settings: &LoginSettings,
    fields: &Fields,
    user: &str,
    reply: &Reply,
) -> Result<Decision, Failure> {
    let status = answer::status_header(reply)?;
    let status = status.as_deref().filter(|said| !said.is_empty());
    if answer::is_temporary(reply) {
        return Err(Failure::Status(reply.status));
    }
    let inflated = compress::inflate(reply, settings.request.compress_response);
    let body = object(reply, &inflated);
    if settings.denied_status.contains(&reply.status) {
        let body = body.ok();
        let accepts = body.as_ref().is_some_and(|body| matches!(verdict(fields, body), Ok(true)));
        if accepts || status.is_some_and(answer::is_ok) {
            return Err(contradiction("a status of denied_status"));
        }
        return Ok(denied(fields, body.as_ref(), status));
    }
    if reply.status != settings.status_code {
        return Err(Failure::Status(reply.status));
    }
    let body = body?;
    let is_accepted = verdict(fields, &body)?;
    if status.is_some_and(|said| answer::is_ok(said) != is_accepted) {
        return Err(contradiction("Auth-Status"));
    }
    if !is_accepted {
        return Ok(denied(fields, Some(&body), status));
    }
    let account = match &fields.account {
        Some(field) => account(field, &body)?,
        None => None,
    };
    match (account, answer::auth_user(reply)?) {
        (Some(account), Some(other)) if account != other => Err(contradiction("Auth-User")),
        (Some(account), _) | (None, Some(account)) => Ok(Decision::Accepted(account)),
        (None, None) => Ok(Decision::Accepted(user.to_owned())),
    }
}

/// Whether a response with a status of `denied_status` denies the user in its body.
pub(super) fn denies(settings: &LoginSettings, reply: &Reply) -> bool {
    let Some(fields) = settings.fields.as_ref().filter(|_| settings.denied_status.contains(&reply.status))
    else {
        return false;
    };
    let inflated = compress::inflate(reply, settings.request.compress_response);
    object(reply, &inflated).is_ok_and(|body| matches!(verdict(fields, &body), Ok(false)))
}

/// The body of a response, decompressed.
fn object<'r>(
    reply: &'r Reply,
    inflated: &'r Result<Option<Vec<u8>>, Failure>,
) -> Result<Object<'r>, Failure> {
    let inflated = inflated.as_ref().map_err(Clone::clone)?;
    Object::parse(inflated.as_deref().unwrap_or(&reply.body))
}

/// What `accept_field` says.
fn verdict(fields: &Fields, body: &Object<'_>) -> Result<bool, Failure> {
    let said = fields.accept.find_at_top(body)?.map(Value::get);
    match said {
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        _ => {
            let why = if said.is_some() { "neither true nor false" } else { "absent" };
            explain::note(|| format!("accept_field: {why}"));
            Err(Failure::Body)
        }
    }
}

/// The account that the API names; `None` if it names none.
fn account(field: &Field, body: &Object<'_>) -> Result<Option<String>, Failure> {
    let Some(value) = field.find_at_top(body)?.map(Value::get).filter(|value| *value != "null") else {
        return Ok(None);
    };
    let name: String = serde_json::from_str(value).map_err(|_| Failure::UnexpectedValue)?;
    if name.trim().is_empty() {
        return Err(Failure::UnexpectedValue);
    }
    answer::legal_account(name).map(Some)
}

/// A denial, with the reason of the body, else of `Auth-Status`.
fn denied(fields: &Fields, body: Option<&Object<'_>>, status: Option<&str>) -> Decision {
    let reason = fields.reason.as_ref().zip(body).and_then(|(field, body)| field.find_at_top(body).ok()?);
    let reason = reason.and_then(|value| serde_json::from_str::<String>(value.get()).ok());
    let reason = reason.filter(|reason| !reason.trim().is_empty());
    Decision::denied(reason.as_deref().or(status).unwrap_or(DENIED))
}

fn contradiction(what: &str) -> Failure {
    explain::note(|| format!("accept_field: {what} says otherwise"));
    Failure::NoEvidence
}
