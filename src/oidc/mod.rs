//! stub
mod settings;
use crate::ask::*;
use crate::exchange::Http;
use crate::secret::Secret;
use hyper::header::HeaderValue;
pub use settings::{Authentication, ClientSettings, PrivateKey, TokenSettings, Validation};
use std::sync::Arc;
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Oidc;
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Bearer;
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Token;
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Verifier;
#[allow(missing_docs)]
pub enum Verdict {
    Account(String),
    Refused(Refusal),
}
#[allow(missing_docs)]
pub struct Refusal {
    pub reason: &'static str,
    pub detail: String,
}
#[allow(missing_docs)]
impl Oidc {
    pub fn new(_: Arc<Http>) -> Self {
        Self
    }
    pub fn bearer(&self, _: &ClientSettings) -> Arc<Bearer> {
        Arc::new(Bearer)
    }
    pub fn verifier(&self, _: &TokenSettings) -> Verifier {
        Verifier
    }
}
#[allow(missing_docs)]
impl Bearer {
    pub async fn token(&self, _: Deadline) -> Result<Arc<Token>, Failure> {
        Err(Failure::Provider)
    }
    pub async fn after_refusal(&self, _: &Arc<Token>, _: Deadline) -> Result<Option<Arc<Token>>, Failure> {
        Ok(None)
    }
}
#[allow(missing_docs)]
impl Token {
    pub fn header(&self) -> &HeaderValue {
        todo!()
    }
}
#[allow(missing_docs)]
impl Verifier {
    pub async fn verify(
        &self,
        _: &Secret,
        _: &Peer,
        _: Option<u16>,
        _: Deadline,
    ) -> Result<Verdict, Failure> {
        Err(Failure::Provider)
    }
}
