//! A small HTTP client for requests of the tests to a provider. HTTP/1.0: one request for each
//! connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::Value;
use url::Url;
use url::form_urlencoded::Serializer;

use super::{PATIENCE, shown};

/// GETs a JSON document; returns the status and the document.
pub(crate) fn get(url: &str) -> (u16, Value) {
    exchange("GET", url, &[], "")
}

/// POSTs a form; returns the status and the JSON.
pub(crate) fn post(url: &str, headers: &[(&str, &str)], form: &[(&str, &str)]) -> (u16, Value) {
    let body = Serializer::new(String::new()).extend_pairs(form).finish();
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    exchange("POST", url, &[headers, &[form]].concat(), &body)
}

fn exchange(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
    let url = Url::parse(url).expect("a URL");
    let (host, port) = (url.host_str().expect("a host"), url.port().expect("a port"));
    let mut request = format!("{method} {} HTTP/1.0\r\nHost: {host}:{port}\r\n", url.path());
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    let mut stream = TcpStream::connect((host, port)).unwrap_or_else(|error| panic!("{url}: {error}"));
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit can be set");
    stream.write_all(request.as_bytes()).unwrap_or_else(|error| panic!("{url}: {error}"));
    read(BufReader::new(stream)).unwrap_or_else(|what| panic!("{url}: {what}"))
}

/// Reads an answer: to the end of its body if it has a length, else to the end of the stream.
fn read(mut answer: impl BufRead) -> Result<(u16, Value), String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let read = answer.read_line(&mut head).map_err(|error| format!("{error} behind {head:?}"))?;
        if read == 0 {
            return Err(format!("it ended behind {head:?}"));
        }
    }
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| format!("no HTTP: {head:?}"))?;
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    let length = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(u64::MAX);
    let mut body = Vec::new();
    answer.take(length).read_to_end(&mut body).map_err(|error| error.to_string())?;
    let document = serde_json::from_slice(&body);
    Ok((status, document.map_err(|error| format!("{status} without JSON, {error}: {}", shown(&body)))?))
}
