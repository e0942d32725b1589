//! Which hosts are kept: those that a document names now.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::super::{Authentication, Oidc};
use super::provider::{Provider, Says};
use super::{client, in_time, later, oidc};

/// The origins that are known, and how many connections to them are open.
fn pools(oidc: &Oidc) -> Vec<(String, usize)> {
    oidc.http.pools().into_iter().map(|(origin, pool)| (origin, pool.open)).collect()
}

/// The same, due.
fn due(open: &[&Provider]) -> Vec<(String, usize)> {
    let mut due: Vec<_> = open.iter().map(|provider| (provider.url(""), 1)).collect();
    due.sort();
    due
}

#[tokio::test]
async fn a_host_is_forgotten_with_the_document_that_named_it() {
    let (home, first, second, oidc) =
        (Provider::start().await, Provider::start().await, Provider::start().await, oidc());
    let name = |at: &Provider| {
        let mut document = home.document();
        document["token_endpoint"] = json!(at.url("/token"));
        home.say("/configuration", Says::Json(200, document));
        at.say("/token", Says::Tokens(json!(7200)));
    };
    name(&first);
    let settings = client(&home, Authentication::None);
    let bearer = oidc.bearer(&settings);
    let old = bearer.token(in_time()).await.expect("a token");
    assert_eq!(pools(&oidc), due(&[&home, &first]));
    // A document that is renewed costs no connection.
    let provider = oidc.provider(&settings.configuration_uri);
    for renewed in 2..5 {
        later(Duration::from_mins(11)).await;
        assert!(provider.document.get(in_time()).await.is_some());
        assert_eq!(home.count("/configuration"), renewed);
        assert_eq!(pools(&oidc), due(&[&home, &first]));
    }
    name(&second);
    second.say("/token", Says::Json(200, json!({"access_token": "another"})));
    later(Duration::from_mins(11)).await;
    assert!(provider.document.get(in_time()).await.is_some());
    assert_eq!(pools(&oidc), due(&[&home]));
    assert!(bearer.after_refusal(&old, in_time()).await.expect("no failure").is_some());
    assert_eq!(pools(&oidc), due(&[&home, &second]));
    let held = Arc::downgrade(&provider);
    drop((provider, bearer));
    assert!(held.upgrade().is_none());
    assert_eq!(pools(&oidc), []);
    assert_eq!(oidc.http.idle(), 0);
}
