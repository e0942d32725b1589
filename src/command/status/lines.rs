//! The status as lines of `name=value`, for programs: what is printed if standard output is no terminal.

use serde_json::Value;

/// A line for each thing; lists one item to a line.
pub(super) fn lines(status: &Value) -> String {
    let mut text = String::new();
    for (name, value) in status.as_object().into_iter().flatten() {
        let items = match value {
            Value::Null => continue,
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        for item in items {
            text.push_str(&format!("{name}: {}\n", members(item)));
        }
    }
    text
}

/// `name=value` of each member that has a value; a value without members by itself.
fn members(item: &Value) -> String {
    let Some(members) = item.as_object() else { return word(item) };
    let mut members: Vec<_> = members.iter().filter(|(_, value)| !value.is_null()).collect();
    let place = |name: &str| ["name", "kind", "endpoint", "target"].iter().position(|first| *first == name);
    members.sort_by_key(|(name, _)| place(name).unwrap_or(usize::MAX));
    let mut shown = Vec::new();
    for (name, value) in members {
        match value.as_object() {
            None => shown.push(format!("{name}={}", word(value))),
            Some(parts) => {
                shown.extend(parts.iter().map(|(part, value)| format!("{name}.{part}={}", word(value))));
            }
        }
    }
    shown.join(" ")
}

/// A text, in quotes if its end could not be seen otherwise.
fn word(value: &Value) -> String {
    match value.as_str() {
        Some(text) if text.is_empty() || text.contains([' ', '"', '=']) => format!("{text:?}"),
        Some(text) => text.to_owned(),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_is_words_and_no_json() {
        let status = json!({
            "reloaded": null,
            "version": "0.1.0",
            "cache": {"entries": 1, "bytes": 500},
            "target": [{"is_out_of_order": true, "kind": "map", "last_failure": "no connection",
                "has_token": null, "name": "m", "target": "http://h", "recent": {"connect": 2, "tls": 1}}],
        });
        let mut reply: Vec<_> = lines(&status).lines().map(str::to_owned).collect();
        reply.sort();
        assert_eq!(
            reply,
            [
                "cache: bytes=500 entries=1",
                "target: name=m kind=map target=http://h is_out_of_order=true last_failure=\"no connection\" recent.connect=2 recent.tls=1",
                "version: 0.1.0",
            ]
        );
    }
}
