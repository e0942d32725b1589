//! Streams of requests: what they hold does not depend on how the bytes arrive.

use std::fmt::Debug;

use crate::wire::{Decoded, Error};

/// A request, or why it is none.
#[derive(Debug, PartialEq)]
pub(super) enum Item<T> {
    Request(T),
    Malformed,
    /// The last item: the connection is closed.
    Framing,
}

/// All items of `bytes`, which arrive in pieces of `size`.
fn items<T>(bytes: &[u8], size: usize, decode: &impl Fn(&[u8]) -> Decoded<T>) -> Vec<Item<T>> {
    let (mut received, mut items) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(size.max(1)) {
        received.extend_from_slice(piece);
        loop {
            let (item, consumed) = match decode(&received) {
                Ok(None) => break,
                Ok(Some((request, consumed))) => (Item::Request(request), consumed),
                Err(Error::Malformed { consumed, .. }) => (Item::Malformed, consumed),
                Err(Error::Framing(_)) => {
                    items.push(Item::Framing);
                    return items;
                }
            };
            assert!((1..=received.len()).contains(&consumed), "{consumed} of {} bytes", received.len());
            received.drain(..consumed);
            items.push(item);
        }
    }
    items
}

/// All items of `bytes`, which are the same for pieces of any size.
pub(super) fn items_of<T: Debug + PartialEq>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Decoded<T>,
) -> Vec<Item<T>> {
    let whole = items(bytes, bytes.len(), &decode);
    for size in sizes(bytes) {
        assert_eq!(items(bytes, size, &decode), whole, "in pieces of {size} bytes");
    }
    whole
}

/// Sizes of pieces: one that takes little time for any length, and one that cuts elsewhere.
pub(super) fn sizes(bytes: &[u8]) -> [usize; 2] {
    [1 + bytes.len() / 32, 1 + bytes.len() / 3]
}
