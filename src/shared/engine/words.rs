//! What the errors of the client library mean, in one line each.

use redis::{ErrorKind, RedisError, ServerError, Value};

use crate::model::brief::without_controls;

/// Characters of a text of the server.
const LONGEST: usize = 200;

pub(super) fn unreached(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such socket".to_owned(),
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::PermissionDenied => "the broker's user may not open the socket".to_owned(),
        _ => error.to_string(),
    }
}

pub(super) fn unexpected(value: &Value) -> String {
    match value {
        Value::ServerError(error) => words(&error.clone().into()),
        _ => "it answers otherwise than Redis".to_owned(),
    }
}

/// What is wrong, in one line.
pub(super) fn words(error: &RedisError) -> String {
    let detail = without_controls(error.detail().unwrap_or_default(), LONGEST);
    // The client library keeps nothing else of the answer to SELECT.
    if error.to_string().starts_with("Redis server refused to switch database") {
        return format!(
            "it refuses the database of `url`; another one than 0 needs +select in the ACL: {detail}"
        );
    }
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS")) => {
            "it refuses the user or the password (password_file)".to_owned()
        }
        (_, Some("NOAUTH")) => "it wants a password (password_file)".to_owned(),
        (_, Some("NOPERM")) => format!("the user may not do this (its ACL): {detail}"),
        (_, Some("READONLY")) => "it is a replica, which takes no writes".to_owned(),
        (_, Some("LOADING")) => "it is still loading its data".to_owned(),
        (_, Some("OOM")) => "its memory is full (maxmemory)".to_owned(),
        (ErrorKind::Parse, _) => "it does not speak the protocol of Redis".to_owned(),
        (ErrorKind::Io, _) => "the connection broke".to_owned(),
        _ => without_controls(&error.to_string(), LONGEST),
    }
}

/// Whether the command does not fit the value that its key has.
pub(super) fn is_unfit(error: &ServerError) -> bool {
    let detail = error.details().unwrap_or_default();
    match error.code() {
        "WRONGTYPE" => true,
        "ERR" => detail.contains("not an integer") || detail.contains("overflow"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use redis::ServerErrorKind;

    use super::*;

    #[test]
    fn a_database_that_is_refused_is_told() {
        let detail = "User pfxhttp has no permissions to run the 'select' command".to_owned();
        let kind = ErrorKind::Server(ServerErrorKind::ResponseError);
        let told = words(&(kind, "Redis server refused to switch database", detail).into());
        assert!(
            told.starts_with("it refuses the database of `url`") && told.ends_with("the 'select' command"),
            "{told}"
        );
    }
}
