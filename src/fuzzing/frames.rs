//! The frames of the local socket, and the greetings with which a connection is handed over.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::stream::{self, Item};
use crate::wire::Decoded;
use crate::wire::ipc::{
    self, AnswerFrame, Hello, MAX_FROM_BROKER, MAX_FROM_CLIENT, OLDEST, RequestFrame, VERSION, Welcome,
};

/// The bytes of a connection of the local socket, behind the greetings.
///
/// What is decoded is the same when it is encoded and decoded again. The pieces in which a stream arrives make
/// no difference.
pub fn frames(bytes: &[u8]) {
    read::<RequestFrame>(bytes, MAX_FROM_CLIENT);
    read::<AnswerFrame>(bytes, MAX_FROM_BROKER);
    if let Ok(Some((frame, _))) = ipc::decode::<RequestFrame>(bytes, MAX_FROM_CLIENT) {
        let (mut owned, mut borrowed) = (Vec::new(), Vec::new());
        ipc::encode(&frame, MAX_FROM_CLIENT, &mut owned).expect("it was decoded");
        ipc::encode_request(frame.id, frame.spent_ms, &frame.question, &mut borrowed)
            .expect("it was decoded");
        assert_eq!(borrowed, owned);
    }
}

fn read<T: DeserializeOwned + Serialize + Debug + PartialEq>(bytes: &[u8], limit: usize) {
    for item in stream::items_of(bytes, |bytes| ipc::decode::<T>(bytes, limit)) {
        let Item::Request(frame) = item else { continue };
        let mut again = Vec::new();
        ipc::encode(&frame, limit, &mut again).expect("it was decoded");
        assert_eq!(ipc::decode(&again, limit), Ok(Some((frame, again.len()))));
    }
}

/// The greeting of a client, which may offer its connection, or that of a broker, which may take it.
///
/// A greeting is incomplete until its last byte, and none begins like something else. Encoded and decoded again
/// it is the same. Of a version that is not served nothing is read.
pub fn hand_over(bytes: &[u8]) {
    if let Some(hello) = greeting(bytes, Hello::decode) {
        let is_served = (OLDEST..=VERSION).contains(&hello.version);
        assert_eq!(hello.service.is_some(), is_served, "{hello:?}");
        let Some(service) = &hello.service else {
            assert_eq!(hello.offer, None);
            return;
        };
        let mut again = Vec::new();
        Hello::encode(hello.version, service, hello.offer.as_ref(), &mut again).expect("it was decoded");
        assert_eq!(Hello::decode(&again), Ok(Some((hello, again.len()))));
    }
    if let Some(welcome) = greeting(bytes, Welcome::decode) {
        let mut again = Vec::new();
        welcome.encode(&mut again).expect("it was decoded");
        assert_eq!(Welcome::decode(&again), Ok(Some((welcome, again.len()))));
    }
}

/// The greeting that `bytes` begin with.
fn greeting<T: Debug + PartialEq>(bytes: &[u8], decode: fn(&[u8]) -> Decoded<T>) -> Option<T> {
    let whole = decode(bytes);
    let length = whole.as_ref().ok().and_then(Option::as_ref).map(|(_, length)| *length);
    for cut in (0..bytes.len()).step_by(1 + bytes.len() / 64) {
        match decode(&bytes[..cut]) {
            Ok(None) => assert!(length.is_none_or(|length| cut < length), "{cut}"),
            Ok(Some((_, consumed))) => assert!(Some(consumed) == length && consumed <= cut),
            Err(_) => assert!(whole.is_err(), "{cut}"),
        }
    }
    whole.ok().flatten().map(|(greeting, _)| greeting)
}
