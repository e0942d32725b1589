//! No lookup waits for a write: an answer goes into a bounded queue, and one task takes them out, seals them and sends
//! them together. What does not fit is dropped and counted, and so is everything while there is no connection: a
//! write that waited for long could replace a newer one of another host.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::engine::Write;
use super::record::Record;
use super::state::State;
use crate::observe::metrics::{SharedCounters, SharedWrite};

/// Writes in the queue, and the bytes of their keys and answers.
const MOST: usize = 4096;
const MOST_BYTES: usize = 8 << 20;
/// Writes that are sent together.
const BATCH: usize = 256;
/// How long a first write waits for others: fewer round trips, and fewer wake-ups.
const GATHER: Duration = Duration::from_millis(2);

/// A change of one record.
#[derive(Debug)]
pub(super) struct Order {
    /// The entry, and its epoch.
    pub(super) id: Arc<str>,
    pub(super) epoch: u64,
    pub(super) key: Arc<[u8]>,
    /// What is kept, and for how long; `None` removes the record, on all hosts.
    pub(super) kept: Option<(Record, Duration)>,
}

impl Order {
    fn weight(&self) -> usize {
        let text = self.kept.as_ref().map_or(0, |(record, _)| record.text_len());
        self.key.len() + text
    }
}

/// The way into the queue.
#[derive(Debug)]
pub(super) struct Queue {
    orders: mpsc::Sender<Order>,
    bytes: Arc<AtomicUsize>,
    counters: Arc<SharedCounters>,
}

/// Its other end.
#[derive(Debug)]
pub(super) struct Orders {
    orders: mpsc::Receiver<Order>,
    /// One that waits for others.
    first: Option<Order>,
    bytes: Arc<AtomicUsize>,
    counters: Arc<SharedCounters>,
}

/// A queue that counts what it drops.
pub(super) fn queue(counters: &Arc<SharedCounters>) -> (Queue, Orders) {
    let (sender, receiver) = mpsc::channel(MOST);
    let bytes = Arc::<AtomicUsize>::default();
    let queue = Queue { orders: sender, bytes: Arc::clone(&bytes), counters: Arc::clone(counters) };
    (queue, Orders { orders: receiver, first: None, bytes, counters: Arc::clone(counters) })
}

impl Queue {
    /// Puts `order` into the queue, and says whether there was room.
    pub(super) fn push(&self, order: Order) -> bool {
        let weight = order.weight();
        let before = self.bytes.fetch_add(weight, Ordering::Relaxed);
        let has_room = before + weight <= MOST_BYTES && self.orders.try_send(order).is_ok();
        if !has_room {
            self.bytes.fetch_sub(weight, Ordering::Relaxed);
        }
        has_room
    }

    /// How many orders are in the queue.
    pub(super) fn waiting(&self) -> usize {
        self.orders.max_capacity() - self.orders.capacity()
    }

    /// Counts an order that is not put into the queue.
    pub(super) fn drop_one(&self) {
        self.counters.wrote(SharedWrite::Dropped, 1);
    }
}

impl Orders {
    /// Waits for a write, and a little more for others. `None`: there will be none. Nothing is lost if the future is
    /// dropped.
    pub(super) async fn next(&mut self) -> Option<Vec<Order>> {
        if self.first.is_none() {
            self.first = Some(self.orders.recv().await?);
        }
        tokio::time::sleep(GATHER).await;
        let mut batch: Vec<Order> = self.first.take().into_iter().collect();
        while batch.len() < BATCH
            && let Ok(order) = self.orders.try_recv()
        {
            batch.push(order);
        }
        self.taken(&batch);
        Some(batch)
    }

    /// Drops all that are in the queue.
    pub(super) fn clear(&mut self) {
        while let Some(order) = self.first.take().or_else(|| self.orders.try_recv().ok()) {
            self.taken(&[order]);
            self.counters.wrote(SharedWrite::Dropped, 1);
        }
    }

    fn taken(&self, orders: &[Order]) {
        let weight: usize = orders.iter().map(Order::weight).sum();
        self.bytes.fetch_sub(weight, Ordering::Relaxed);
    }
}

/// What is sent for these orders. An answer that is never shared is left out.
pub(super) fn sealed(orders: &[Order], state: &State) -> Vec<Write> {
    let write = |order: &Order| {
        let name = state.name(&order.id, order.epoch, &order.key);
        match &order.kept {
            None => Some(Write::Delete { name }),
            Some((record, life)) => {
                state.keys.seal(&name, record).map(|record| Write::Set { name, record, life: *life })
            }
        }
    };
    orders.iter().filter_map(write).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Answer;

    fn order(length: usize) -> Order {
        let record = Record { answer: Answer::Value("v".repeat(length)), stored: 1 };
        let kept = Some((record, Duration::from_secs(1)));
        Order { id: "e".into(), epoch: 0, key: b"k"[..].into(), kept }
    }

    #[tokio::test]
    async fn a_queue_is_bounded_in_writes_and_in_bytes() {
        let counters = Arc::default();
        let (queue, mut orders) = queue(&counters);
        assert_eq!((0..MOST + 5).filter(|_| !queue.push(order(10))).count(), 5);
        assert_eq!((queue.bytes.load(Ordering::Relaxed), queue.waiting()), (MOST * 11, MOST));
        assert_eq!(orders.next().await.expect("a batch").len(), BATCH);
        orders.clear();
        assert_eq!(queue.bytes.load(Ordering::Relaxed), 0);
        assert_eq!(counters.written(SharedWrite::Dropped), (MOST - BATCH) as u64);
        let dropped = (0..9).filter(|_| !queue.push(order(1 << 20))).count();
        assert_eq!(dropped, 2, "eight times a MiB, and its keys");
        assert!(queue.bytes.load(Ordering::Relaxed) <= MOST_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_given_up_loses_nothing() {
        let counters = Arc::default();
        let (queue, mut orders) = queue(&counters);
        assert!(queue.push(order(1)));
        let given_up = tokio::time::timeout(GATHER / 2, orders.next()).await;
        assert!(given_up.is_err());
        assert!(queue.push(order(2)));
        assert_eq!(orders.next().await.expect("a batch").len(), 2);
        assert!(queue.push(order(1)));
        let given_up = tokio::time::timeout(GATHER / 2, orders.next()).await;
        assert!(given_up.is_err());
        orders.clear();
        let left = queue.bytes.load(Ordering::Relaxed);
        assert_eq!((counters.written(SharedWrite::Dropped), left), (1, 0));
    }
}
