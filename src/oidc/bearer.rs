//! The broker's own tokens: client credentials (RFC 6749 4.4), kept until they expire.
//!
//! A token is renewed in the background 30 s before it expires, or a fifth of its life if that is less. It is
//! used until 5 s, or a tenth of its life, before it expires.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use serde_json::Value;
use tokio::time::Instant;

use super::client::Client;
use super::fetched::{self, Fetched, Kept, Newer};
use super::json::{self, JsonObject};
use super::provider::ProviderEndpoint;
use crate::model::{Deadline, Failure};

/// The life of a token without a valid `expires_in`.
const USUAL_LIFE: Duration = Duration::from_hours(1);
/// No token is used for longer.
const LONGEST_LIFE: Duration = Duration::from_hours(24);

/// Gets tokens for one client at one provider, and keeps the current one.
#[derive(Debug)]
pub struct Bearer {
    client: Arc<Client>,
    token: Fetched<Token>,
}

/// An access token, ready to be sent (RFC 6750 2.1): a sensitive header, so that it is not shown.
#[derive(Debug)]
pub struct Token(HeaderValue);

impl Token {
    /// `Authorization`: `Bearer …`, marked as sensitive.
    #[must_use]
    pub fn header(&self) -> &HeaderValue {
        &self.0
    }
}

impl Bearer {
    pub(super) fn new(client: Client) -> Self {
        let client = Arc::new(client);
        let asking = Arc::clone(&client);
        Self { client, token: Fetched::new(move || fetch(Arc::clone(&asking))) }
    }

    /// How long the current token will be used; `None` if there is no valid one.
    #[must_use]
    pub fn token_life(&self) -> Option<Duration> {
        self.token.life()
    }

    /// The current token.
    ///
    /// # Errors
    /// [`Failure::Provider`] if there is none before `deadline`.
    pub async fn token(&self, deadline: Deadline) -> Result<Arc<Token>, Failure> {
        let token = self.token.get(deadline).await;
        token.ok_or_else(|| {
            self.client.provider.http.explain();
            Failure::Provider
        })
    }

    /// Replaces `refused`, which an API answered with 401. `None` if a token was replaced less than 10 s ago,
    /// or if the provider issues the same one again.
    ///
    /// # Errors
    /// [`Failure::Provider`] if there is none before `deadline`.
    pub async fn after_refusal(
        &self,
        refused: &Arc<Token>,
        deadline: Deadline,
    ) -> Result<Option<Arc<Token>>, Failure> {
        self.client.provider.http.http.metrics().tokens.ours_refused.add();
        match self.token.newer(refused, deadline).await {
            Newer::Another(token) if token.0 == refused.0 => Ok(None),
            Newer::Another(token) => Ok(Some(token)),
            Newer::TooSoon => Ok(None),
            Newer::Failed => Err(Failure::Provider),
        }
    }
}

async fn fetch(client: Arc<Client>) -> Option<Kept<Token>> {
    let kept = fetch_uncounted(&client).await;
    let tokens = &client.provider.http.http.metrics().tokens;
    let count = if kept.is_some() { &tokens.fetched } else { &tokens.failed };
    count.add();
    kept
}

async fn fetch_uncounted(client: &Client) -> Option<Kept<Token>> {
    // Its life cannot have begun earlier.
    let began = Instant::now();
    let scope = client.settings.scopes.join(" ");
    let mut fields = vec![("grant_type", "client_credentials")];
    if !scope.is_empty() {
        fields.push(("scope", &scope));
    }
    let answer = client.post(ProviderEndpoint::Token, &fields, fetched::limit()).await?;
    match read(&answer) {
        Ok((token, life)) => Some(kept(token, began, life)),
        Err(lack) => {
            client.provider.http.report(format_args!("{}: {lack}", ProviderEndpoint::Token.name()));
            None
        }
    }
}

/// A token of this life, with the times at which it is renewed and no longer used.
fn kept(token: Token, began: Instant, life: Duration) -> Kept<Token> {
    let ends = began + life - (life / 10).min(Duration::from_secs(5));
    let renew = began + life - (life / 5).min(Duration::from_secs(30));
    Kept { value: Arc::new(token), renew, fresh: ends, ends }
}

/// Reads an answer (RFC 6749 5.1). Numbers are often written as strings.
fn read(answer: &JsonObject) -> Result<(Token, Duration), &'static str> {
    let text = json::text(answer, "access_token").filter(|text| !text.is_empty());
    let text = text.ok_or("access_token is missing")?;
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("access_token holds what no header may hold");
    }
    if let Some(kind) = answer.get("token_type")
        && !kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"))
    {
        return Err("token_type is not bearer");
    }
    let mut header =
        HeaderValue::from_str(&format!("Bearer {text}")).map_err(|_| "access_token is damaged")?;
    header.set_sensitive(true);
    let seconds = match answer.get("expires_in") {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(number)) => number.trim().parse().ok(),
        _ => None,
    };
    let life = match seconds {
        Some(seconds) if seconds > 0.0 => Duration::from_secs_f64(seconds.min(LONGEST_LIFE.as_secs_f64())),
        _ => USUAL_LIFE,
    };
    Ok((Token(header), life))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(rest: &str) -> Result<f64, &'static str> {
        let answer = json::object(format!(r#"{{"access_token": "t"{rest}}}"#).as_bytes()).expect("an object");
        read(&answer).map(|(_, life)| life.as_secs_f64())
    }

    #[test]
    fn a_life_is_read_in_every_notation() {
        let cases = [
            ("", 3600.0),
            (r#", "expires_in": 300"#, 300.0),
            (r#", "expires_in": 2.5"#, 2.5),
            (r#", "expires_in": "300""#, 300.0),
            (r#", "expires_in": "2.5""#, 2.5),
            (r#", "expires_in": 0"#, 3600.0),
            (r#", "expires_in": -5"#, 3600.0),
            (r#", "expires_in": "NaN""#, 3600.0),
            (r#", "expires_in": "inf""#, 86_400.0),
            (r#", "expires_in": 1e300"#, 86_400.0),
            (r#", "expires_in": null"#, 3600.0),
            (r#", "expires_in": [1]"#, 3600.0),
        ];
        for (rest, due) in cases {
            assert_eq!(life(rest), Ok(due), "{rest}");
        }
    }

    #[test]
    fn a_token_is_renewed_and_put_away_before_its_end() {
        for (life, renewed, used) in [(3600, 3570, 3595), (100, 80, 95), (10, 8, 9)] {
            let (began, token) = (Instant::now(), Token(HeaderValue::from_static("Bearer t")));
            let kept = kept(token, began, Duration::from_secs(life));
            let times = [kept.renew, kept.fresh, kept.ends].map(|time| (time - began).as_secs());
            assert_eq!(times, [renewed, used, used], "{life}");
        }
    }

    #[test]
    fn a_token_is_a_bearer_token_that_fits_a_header() {
        assert!(life(r#", "token_type": "BEARER""#).is_ok());
        for rest in [r#", "token_type": "DPoP""#, r#", "token_type": 1"#, r#", "token_type": """#] {
            assert!(life(rest).is_err(), "{rest}");
        }
        for token in [r#""""#, "1", "null", r#""a\r\nX: y""#, r#""a b""#, r#""é""#, r#""\u0000""#] {
            let answer =
                json::object(format!(r#"{{"access_token": {token}}}"#).as_bytes()).expect("an object");
            assert!(read(&answer).is_err(), "{token}");
        }
        let answer = json::object(br#"{"access_token": "s3cret"}"#).expect("an object");
        let (token, _) = read(&answer).expect("a token");
        assert_eq!(token.header(), "Bearer s3cret");
        assert!(token.header().is_sensitive());
        assert!(!format!("{token:?} {:?}", token.header()).contains("s3cret"));
    }
}
