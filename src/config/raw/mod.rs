//! The shape of the file, as serde sees it: nothing is checked here but the kinds of values.
//!
//! Every key is optional; `resolve` and its parts say what is missing. Blocks that are read on
//! their own are ignored in the block above, so that an error in one does not hide the others. A
//! struct's field names are the list of the keys that there are (`keys`), and
//! `pfxhttp.schema.json` is made of these structs. None has `Debug`: some hold secrets.

mod entry;
#[cfg(test)]
pub(super) mod schema;
mod server;
mod word;

pub(super) use entry::{
    BackendOidc, Cache, Entry, Grpc, GrpcTls, LoginEntry, Lookup, MapEntry, PolicyEntry, SaslOidc,
};
pub(super) use server::{
    Admin, HttpClient, Ipc, Listener, Logging, Observability, PrometheusTls, ResponseCache, Server, Tls, Top,
    WorkerPool,
};
pub(super) use word::{Count, Time, Word};
